"""Entities as objects of JSON values, with the names that they have on the wire."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs

from mandrake_sessions.protocol.converter import json_value
from mandrake_sessions.protocol.names import camel


def wire_fields(entity: Any, kind: Any, *left_out: str) -> dict[str, Any]:
    """The fields that ``kind``, the type of the entity or one that it extends, has."""
    return {camel(name): json_value(getattr(entity, name)) for name in _names(kind) if name not in left_out}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))

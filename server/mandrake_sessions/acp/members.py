"""Members of JSON values that somebody else wrote: each is there in the kind that is meant, or it is not there."""

from __future__ import annotations

import math
from typing import Any, Final

Json = Any
Object = dict[str, Any]

_NOTHING: Final[Object] = {}


def object_of(value: Json, name: str) -> Object:
    """A member that is an object; else an empty one, which is not to be changed."""
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, dict) else _NOTHING


def list_of(value: Json, name: str) -> list[Json]:
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, list) else []


def text_of(value: Json, name: str) -> str | None:
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, str) else None


def amount_of(value: Json, name: str) -> int | float | None:
    """A member that is a number of something: finite, and not below zero."""
    member = value.get(name) if isinstance(value, dict) else None
    if isinstance(member, bool) or not isinstance(member, int | float):
        return None
    try:
        return member if math.isfinite(member) and member >= 0 else None
    except OverflowError:
        return None


def count_of(value: Json, name: str) -> int | None:
    """An amount of whole things that the store can hold."""
    amount = amount_of(value, name)
    return int(amount) if amount is not None and amount == int(amount) and amount < 2**53 else None

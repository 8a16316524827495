"""Validators of the protocol's JSON Schema. They share one registry, since reading the whole schema takes a while."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
from referencing import Registry, Resource

from mandrake_sessions.protocol.schema import json_schema

_NAME = "urn:protocol"


@cache
def schema() -> dict[str, Any]:
    return json_schema()


def of_definition(name: str) -> Any:
    """A validator of a type in ``$defs`` that takes no field beside those that it names: results are open to later
    ones, but this server must send none that is not described."""
    return _validator(f"{_NAME}#/$defs/{name}", _closed_registry())


def of_part(part: dict[str, Any]) -> Any:
    """A validator of a part of the schema, as it is."""
    return jsonschema.Draft202012Validator(_absolute(part), registry=_registry())


def _validator(reference: str, registry: Any) -> Any:
    return jsonschema.Draft202012Validator({"$ref": reference}, registry=registry)


@cache
def _registry() -> Any:
    return _crawled(schema())


@cache
def _closed_registry() -> Any:
    return _crawled(closed(schema()))


def _crawled(whole: dict[str, Any]) -> Any:
    resource: Resource[Any] = Resource.from_contents(whole)
    return Registry().with_resource(_NAME, resource).crawl()


def closed(value: Any) -> Any:
    """The same schema, with every object that says nothing of other fields closed."""
    if isinstance(value, list):
        return [closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: closed(item) for name, item in value.items()}
    return {"additionalProperties": False, **found} if isinstance(value.get("properties"), dict) else found


def _absolute(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _absolute(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    return _NAME + value if isinstance(value, str) and value.startswith("#/$defs/") else value

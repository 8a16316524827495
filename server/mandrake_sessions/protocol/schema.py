"""A JSON Schema (2020-12) of the whole protocol, from the table of methods and the types it names."""

from __future__ import annotations

import typing
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import attrs

from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.model import Session, Turn
from mandrake_sessions.protocol.field_docs import field_docs, on_the_wire
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, PROTOCOL_VERSION, Method
from mandrake_sessions.protocol.names import camel

_PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
# Names that clients give to things themselves; every other id is a UUID.
_FREE_IDS = frozenset({"external_id", "tool_call_id", "subscription_id", "store_id"})


def json_schema() -> dict[str, Any]:
    """``methods`` and ``notifications`` name the schema of each one's params and result; the types are in ``$defs``."""
    definitions: dict[str, Any] = {}
    methods = {name: _method(method, definitions) for name, method in METHODS.items()}
    notifications = {
        notification.name: {
            "description": notification.summary,
            "params": schema_of(notification.params, definitions),
        }
        for notification in NOTIFICATIONS
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"The wire contract of mandrake-sessions, version {PROTOCOL_VERSION}",
        "methods": methods,
        "notifications": notifications,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; those of classes are put into ``definitions`` and referred to."""
    if kind in _PRIMITIVES:
        return {"type": _PRIMITIVES[kind]} | ({"minimum": 0} if kind in (int, float) else {})
    if kind is Any:
        return {}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (typing.Union, UnionType):
        return {"anyOf": [schema_of(argument, definitions) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0], definitions)}
    if origin is dict:
        values = schema_of(arguments[1], definitions)
        return {"type": "object"} | ({"additionalProperties": values} if values else {})
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    return _reference(kind, definitions)


def parameter_types(method: Method) -> dict[str, tuple[Any, bool]]:
    """The params of a method by wire name: their type, and whether they are required."""
    found = _typed_dict_fields(method.params)
    if method.store_params is not None:
        found |= _typed_dict_fields(method.store_params)
    return found


def _method(method: Method, definitions: dict[str, Any]) -> dict[str, Any]:
    params = _params_schema(parameter_types(method), definitions)
    _describe(params, method.params)
    if method.store_params is not None:
        _describe(params, method.store_params)
    # A name that begins with _ is the client's own; the two tokens are LSP's.
    params["patternProperties"] = {"^(_.*|workDoneToken|partialResultToken)$": {}}
    return {"description": method.summary, "params": params, "result": schema_of(method.result, definitions)}


def _params_schema(fields: dict[str, tuple[Any, bool]], definitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _field(name, kind, definitions) for name, (kind, _) in fields.items()},
        "required": [name for name, (_, required) in fields.items() if required],
        "additionalProperties": False,
    }


def _describe(schema: dict[str, Any], kind: Any) -> None:
    """Say of each field of a typed dictionary what it means."""
    for name, doc in field_docs(kind).items():
        default = f" Default: {doc.default}." if doc.default else ""
        schema["properties"][camel(name)]["description"] = on_the_wire(doc.meaning + default)


def _field(name: str, kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = schema_of(kind, definitions)
    if name == "limit":
        return schema | {"minimum": 1, "maximum": MAX_LIMIT}
    if schema.get("type") == "string" and name.endswith("Id") and name not in {camel(free) for free in _FREE_IDS}:
        return schema | {"format": "uuid"}
    return schema


def _typed_dict_fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    return {
        camel(name): (field_type, name in kind.__required_keys__) for name, field_type in get_type_hints(kind).items()
    }


def _reference(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}
        definitions[name] = _class_schema(kind, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _class_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if is_typeddict(kind):
        schema = _params_schema(_typed_dict_fields(kind), definitions)
        _describe(schema, kind)
        return schema
    hints = get_type_hints(kind)
    fields = {camel(field.name): (hints[field.name], not _may_be_missing(kind, field)) for field in attrs.fields(kind)}
    return _params_schema(fields, definitions)


def _may_be_missing(kind: Any, field: Any) -> bool:
    """The converter leaves out texts that were not asked for, and what a kind of notification has not."""
    return field.default is None and (kind in (Turn, Session) or kind.__module__.endswith(".results"))

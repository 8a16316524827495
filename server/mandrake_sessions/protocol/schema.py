"""A JSON Schema (2020-12) of the whole protocol, from the table of methods and the types it names.

Everything has a name in ``$defs``: the params and the result of each method (``TurnAppendParams``,
``TurnAppendResult``), the params of each notification (``TurnUpdatedParams``), entities, words, the data of each kind
of error. The schema itself is of an object that a program would never send: it has a property for each method and
notification, so that code made of it has a type in which the name of a method leads to its params and its result.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import attrs

from mandrake_sessions.protocol import error_data, field_docs
from mandrake_sessions.protocol.bounds import Bound, bound
from mandrake_sessions.protocol.converter import may_be_left_out
from mandrake_sessions.protocol.field_docs import FieldDoc, on_the_wire
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, PROTOCOL_VERSION, Method
from mandrake_sessions.protocol.names import camel, type_name

Schema = dict[str, Any]

PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
# A name that begins with _ is the client's own; the two tokens are LSP's.
IGNORED = "^(_.*|workDoneToken|partialResultToken)$"


def json_schema() -> Schema:
    """``methods`` and ``notifications`` lead from names to ``$defs``."""
    builder = _Builder()
    methods = {name: builder.method(method) for name, method in METHODS.items()}
    notifications = {
        notification.name: {
            "description": notification.summary,
            "params": builder.named(f"{type_name(notification.name)}Params", notification.params),
        }
        for notification in NOTIFICATIONS
    }
    builder.errors()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Protocol",
        "description": f"The wire contract of mandrake-sessions, version {PROTOCOL_VERSION}: each method by its name, "
        "with its params and its result, and each notification with its params.",
        "type": "object",
        "properties": {
            "methods": _by_name(
                {name: builder.pair(f"{type_name(name)}Method", pair) for name, pair in methods.items()}
            ),
            "notifications": _by_name(
                {name: builder.pair(f"{type_name(name)}Notification", pair) for name, pair in notifications.items()}
            ),
        },
        "required": ["methods", "notifications"],
        "methods": methods,
        "notifications": notifications,
        "$defs": dict(sorted(builder.definitions.items())),
    }


def parameter_types(method: Method) -> dict[str, tuple[Any, bool]]:
    """The params of a method by wire name: their type, and whether they are required."""
    kinds = [kind for kind in (method.params, method.store_params) if kind is not None]
    return {
        camel(name): (field_type, name in kind.__required_keys__)
        for kind in kinds
        for name, field_type in get_type_hints(kind).items()
    }


class _Builder:
    """``definitions``: the schemas of types by name."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        # A result of one method alone, or of one notification, has the name of that.
        self._names = {kind: name for name, kind in _own_types().items()}

    def method(self, method: Method) -> Schema:
        name = type_name(method.name)
        schema = self._object_of_params(method.params, {"description": f"The params of `{method.name}`."})
        if method.store_params is not None:
            schema["properties"] |= self._object_of_params(method.store_params, {})["properties"]
        schema["patternProperties"] = {IGNORED: {}}
        self.definitions[f"{name}Params"] = schema
        return {
            "description": method.summary,
            "params": _reference(f"{name}Params"),
            "result": self.named(f"{name}Result", method.result),
        }

    def named(self, name: str, kind: Any) -> Schema:
        """A definition of this name for a type; for one that has another name, one that leads there."""
        schema = self.schema(kind)
        if schema != _reference(name):
            self.definitions[name] = _described(schema, {})
        return _reference(name)

    def pair(self, name: str, described: Schema) -> Schema:
        """A definition of an object with ``params`` and, for a method, ``result``."""
        parts = {part: schema for part, schema in described.items() if part != "description"}
        self.definitions[name] = {"description": described["description"], **_by_name(parts)}
        return _reference(name)

    def errors(self) -> None:
        """The ``error`` of an answer, and its ``data`` by kind."""
        of_kinds = []
        for kind, data in error_data.DATA_OF.items():
            reference = self.schema(data)
            self.definitions[data.__name__]["properties"]["kind"] = {"const": kind}
            of_kinds.append(reference)
        self.schema(error_data.ErrorKind)
        self.definitions["ErrorData"] = {"description": "The `data` of an error, by its `kind`.", "anyOf": of_kinds}
        self.definitions["ErrorObject"] = {
            "description": "The `error` of an answer.",
            "type": "object",
            "properties": {
                "code": {"type": "integer", "description": "JSON-RPC's number for the kind."},
                "message": {"type": "string", "description": "What was wrong, and what to do; for people."},
                "data": _reference("ErrorData"),
            },
            "required": ["code", "message", "data"],
        }

    def schema(self, kind: Any, place: str = "") -> Schema:
        """The schema of a type. ``place``: what words without a name are called after."""
        if kind in PRIMITIVES:
            return {"type": PRIMITIVES[kind]} | ({"minimum": 0} if kind in (int, float) else {})
        if kind is Any:
            return {}
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, UnionType):
            return {"anyOf": [self.schema(argument, place) for argument in arguments]}
        if origin is Literal:
            return self._words(kind, field_docs.name_of_words(kind) or place, list(arguments))
        if origin is list:
            return {"type": "array", "items": self.schema(arguments[0], place)}
        if origin is dict:
            values = self.schema(arguments[1], place)
            return {"type": "object"} | ({"additionalProperties": values} if values else {})
        if issubclass(kind, Enum):
            return self._words(kind, kind.__name__, [member.value for member in kind])
        return self._class(kind)

    def _words(self, kind: Any, name: str, words: list[str]) -> Schema:
        meanings = "".join(f"\n- `{word}`: {on_the_wire(text)}" for word, text in field_docs.word_docs(kind).items())
        described = {"description": field_docs.summary(kind) + meanings} if meanings else {}
        self.definitions[name] = {"type": "string", "enum": words} | described
        return _reference(name)

    def _class(self, kind: Any) -> Schema:
        name = self._names.get(kind, kind.__name__)
        if name not in self.definitions:
            self.definitions[name] = {}
            described = {"description": text} if (text := field_docs.summary(kind)) else {}
            if is_typeddict(kind):
                self.definitions[name] = self._object_of_params(kind, described)
            else:
                self.definitions[name] = self._object_of_result(kind, described)
        return _reference(name)

    def _object_of_params(self, kind: Any, described: Schema) -> Schema:
        """Of a typed dictionary: closed, but for what the server says of an error."""
        hints, docs = get_type_hints(kind), field_docs.field_docs(kind)
        place = type_name(kind.__name__)
        closed = {} if kind.__module__ == error_data.__name__ else {"additionalProperties": False}
        return {
            **described,
            "type": "object",
            "properties": {
                camel(name): self._param(hint, docs[name], bound(docs[name].owner, name), place + type_name(name))
                for name, hint in hints.items()
            },
            "required": [camel(name) for name in hints if name in kind.__required_keys__],
            **closed,
        }

    def _param(self, kind: Any, doc: FieldDoc, limits: Bound, place: str) -> Schema:
        schema = _bounded(self.schema(kind, place), limits.facets)
        default = _default(doc)
        words = f" Default: {doc.default}." if doc.default and not default else ""
        return _described(schema, {"description": on_the_wire(doc.meaning + words), **default})

    def _object_of_result(self, kind: Any, described: Schema) -> Schema:
        """Of a class: open, since a later version may say more."""
        hints, docs = get_type_hints(kind), field_docs.attribute_docs(kind)
        fields = attrs.fields(kind)
        return {
            **described,
            "type": "object",
            "properties": {
                camel(field.name): _described(
                    self.schema(as_sent(kind, field, hints), type_name(kind.__name__) + type_name(field.name)),
                    {"description": on_the_wire(docs[field.name])},
                )
                for field in fields
            },
            "required": [camel(field.name) for field in fields if not may_be_left_out(kind, field)],
        }


def as_sent(kind: Any, field: Any, hints: dict[str, Any]) -> Any:
    """The type of a field of a result. One that may be left out is never null."""
    hint = hints[field.name]
    if not may_be_left_out(kind, field):
        return hint
    return Union[tuple(argument for argument in get_args(hint) if argument is not NoneType)]  # noqa: UP007


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _described(schema: Schema, words: Schema) -> Schema:
    """With ``anyOf``, since generators of code make another type of what stands beside a reference."""
    return {"anyOf": [schema], **words} if "$ref" in schema else {**schema, **words}


def _bounded(schema: Schema, facets: Schema) -> Schema:
    """A bound is one of the value that is not null."""
    if "anyOf" in schema:
        return {"anyOf": [part if part == {"type": "null"} else part | facets for part in schema["anyOf"]]}
    return schema | facets


def _default(doc: FieldDoc) -> Schema:
    """A default that is a value, and not words."""
    if doc.default is None or not doc.default.startswith("``"):
        return {}
    return {"default": ast.literal_eval(doc.default.split("``")[1])}


def _by_name(properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _own_types() -> dict[str, Any]:
    """The types that one method has as its result, or one notification as its params, and nothing else uses."""
    named = [(f"{type_name(method.name)}Result", method.result) for method in METHODS.values()]
    named += [(f"{type_name(notification.name)}Params", notification.params) for notification in NOTIFICATIONS]
    kinds = [kind for _, kind in named]
    used = Counter(found for kind in kinds for found in _classes_in(kind))
    nested = {inner for kind in kinds for found in _classes_in(kind) for inner in _inside(found)}
    return {name: kind for name, kind in named if used[kind] == 1 and kind not in nested}


def _inside(kind: Any) -> Iterable[Any]:
    """The classes that the fields of a class are made of, and theirs."""
    for hint in get_type_hints(kind).values():
        for found in _classes_in(hint):
            yield found
            yield from _inside(found)


def _classes_in(kind: Any) -> Iterable[Any]:
    """The classes that a type names, not those inside them."""
    for argument in get_args(kind):
        yield from _classes_in(argument)
    if isinstance(kind, type) and get_origin(kind) is None and attrs.has(kind):
        yield kind

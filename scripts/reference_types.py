"""Types, fields and words in Markdown, each with a link to the section that describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import attrs

from mandrake_sessions.protocol import error_data, field_docs
from mandrake_sessions.protocol.bounds import bound
from mandrake_sessions.protocol.converter import may_be_left_out
from mandrake_sessions.protocol.field_docs import on_the_wire
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.schema import PRIMITIVES, as_sent

# The words that stand in the section of errors, and their headings there.
IN_ERRORS = {"ErrorKind": "error-kinds", "ConflictReason": "conflict-reasons", "StorageReason": "storage-reasons"}


def type_link(kind: Any) -> str:
    """A type in words; what has a section of its own as a link."""
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    if kind is Any:
        return "any JSON"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(type_link(argument) for argument in arguments)
    if origin is Literal:
        name = field_docs.name_of_words(kind)
        words = " or ".join(f"`{json.dumps(word)}`" for word in arguments)
        return f"[{name}](#{_anchor_of_type(name)})" if name else words
    if origin is list:
        return f"array of {type_link(arguments[0])}"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {type_link(arguments[1])} by name"
    return f"[{kind.__name__}](#{_anchor_of_type(kind.__name__)})"


def field_lines(kind: Any) -> list[str]:
    """A line for each field of a typed dictionary: its type, bound, meaning and default."""
    hints, docs = get_type_hints(kind), field_docs.field_docs(kind)
    lines = []
    for name in sorted(kind.__annotations__, key=lambda name: name not in kind.__required_keys__):
        doc, mark = docs[name], "" if name in kind.__required_keys__ else "?"
        limits = bound(doc.owner, name).words
        default = f" *Default*: {on_the_wire(doc.default)}." if doc.default and doc.default != "none" else ""
        type_words = type_link(hints[name]) + (f", {limits}" if limits else "")
        lines.append(f"- `{camel(name)}{mark}`: {type_words}. {on_the_wire(doc.meaning)}{default}")
    return lines


def result_lines(kind: Any) -> list[str]:
    """A line for each field of a class: its type and meaning."""
    if is_typeddict(kind):
        return field_lines(kind)
    hints, docs = get_type_hints(kind), field_docs.attribute_docs(kind)
    lines = []
    fields: Any = attrs.fields(kind)
    for field in fields:
        mark = "?" if may_be_left_out(kind, field) else ""
        hint = type_link(as_sent(kind, field, hints))
        lines.append(f"- `{camel(field.name)}{mark}`: {hint}. {on_the_wire(docs[field.name])}")
    return lines


def anchor(name: str) -> str:
    """What the heading of a method or notification is called in a link."""
    return name.replace("/", "").replace(".", "").lower()


def _anchor_of_type(name: str) -> str:
    """The same for a type. A method or notification of the same letters has the first such heading."""
    if name in IN_ERRORS:
        return IN_ERRORS[name]
    taken = {anchor(each) for each in (*METHODS, *(notification.name for notification in NOTIFICATIONS))}
    return f"{name.lower()}-1" if name.lower() in taken else name.lower()


def listed_classes(shown: Iterable[Any]) -> list[Any]:
    """Every class that a method or notification refers to, but for these, by name."""
    found: dict[str, Any] = {}
    for root in _roots():
        _collect(root, found)
    names = {kind.__name__ for kind in shown} | {method.params.__name__ for method in METHODS.values()}
    return [kind for name, kind in sorted(found.items()) if name not in names and is_class(kind)]


def word_types() -> list[Any]:
    """Every enumeration and every ``Literal`` with a name, by name."""
    found: dict[str, Any] = {}
    for root in (*_roots(), *error_data.DATA_OF.values()):
        _collect(root, found)
    return [kind for name, kind in sorted(found.items()) if not is_class(kind) and name not in IN_ERRORS]


def is_class(kind: Any) -> bool:
    return is_typeddict(kind) or (isinstance(kind, type) and attrs.has(kind))


def _roots() -> list[Any]:
    roots = [
        kind for method in METHODS.values() for kind in (method.params, method.result, method.store_params) if kind
    ]
    return [*roots, *(notification.params for notification in NOTIFICATIONS)]


def _collect(kind: Any, found: dict[str, Any]) -> None:
    if get_origin(kind) is Literal:
        if name := field_docs.name_of_words(kind):
            found.setdefault(name, kind)
        return
    for argument in get_args(kind):
        _collect(argument, found)
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Enum):
        found.setdefault(kind.__name__, kind)
    elif is_class(kind) and kind.__name__ not in found:
        found[kind.__name__] = kind
        for hint in get_type_hints(kind).values():
            _collect(hint, found)

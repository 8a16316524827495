"""JSON text, part by part, for values that are not whole in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from mandrake_sessions.exports.conversation import SLICE, slices
from mandrake_sessions.json_codec import JsonEncoder

_encoder = JsonEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# JSON may have them as they are, but some readers of lines take them for the end of one.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}
# So far below a value a text is looked for that is too long to be encoded at once.
_LEVELS = 4


@frozen
class Text:
    """A string."""

    slices: Iterable[str]


@frozen
class Rows:
    """An array."""

    items: Iterable[Any]


@frozen
class Fields:
    """An object."""

    items: Iterable[tuple[str, Any]]


def encode(value: Any) -> str:
    """A JSON value as JSON text without blanks, on one line."""
    text = _encoder.encode(value)
    if not text.isascii():
        for character, escape in _LINE_ENDS.items():
            text = text.replace(character, escape)
    return text


def json_parts(value: Any) -> Iterator[str]:
    """The same in parts, of a value that may hold ``Text``, ``Rows`` and ``Fields`` in each other."""
    if isinstance(value, Text):
        yield '"'
        for part in value.slices:
            yield encode(part)[1:-1]
        yield '"'
    elif isinstance(value, Rows):
        yield from _between("[", (json_parts(item) for item in value.items), "]")
    elif isinstance(value, Fields):
        yield from _between("{", (_member(name, item) for name, item in value.items), "}")
    elif isinstance(value, str) and len(value) > SLICE:
        yield from json_parts(Text(slices(value)))
    elif isinstance(value, dict) and _is_long(value, _LEVELS):
        yield from json_parts(Fields(value.items()))
    elif isinstance(value, list) and _is_long(value, _LEVELS):
        yield from json_parts(Rows(value))
    else:
        yield encode(value)


def _member(name: str, value: Any) -> Iterator[str]:
    yield encode(name) + ":"
    yield from json_parts(value)


def _between(begin: str, items: Iterable[Iterator[str]], end: str) -> Iterator[str]:
    yield begin
    is_first = True
    for item in items:
        if not is_first:
            yield ","
        is_first = False
        yield from item
    yield end


def _is_long(value: Any, levels: int) -> bool:
    """Whether there is something in it that has to be taken apart."""
    if isinstance(value, str):
        return len(value) > SLICE
    if isinstance(value, Text | Rows | Fields):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and any(_is_long(item, levels - 1) for item in inner)

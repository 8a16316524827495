"""Results as JSON, piece by piece: rows one after the other as they are read, long texts in slices.

So an answer of any length takes little memory while it is made, and no piece keeps the interpreter busy for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin

import attrs

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.large_work import between_rows, met_large
from mandrake_sessions.model import Turn
from mandrake_sessions.protocol.converter import json_value, may_be_left_out, unstructure
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.transport.jsonrpc import Id, encode, encode_value, result_message
from mandrake_sessions.transport.spool import MEMORY_BYTES, WITHOUT_FILE_BYTES, Encoded, NoRoom, Spool

# Characters; a text of more is encoded in slices of so many.
SLICE = 256 * 1024
# So many levels below a result, its own fields and those of the entities in it, may hold long texts.
_LEVELS = 2
# The fields of a turn that are iterators where they are long: of slices, and of tool calls.
_TEXTS = ("content", "raw_response")
_MAY_BE_ROWS = (*_TEXTS, "tool_calls")
# So many short rows are encoded at once, which takes a quarter of the time that one after the other takes.
_SHORT_ROWS = 64
_NUMBERS_AND_NAMES = (int, float, bool, str, type(None))


def encode_answer(message_id: Id, result: Any, directory: str | None = None) -> Encoded:
    """The whole answer, for a result that may hold iterators of entities. ``directory``: see ``Spool``. Raises
    StorageFailure (``full``) where a long one fits nowhere."""
    if not _holds_rows(result):
        plain = unstructure(result)
        if not _is_long(plain, _LEVELS):
            return encode(result_message(message_id, plain))
        return _spooled(message_id, _plain_parts(plain), directory)
    return _spooled(message_id, _parts(result), directory)


def carry_through(result: Any) -> None:
    """Take all rows of a result that nobody wants to see: taking them may be what carries it out."""
    if _holds_rows(result):
        for _ in _parts(result):
            pass


def _spooled(message_id: Id, result: Iterator[bytes], directory: str | None) -> Encoded:
    """The parts as one message. If they raise, what was written is deleted. A long message counts as large work."""
    spool = Spool(directory)
    try:
        for part in _answer(message_id, result):
            spool.write(part)
            # Parts that are large themselves have been met; a long one of short parts is met here.
            if spool.size > MEMORY_BYTES:
                met_large()
        return spool.finish()
    except NoRoom as error:
        spool.discard()
        raise StorageFailure(
            StorageReason.FULL,
            f"an answer of more than {WITHOUT_FILE_BYTES} bytes fits neither on the disk of the store nor into "
            f"{error.directory}; free some space, or read it a page at a time (turn/list, session/history)",
            error.directory,
        ) from error
    except BaseException:
        spool.discard()
        raise


def _answer(message_id: Id, result: Iterator[bytes]) -> Iterator[bytes]:
    yield f'{{"jsonrpc":"2.0","id":{encode_value(message_id)},"result":'.encode("ascii")
    yield from result
    yield b"}"


def _parts(value: Any) -> Iterator[bytes]:
    """The JSON of an entity, of a row of anything, or of many."""
    if isinstance(value, Iterator):
        yield from _list_parts(value)
    elif isinstance(value, list) and value and attrs.has(type(value[0])):
        row_type: Any = type(value[0])
        yield from (_short_list_parts if _is_short(row_type) else _list_parts)(value)
    elif _holds_rows(value):
        yield from _entity_parts(value)
    else:
        yield from _plain_parts(unstructure(value))


def _list_parts(rows: Any) -> Iterator[bytes]:
    before = b"["
    try:
        for row in rows:
            yield before
            yield from _parts(row)
            before = b","
            # It would be held while the next one is read.
            del row
            between_rows()
    finally:
        if isinstance(rows, Iterator) and hasattr(rows, "close"):
            rows.close()
    yield b"[]" if before == b"[" else b"]"


def _short_list_parts(rows: list[Any]) -> Iterator[bytes]:
    """Short rows, many at a time."""
    before = b"["
    for start in range(0, len(rows), _SHORT_ROWS):
        yield before + encode(unstructure(rows[start : start + _SHORT_ROWS]))[1:-1]
        before = b","
        between_rows()
    yield b"]"


def _entity_parts(entity: Any) -> Iterator[bytes]:
    """What is plain first, in one piece where it is short, then what is made of rows."""
    rows = _rows_of(entity)
    if isinstance(entity, Turn):
        empty: dict[str, Any] = {name: [] if name == "tool_calls" else None for name in rows}
        plain = unstructure(attrs.evolve(entity, **empty))
        if "tool_calls" in rows:
            del plain["toolCalls"]
    else:
        plain = {
            camel(field.name): json_value(value)
            for field in attrs.fields(type(entity))
            if field.name not in rows
            and not ((value := getattr(entity, field.name)) is None and may_be_left_out(type(entity), field))
        }
    yield from _object_parts(plain, rows, entity)


def _object_parts(plain: dict[str, Any], rows: tuple[str, ...], entity: Any) -> Iterator[bytes]:
    last = b"{}"
    for number, part in enumerate(_plain_parts(plain)):
        if number:
            yield last
        last = part
    # All but its brace.
    yield last[:-1]
    before = b"," if plain else b""
    for name in rows:
        yield before + b'"' + camel(name).encode() + b'":'
        value = getattr(entity, name)
        yield from _text_parts(value) if name in _TEXTS else _parts(value)
        before = b","
    yield b"}"


def object_parts(value: dict[str, Any]) -> Iterator[bytes]:
    """The JSON of an object of JSON values; what is long in it, piece by piece."""
    return _plain_parts(value)


def _plain_parts(value: Any, levels: int = _LEVELS) -> Iterator[bytes]:
    """The JSON of a JSON value. The last part of an object ends with its brace."""
    if isinstance(value, str) and len(value) > SLICE:
        yield b'"'
        for start in range(0, len(value), SLICE):
            yield encode_text(value[start : start + SLICE])
        yield b'"'
        return
    long = [name for name, item in value.items() if _is_long(item, levels - 1)] if _may_hold(value, levels) else []
    if not long:
        yield encode(value)
        return
    short = {name: item for name, item in value.items() if name not in long}
    yield encode(short)[:-1]
    before = "," if short else ""
    for name in long:
        yield f"{before}{encode_value(name)}:".encode("ascii")
        yield from _plain_parts(value[name], levels - 1)
        before = ","
    yield b"}"


def _text_parts(slices: Iterator[str]) -> Iterator[bytes]:
    yield b'"'
    for text in slices:
        yield encode_text(text)
        between_rows()
    yield b'"'


def encode_text(text: str) -> bytes:
    """The inside of a JSON string."""
    return encode(text)[1:-1]  # type: ignore[arg-type]


def _may_hold(value: Any, levels: int) -> bool:
    return isinstance(value, dict) and levels > 0


def _is_long(value: Any, levels: int) -> bool:
    """Whether there is a long text in it. Asked about each answer, and written out for that."""
    if isinstance(value, str):
        return len(value) > SLICE
    if levels > 0 and isinstance(value, dict):
        for item in value.values():
            if isinstance(item, str):
                if len(item) > SLICE:
                    return True
            elif isinstance(item, dict) and _is_long(item, levels - 1):
                return True
    return False


def _holds_rows(value: Any) -> bool:
    return attrs.has(type(value)) and bool(_rows_of(value))


def _rows_of(entity: Any) -> tuple[str, ...]:
    """The fields that are made of rows, or of slices."""
    if isinstance(entity, Turn):
        return tuple(name for name in _MAY_BE_ROWS if isinstance(getattr(entity, name), Iterator))
    kind: Any = type(entity)
    return tuple(name for name in _row_fields(kind) if getattr(entity, name) is not None)


@cache
def _row_fields(kind: Any) -> tuple[str, ...]:
    """The fields of a type whose values are lists of entities or results, or entities that have such."""
    attrs.resolve_types(kind)
    return tuple(field.name for field in attrs.fields(kind) if _is_made_of_rows(field.type))


@cache
def _is_short(kind: Any) -> bool:
    """Whether an entity is short wherever it is a row: nothing but numbers and names are in it, and in its lists."""
    attrs.resolve_types(kind)
    return all(_is_number_or_name(field.type) for field in attrs.fields(kind))


def _is_number_or_name(kind: Any) -> bool:
    if get_origin(kind) in (list, UnionType):
        return all(map(_is_number_or_name, get_args(kind)))
    return kind in _NUMBERS_AND_NAMES or bool(attrs.has(kind) and _is_short(kind))


def _is_made_of_rows(kind: Any) -> bool:
    if get_origin(kind) is UnionType:
        # A list of anything may be the client's own JSON.
        return any(_is_made_of_rows(argument) for argument in get_args(kind) if get_args(argument) != (Any,))
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return item is Any or bool(attrs.has(item))
    if kind is Turn or not isinstance(kind, type):
        return False
    known: Any = kind
    return bool(attrs.has(kind) and _row_fields(known))

"""JSON-RPC 2.0 messages: decoding, checking, encoding."""

from __future__ import annotations

import gc
import math
import re
from contextlib import suppress
from typing import Any, NoReturn

from mandrake_sessions.json_codec import JsonDecoder, JsonEncoder
from mandrake_sessions.limits import MAX_INTEGER_DIGITS, MAX_JSON_DEPTH, MAX_VALUES
from mandrake_sessions.long_integers import LongInteger
from mandrake_sessions.nesting import count_each, is_text_deeper_than
from mandrake_sessions.transport.errors import (
    RpcError,
    invalid_request,
    message_too_large,
    no_memory,
    parse_error,
    too_many_values,
)
from mandrake_sessions.transport.framing import PREFIX_BYTES, Frame, NoMemory, TooLong
from mandrake_sessions.transport.memory import map_large_blocks

Id = str | int | LongInteger | float | None
# Of these, what is taken as it is. Made once, not for each message.
_NAMES = str | int | LongInteger

# Line separators of Unicode that are no control characters: legal inside a JSON string, but there are readers of
# lines that split at them (Node's readline, Python's splitlines).
_SEPARATORS = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is beyond a double's range")
    return number


# Characters.
LARGE_MESSAGE = 1024 * 1024
# Characters; a message of more is decoded without the collector of cycles.
UNCOLLECTED = 64 * 1024
# What stands before, or begins, each value.
_BEFORE_VALUES = (b"[", b"{", b",")
# So many are looked for one by one, which is faster where a message has few.
_FEW_VALUES = 32
_WINDOW = 64 * 1024
_BLANK = " \t\r\n"
# How a byte that is not UTF-8 stands in a path (PEP 383).
_PATH_BYTE = re.compile("[\udc80-\udcff]")
_decoder = JsonDecoder(max_digits=MAX_INTEGER_DIGITS, parse_constant=_no_constant, parse_float=_finite)
_lenient = JsonDecoder(max_digits=MAX_INTEGER_DIGITS)
_encoder = JsonEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ascii_encoder = JsonEncoder(allow_nan=False, separators=(",", ":"))


class BrokenMessage(Exception):
    """A message that no method can be called for; ``id`` is the id for its reply, None where none can be read."""

    def __init__(self, error: RpcError, message_id: Id = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.id = message_id


def decode_frame(frame: Frame, max_message_bytes: int, advice: str = "send it in pieces") -> Any:
    """The JSON value of a frame: of a message, or of a batch. ``advice``: how to send a message that is too long.
    Raises BrokenMessage."""
    if isinstance(frame, bytes):
        return decode(frame)
    if isinstance(frame, TooLong):
        raise BrokenMessage(message_too_large(frame.size, max_message_bytes, advice), salvage_id(frame.prefix))
    if isinstance(frame, NoMemory):
        raise BrokenMessage(no_memory(), salvage_id(frame.prefix))
    raise BrokenMessage(parse_error(frame.reason), _id_of_request(frame.line))


def decode(raw: bytes) -> Any:
    """The JSON value of a message. Raises BrokenMessage."""
    if len(raw) > LARGE_MESSAGE:
        map_large_blocks()
        if has_more_values(raw, MAX_VALUES):
            raise BrokenMessage(too_many_values(MAX_VALUES), salvage_id(raw[:PREFIX_BYTES]))
    try:
        text = raw.decode().strip(_BLANK)
    except UnicodeDecodeError as error:
        reason = f"bad UTF-8 at byte {error.start}"
        raise BrokenMessage(parse_error(reason), salvage_id(raw)) from None
    try:
        value, end = _decoder.raw_decode(text) if len(text) < UNCOLLECTED else _decode_uncollected(text)
        if end != len(text):
            raise ValueError(f"there is more after its end, at character {end}")
    except RecursionError:
        raise BrokenMessage(too_deep(), salvage_id(raw)) from None
    except ValueError as error:
        raise BrokenMessage(parse_error(str(error)), salvage_id(raw)) from None
    if is_text_deeper_than(text, value, MAX_JSON_DEPTH):
        found = value.get("id") if isinstance(value, dict) else None
        raise BrokenMessage(too_deep(), found if is_id(found) else None)
    return value


def count_values(raw: bytes) -> int:
    """How many arrays, objects and members of them a part of a message may hold: no fewer than it does."""
    return count_each(raw, _BEFORE_VALUES, _FEW_VALUES)


def has_more_values(raw: bytes, limit: int) -> bool:
    """Whether a message may hold more arrays, objects and members of them than that, without making one of them."""
    if count_values(raw) <= limit:
        return False
    # Some of these may stand in texts.
    bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    count, in_text = 0, False
    for start in range(0, len(bare), _WINDOW):
        parts = bare[start : start + _WINDOW].split(b'"')
        count += sum(map(count_values, parts[in_text::2]))
        in_text ^= len(parts) % 2 == 0
        if count > limit:
            return True
    return False


def _decode_uncollected(text: str) -> tuple[Any, int]:
    """Without the collector of cycles, which JSON has none of: in a message of very many small objects it would take
    most of the time, going through all that was made so far again and again. Frozen, it is not gone through afterwards
    either; the process unfreezes it when it has nothing else to do (``connection/collector.py``)."""
    gc.disable()
    try:
        return _decoder.raw_decode(text)
    finally:
        gc.freeze()
        gc.enable()


def too_deep() -> RpcError:
    return invalid_request(f"it is nested deeper than {MAX_JSON_DEPTH}")


def is_id(value: Any) -> bool:
    """Whether a request may have this id: a string, a number, or (if it must be) null."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, _NAMES) and not isinstance(value, bool))


def envelope_fault(message: Any) -> str | None:
    """What makes a value no JSON-RPC 2.0 message, or None."""
    if not isinstance(message, dict):
        return f"a message is an object, not {type(message).__name__}"
    if message.get("jsonrpc") != "2.0":
        return 'it has no "jsonrpc": "2.0"'
    if not is_id(message.get("id")):
        return "its id is neither a string nor a number"
    if "method" in message:
        return None if isinstance(message["method"], str) else "its method is no string"
    if "id" in message and ("result" in message) != ("error" in message):
        return None
    return "it has neither a method nor a result"


def _id_of_request(line: bytes) -> Id:
    """The id of a request that is whole; None for anything else, such as the end of another message."""
    try:
        message = decode(line) if line else None
    except BrokenMessage:
        return None
    if not isinstance(message, dict) or "method" not in message or not is_id(message.get("id")):
        return None
    return message.get("id")


def salvage_id(raw: bytes) -> Id:
    """The id of a message that cannot be read as a whole, where it stands before the fault."""
    text = raw.decode(errors="replace").lstrip()
    try:
        position = _expect(text, 0, "{")
        while True:
            key, position = _lenient.raw_decode(text, position)
            value, position = _lenient.raw_decode(text, _expect(text, position, ":"))
            if key == "id":
                # What follows a number says that it is whole: 12 may be the beginning of 123, or of 12x.
                whole = isinstance(value, str) or text[_skip_blanks(text, position)] in ",}"
                return value if whole and is_id(value) else None
            position = _expect(text, position, ",")
    except (ValueError, RecursionError, IndexError):
        return None


def _expect(text: str, position: int, character: str) -> int:
    """The position of what follows the character, blanks skipped before and after it."""
    position = _skip_blanks(text, position)
    if text[position] != character:
        raise ValueError(character)
    return _skip_blanks(text, position + 1)


def _skip_blanks(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position


def encode(message: dict[str, Any] | list[Any]) -> bytes:
    """A message as JSON on one line, by anybody's idea of a line."""
    text = _encoder.encode(message)
    if text.isascii():
        return text.encode("ascii")
    for separator, escape in _SEPARATORS:
        text = text.replace(separator, escape)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _encode_surrogates(message, text)


def _encode_surrogates(message: dict[str, Any] | list[Any], text: str) -> bytes:
    """A lone surrogate in a path is a byte that is not UTF-8, and is shown as ``\\xe9``: many readers of JSON take no
    lone surrogate. In an id it is the client's own, and goes back as it came."""
    own_id = message.get("id") if isinstance(message, dict) else None
    if not (isinstance(own_id, str) and _PATH_BYTE.search(own_id)):
        with suppress(UnicodeEncodeError):
            return _PATH_BYTE.sub(lambda found: f"\\\\x{ord(found[0]) - 0xDC00:02x}", text).encode()
    return _ascii_encoder.encode(message).encode("ascii")


def encode_value(value: Any) -> str:
    """A value as ASCII JSON."""
    return _ascii_encoder.encode(value)


def result_message(message_id: Id, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message_id, "result": result}


def error_message(message_id: Id, error: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message_id, "error": error}


def notification_message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}

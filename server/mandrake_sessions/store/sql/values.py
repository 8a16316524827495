"""Values as columns hold them: JSON as text, texts by their length in UTF-8.

What is read back is data: anybody may have written it. So each value is checked where it is read; ``columns.py`` says
which column may hold what.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from mandrake_sessions.brief import LONG_JSON, check_length
from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.json_codec import JsonDecoder, JsonEncoder, TooManyDigits
from mandrake_sessions.limits import MAX_INTEGER_DIGITS, MAX_JSON_DEPTH
from mandrake_sessions.nesting import CONTAINERS, is_text_deeper_than

W = TypeVar("W", bound=StrEnum)
# From a stored value to what it means; raises OddValue.
Decoder = Callable[[Any], Any]

# The largest number that a `seq`, an index or a count of pieces may have: the next one must still be a number, for
# SQLite and in a JSON reader that keeps them as doubles.
MAX_NUMBER = 2**53 - 1
MAX_INTEGER = 2**63 - 1
# Costs are integers of 10^-9 of their currency, below 10^6 of it.
COST_UNITS = 10**9
MAX_COST = 10**15 - 1

_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


class OddValue(ValueError):
    """A stored value is not one that this program could have stored; the message says what it is instead."""


def _no_constant(name: str) -> Any:
    raise OddValue(f"has {name}, which is not JSON")


_TOO_DEEP = f"is nested deeper than {MAX_JSON_DEPTH}"


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OddValue(f"has the number {text[:40]}, beyond what a double holds")
    return number


_encoder = JsonEncoder(max_digits=MAX_INTEGER_DIGITS, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_canonical = JsonEncoder(sort_keys=True, separators=(",", ":"))
# A program may have stored longer integers than it may store now.
_decoder = JsonDecoder(parse_constant=_no_constant, parse_float=_finite)


def encode_json(path: str, value: Any) -> str:
    """JSON text of a value, numbers and key order as they are.

    Raises:
        InvalidValue: it is no JSON (NaN, a lone surrogate, a key that is no string, a type of Python's own), or is
            nested deeper than 128.
    """
    if value == {} and isinstance(value, dict):
        return "{}"
    try:
        encoded = _encoder.encode(_plain(path, value, 1))
        byte_length(encoded)
    except UnicodeEncodeError as error:
        character = ord(error.object[error.start])
        raise InvalidValue(path, f"has a lone surrogate (U+{character:04X}) in a text") from None
    except TooManyDigits as error:
        raise InvalidValue(path, f"has {error}") from None
    except (TypeError, ValueError) as error:
        raise InvalidValue(path, f"is not JSON: {error}") from None
    return encoded


def _plain(path: str, value: Any, depth: int) -> Any:
    """The value itself, once it is seen that encoding it loses nothing (json would write a key 1 as "1")."""
    if depth > MAX_JSON_DEPTH:
        raise InvalidValue(path, f"is nested deeper than {MAX_JSON_DEPTH}")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidValue(path, f"has a key that is no string: {key!r}")
            if isinstance(item, CONTAINERS):
                _plain(path, item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, CONTAINERS):
                _plain(path, item, depth + 1)
    return value


def decode_json(encoded: str) -> Any:
    """The value of what ``encode_json`` made; a fresh object each time. Raises OddValue."""
    if encoded == "{}":
        return {}
    if not isinstance(encoded, str):
        raise OddValue("is not UTF-8 text")
    check_length(len(encoded), LONG_JSON)
    try:
        decoded = _decoder.decode(encoded)
        if is_text_deeper_than(encoded, decoded, MAX_JSON_DEPTH):
            raise OddValue(_TOO_DEEP)
        if "\\u" in encoded:
            # An escaped lone surrogate is valid JSON, and a text that cannot be sent.
            _encoder.encode(decoded).encode()
    except RecursionError:
        raise OddValue(_TOO_DEEP) from None
    except OddValue:
        raise
    except ValueError as error:
        raise OddValue("is not valid JSON") from error
    return decoded


def decode_object(encoded: str) -> dict[str, Any]:
    decoded = decode_json(encoded)
    if not isinstance(decoded, dict):
        raise OddValue("is not a JSON object")
    return decoded


def decode_array(encoded: str) -> list[Any]:
    decoded = decode_json(encoded)
    if not isinstance(decoded, list):
        raise OddValue("is not a JSON array")
    return decoded


def decode_word(words: type[W], stored: Any) -> W:
    """A stored word of a list of words. Raises OddValue."""
    try:
        return words(stored)
    except ValueError:
        raise OddValue(f"is {shown(stored)}, not one of {', '.join(words)}") from None


def word_of(words: type[W]) -> Decoder:
    return lambda stored: decode_word(words, stored)


def optional(decode: Decoder) -> Decoder:
    """The same for a column that may be NULL."""
    return lambda stored: None if stored is None else decode(stored)


def decode_text(stored: Any) -> str:
    if not isinstance(stored, str):
        raise OddValue("is not UTF-8 text" if isinstance(stored, bytes) else "is missing")
    return stored


def decode_name(stored: Any) -> str:
    if decode_text(stored) == "":
        raise OddValue("is empty")
    return str(stored)


def decode_uuid(stored: Any) -> str:
    if not is_uuid(stored):
        raise OddValue(f"is {shown(stored)}, not a UUID")
    return str(stored)


def is_uuid(stored: Any) -> bool:
    """Whether it is an id as this program stores them. Nothing else may ever become part of a path."""
    return isinstance(stored, str) and _UUID.fullmatch(stored) is not None


def decode_integer(stored: Any) -> int:
    """A count, or a time in milliseconds, that a client may have given: from 0, as large as SQLite can hold."""
    return _integer(stored, 0, MAX_INTEGER)


def decode_number(stored: Any) -> int:
    """An index, or a count that this program goes on counting."""
    return _integer(stored, 0, MAX_NUMBER)


def decode_seq(stored: Any) -> int:
    return _integer(stored, 1, MAX_NUMBER)


def _integer(stored: Any, lowest: int, highest: int) -> int:
    if type(stored) is not int:
        raise OddValue(f"is {shown(stored)}, not an integer")
    if not lowest <= stored <= highest:
        raise OddValue(f"is {stored}, not a number from {lowest} to {highest}")
    return stored


def decode_cost(stored: Any) -> float:
    """A cost as a number of its currency."""
    return cost_of(_integer(stored, 0, MAX_COST))


def cost_of(units: int) -> float:
    """A stored cost, or a sum of such, as a number of its currency: the nearest that a double holds."""
    return units / COST_UNITS


def kept_cost(stored: Any) -> Any:
    """A cost of a change that may be of before schema 4, when costs had no bound: what migration 0004 made of it in the
    row of its turn. One that is within the bound already is the same after; what is no cost stays what it is."""
    if type(stored) not in (int, float) or not stored >= 0:
        return stored
    # As SQLite's round() does it; a cost may be an integer of any length.
    return cost_of(min(int(min(stored, 10**6) * 1e9 + 0.5), MAX_COST))


def decode_real_cost(stored: Any) -> float:
    """A cost as files of before schema 4 have it, and the feed of every schema."""
    if type(stored) not in (int, float) or not 0 <= stored < math.inf:
        raise OddValue(f"is {shown(stored)}, not a number from 0")
    return float(stored)


def decode_bytes(stored: Any) -> bytes:
    if not isinstance(stored, bytes):
        raise OddValue("is not a blob")
    return stored


def shown(stored: Any) -> str:
    """A stored value as a message may quote it."""
    if stored is None:
        return "missing"
    text = ascii(stored)
    return text if len(text) <= 60 else text[:57] + "..."


def byte_length(text: str) -> int:
    """Its length in UTF-8. Raises UnicodeEncodeError for a lone surrogate."""
    return len(text) if text.isascii() else len(text.encode())


def digest(values: Mapping[str, Any]) -> bytes:
    """A hash of what a create call was given, whatever the order of its keys."""
    return hashlib.sha256(_canonical.encode(values).encode()).digest()

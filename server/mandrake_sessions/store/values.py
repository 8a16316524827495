"""Values as columns hold them: JSON as text, texts by their length in UTF-8."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.limits import MAX_JSON_DEPTH
from mandrake_sessions.store.failures import Unreadable

W = TypeVar("W", bound=StrEnum)

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_decoder = json.JSONDecoder()


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
            if isinstance(item, dict | list):
                _plain(path, item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                _plain(path, item, depth + 1)
    return value


def decode_json(encoded: str) -> Any:
    """The value of what ``encode_json`` made; a fresh object each time."""
    if encoded == "{}":
        return {}
    try:
        return _decoder.decode(encoded)
    except (json.JSONDecodeError, TypeError) as error:
        raise Unreadable("a stored value is no JSON") from error


def decode_optional_json(encoded: str | None) -> Any:
    """The same for a column that may be NULL."""
    return None if encoded is None else decode_json(encoded)


def decode_word(words: type[W], stored: str) -> W:
    """A stored word of a list of words."""
    try:
        return words(stored)
    except ValueError as error:
        raise Unreadable(f"a stored word is none of {words.__name__}") from error


def byte_length(text: str) -> int:
    """Its length in UTF-8. Raises UnicodeEncodeError for a lone surrogate."""
    return len(text) if text.isascii() else len(text.encode())


def digest(values: Mapping[str, Any]) -> bytes:
    """A hash of what a create call was given, whatever the order of its keys."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()

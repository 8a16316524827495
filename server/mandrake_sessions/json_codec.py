"""JSON with integers of any size, whatever the process's limit for converting them is.

Values without long integers are left to the standard library alone, and cost nothing more.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mandrake_sessions.long_integers import (
    ALWAYS_CONVERTED_BITS,
    MAX_INT_DIGITS,
    LongInteger,
    may_have_long_integer,
    parse_integer,
)

_BLANKS = re.compile(r"[ \t\r\n]*")


class TooManyDigits(ValueError):
    """An integer has more digits than the codec was allowed."""

    def __init__(self, allowed: int) -> None:
        super().__init__(f"an integer of more than {allowed:,} digits")


class _LongIntegerMet(Exception):
    """The value holds a LongInteger."""


class _IntTooLong(Exception):
    """The value holds an ``int`` that the process does not convert."""


class JsonDecoder:
    """``json.JSONDecoder``; an integer of more than 4,300 digits becomes a ``LongInteger``. ``max_digits``: one of more
    raises TooManyDigits."""

    def __init__(self, *, max_digits: int | None = None, **options: Any) -> None:
        self._usual = json.JSONDecoder(**options)
        self._exact = json.JSONDecoder(**options, parse_int=_bounded(max_digits))

    def decode(self, text: str) -> Any:
        """The value of a whole text. Raises ValueError, RecursionError."""
        value, end = self.raw_decode(text, _after_blanks(text, 0))
        end = _after_blanks(text, end)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value

    def raw_decode(self, text: str, position: int = 0) -> tuple[Any, int]:
        """The value that begins there, and where it ends. Raises ValueError, RecursionError."""
        if len(text) <= MAX_INT_DIGITS or not may_have_long_integer(text):
            try:
                return self._usual.raw_decode(text, position)
            except ValueError as error:
                # The process's own limit may be lower than Python's.
                if not _is_about_digits(error):
                    raise
        return self._exact.raw_decode(text, position)


def _bounded(max_digits: int | None) -> Callable[[str], int | LongInteger]:
    def parse(text: str) -> int | LongInteger:
        if max_digits is not None and len(text) > max_digits and _count_digits(text) > max_digits:
            raise TooManyDigits(max_digits)
        return parse_integer(text)

    return parse


class JsonEncoder:
    """``json.JSONEncoder`` for JSON values that may hold a ``LongInteger``, or an ``int`` of any size. ``max_digits``:
    a longer one raises TooManyDigits."""

    def __init__(self, *, max_digits: int | None = None, **options: Any) -> None:
        self._max_digits = max_digits
        self._options = options
        self._usual = json.JSONEncoder(**options, default=_refuse)

    def encode(self, value: Any) -> str:
        """JSON text. Raises TypeError, ValueError, RecursionError."""
        try:
            return self._usual.encode(value)
        except _LongIntegerMet:
            with suppress(_IntTooLong):
                return self._with_long_integers(value)
        except ValueError as error:
            if not _is_about_digits(error):
                raise
        return self._with_long_integers(self._without_long_ints(value))

    def _with_long_integers(self, value: Any) -> str:
        """``json`` cannot write a text as it is. So a string that nothing else can be stands for each long integer,
        which takes its place afterwards. Raises _IntTooLong."""
        mark = os.urandom(16).hex()
        found: list[str] = []

        def stand_in(given: Any) -> str:
            if not isinstance(given, LongInteger):
                raise _no_json(given)
            if self._max_digits is not None and _count_digits(given.digits) > self._max_digits:
                raise TooManyDigits(self._max_digits)
            found.append(given.digits)
            return f"{mark}{len(found) - 1}"

        try:
            encoded = json.JSONEncoder(**self._options, default=stand_in).encode(value)
        except ValueError as error:
            if _is_about_digits(error):
                raise _IntTooLong from None
            raise
        return re.sub(rf'"{mark}([0-9]+)"', lambda match: found[int(match[1])], encoded)

    def _without_long_ints(self, value: Any) -> Any:
        """The same with a LongInteger for each ``int`` that the process may not be able to convert."""
        if isinstance(value, dict):
            return {key: self._without_long_ints(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._without_long_ints(item) for item in value]
        if type(value) is not int or value.bit_length() <= ALWAYS_CONVERTED_BITS:
            return value
        # Before it is converted, which takes long.
        if self._max_digits is not None and value.bit_length() > (self._max_digits + 1) * math.log2(10):
            raise TooManyDigits(self._max_digits)
        return LongInteger(value)


def _refuse(value: Any) -> Any:
    raise _LongIntegerMet if isinstance(value, LongInteger) else _no_json(value)


def _no_json(value: Any) -> TypeError:
    """What ``json`` says of a value of another type."""
    return TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _is_about_digits(error: ValueError) -> bool:
    """Whether Python refused to convert an integer. Its error has no type of its own."""
    return "int_max_str_digits" in str(error)


def _count_digits(text: str) -> int:
    return len(text) - text.startswith("-")


def _after_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return position if found is None else found.end()

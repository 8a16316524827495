"""Integers that Python does not convert to text and back: it stops at 4,300 digits, or where the process says.

That limit belongs to the process, so a library must not change it; and such a conversion takes quadratic time, in which
no other thread runs. A store only has to keep these integers: so they stay the text that they are in JSON.
"""

from __future__ import annotations

import re
import sys
from functools import total_ordering
from typing import Any

# An integer of more digits is a LongInteger, whatever the process's own limit is.
MAX_INT_DIGITS = 4300
# Python converts so many digits whatever the process's limit is (sys.int_info.str_digits_check_threshold).
_ALWAYS_CONVERTED = 640
ALWAYS_CONVERTED_BITS = 2000
# Python's hash of an integer is its remainder by this.
_MODULUS = sys.hash_info.modulus
# One of each so many characters of a text falls into the beginning of a longer run, with at least so many after it.
_STEP = 512
_ENOUGH = MAX_INT_DIGITS - _STEP
_DIGITS = re.compile(rf"[0-9]{{0,{_ENOUGH}}}")


@total_ordering
class LongInteger:
    """An integer of more than 4,300 digits. ``digits`` is its decimal text, with a sign where it is negative.

    It equals the ``int`` of its value and has that one's hash and order; ``int(it)`` makes it, in a time that grows
    faster than the number of digits. ``LongInteger(number)`` makes one of an ``int``.
    """

    __slots__ = ("digits",)

    digits: str

    def __init__(self, value: str | int) -> None:
        self.digits = value if isinstance(value, str) else text_of(value)

    def __int__(self) -> int:
        return integer_of(self.digits)

    __index__ = __int__

    def __str__(self) -> str:
        return self.digits

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LongInteger):
            return self.digits == other.digits
        return int(self) == other if isinstance(other, int) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return int(self) < int(other) if isinstance(other, LongInteger | int) else NotImplemented

    def __hash__(self) -> int:
        """That of the ``int``, which need not be made for it."""
        remainder = 0
        for start in range(0, len(digits := self.digits.lstrip("-")), _ALWAYS_CONVERTED):
            part = digits[start : start + _ALWAYS_CONVERTED]
            remainder = (remainder * pow(10, len(part), _MODULUS) + int(part)) % _MODULUS
        return hash(-remainder if self.digits.startswith("-") else remainder)

    def __reduce__(self) -> tuple[Any, ...]:
        return LongInteger, (self.digits,)


def parse_integer(text: str) -> int | LongInteger:
    """The integer that stands as ``text`` in JSON."""
    if len(text) <= _ALWAYS_CONVERTED:
        return int(text)
    return integer_of(text) if len(text.lstrip("-")) <= MAX_INT_DIGITS else LongInteger(text)


def integer_of(digits: str) -> int:
    """``int(digits)``, whatever the process's limit is."""
    if digits.startswith("-"):
        return -integer_of(digits[1:])
    if len(digits) <= _ALWAYS_CONVERTED:
        return int(digits)
    half = len(digits) // 2
    shift: int = 10**half
    return integer_of(digits[:-half]) * shift + integer_of(digits[-half:])


def text_of(number: int) -> str:
    """``str(number)``, whatever the process's limit is."""
    if number < 0:
        return "-" + text_of(-number)
    if number.bit_length() <= ALWAYS_CONVERTED_BITS:
        return str(int(number))
    # About half of its digits: three bits and a third are one.
    half = number.bit_length() * 3 // 20
    high, low = divmod(number, 10**half)
    return text_of(high) + text_of(low).zfill(half)


def may_have_long_integer(text: str) -> bool:
    """Whether JSON has a run of digits that may be a LongInteger; it may be part of a string as well. Looking at one
    character in 512 tells, so this costs nothing beside decoding the text."""
    if len(text) <= MAX_INT_DIGITS:
        return False
    end = 0
    for number, character in enumerate(text[::_STEP]):
        start = number * _STEP
        if "0" <= character <= "9" and start >= end and (run := _DIGITS.match(text, start)):
            end = run.end()
            if end - start == _ENOUGH:
                return True
    return False

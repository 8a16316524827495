"""How deep a JSON value is nested, without recursion and without looking at each value of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, AnyStr

# Asked about each value: a union of types takes twice the time of a tuple.
CONTAINERS = (dict, list)

_WINDOW = 64 * 1024
# Brackets that are looked up together. There are two to the power of that many sequences.
_RUN = 14
_OPEN = ord("[")
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


class _Runs(dict[bytes, tuple[int, int]]):
    """By a sequence of brackets: how many levels it climbs at its highest, and at its end."""

    def __missing__(self, brackets: bytes) -> tuple[int, int]:
        level = peak = 0
        for bracket in brackets:
            level += 1 if bracket == _OPEN else -1
            peak = max(peak, level)
        self[brackets] = found = (peak, level)
        return found


_runs = _Runs()


def is_text_deeper_than(text: str, value: Any, levels: int) -> bool:
    """Whether a value has more levels of objects and arrays than that, its own included. ``text`` is its JSON: counting
    brackets takes a tenth of the time of going through the values."""
    if count_each(text, ("[", "{"), levels + 1) <= levels:
        return False
    # An object may hold a member twice, of which the text has both.
    return _has_more_levels(text.encode(errors="surrogatepass"), levels) and is_deeper_than(value, levels)


def count_each(text: AnyStr, characters: Sequence[AnyStr], few: int) -> int:
    """How often these stand in a text. In a long text they are searched for one by one first, up to ``few`` of them:
    where there are fewer, that takes a tenth of the time of ``count``."""
    if len(text) >= _WINDOW and (found := _count_few(text, characters, few)) < few:
        return found
    return sum(map(text.count, characters))


def _count_few(text: AnyStr, characters: Sequence[AnyStr], few: int) -> int:
    """The same, but no more than ``few``."""
    count = 0
    for character in characters:
        at = text.find(character)
        while at >= 0:
            count += 1
            if count == few:
                return few
            at = text.find(character, at + 1)
    return count


def _has_more_levels(text: bytes, levels: int) -> bool:
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    level, in_text = 0, False
    for start in range(0, len(text), _WINDOW):
        parts = text[start : start + _WINDOW].split(b'"')
        brackets = b"".join(parts[in_text::2]).translate(_ONE_KIND, _NO_BRACKETS)
        in_text ^= len(parts) % 2 == 0
        for run in range(0, len(brackets), _RUN):
            peak, climbed = _runs[brackets[run : run + _RUN]]
            if level + peak > levels:
                return True
            level += climbed
    return False


def is_deeper_than(value: Any, levels: int) -> bool:
    """The same for a value alone."""
    layer = [value] if isinstance(value, CONTAINERS) else []
    for _ in range(levels):
        layer = [
            child
            for container in layer
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, CONTAINERS)
        ]
        if not layer:
            return False
    return True

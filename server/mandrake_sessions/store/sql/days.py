"""SQL that tells the day of a time in a time zone. ``offsets``: see ``timezones.offsets``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mandrake_sessions.timezones import DAY_MS

_Offsets = Sequence[tuple[int, int]]


def day_of(at: str, offsets: _Offsets) -> str:
    """The day of a time, counted from 1970-01-01."""
    # One day more, so that a division of what lies before 1970 rounds down.
    return _by_offset(at, offsets, lambda offset: f"(({at} + {offset + DAY_MS}) / {DAY_MS} - 1)")


def are_of_one_day(first: str, last: str, offsets: _Offsets) -> str:
    """Whether all times between two have the day of these. Never so where the offset differs; where it changes twice,
    the two are days apart."""
    same_day = f"{day_of(first, offsets)} = {day_of(last, offsets)}"
    return f"{same_day} AND {_by_offset(first, offsets, str)} = {_by_offset(last, offsets, str)}"


def _by_offset(at: str, offsets: _Offsets, value: Callable[[int], str]) -> str:
    """What ``value`` makes of the offset at a time. The latest are found first: most times are of late."""
    if len(offsets) == 1:
        return value(offsets[0][1])
    middle = max(1, len(offsets) * 3 // 4)
    late, early = (_by_offset(at, part, value) for part in (offsets[middle:], offsets[:middle]))
    return f"CASE WHEN {at} >= {offsets[middle][0]} THEN {late} ELSE {early} END"

"""When which day it is, in the time zones of the IANA database of this machine."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

DEFAULT_TIMEZONE: Final = "UTC"
DAY_MS: Final = 24 * 60 * 60 * 1000

_EPOCH = date(1970, 1, 1)
_LAST_DAY = (date.max - _EPOCH).days
# Changes of the clock are looked for up to here; later the last one holds.
_LAST_YEAR = 2100
# Since 1970 no zone has changed its clock twice in less than 6.9 days, as all zones of the database of 2025 say.
_STEP_SECONDS = 3 * 24 * 60 * 60
# Files of the directory that are no zones of the database: other forms of it, and the machine's own choice.
_NO_ZONES = re.compile(r"(posix|right)/.*|localtime|posixrules")
_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


class UnknownTimezone(ValueError):
    """There is no such zone here; the message says what to give instead."""


def check_timezone(name: str) -> str:
    """The name itself. Raises UnknownTimezone."""
    _zone(name)
    return name


@lru_cache(maxsize=32)
def offsets(name: str) -> tuple[tuple[int, int], ...]:
    """From when on which offset from UTC holds, in milliseconds since 1970, the earliest first. Finding them takes
    about 20 ms, once for each zone."""
    zone = _zone(name)
    if zone is UTC:
        return ((0, 0),)
    found = [(0, _offset(zone, 0))]
    last = int(datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    for second in range(_STEP_SECONDS, last, _STEP_SECONDS):
        before, offset = found[-1][1], _offset(zone, second)
        if offset != before:
            found.append((_end_of(zone, before, second - _STEP_SECONDS, second), offset))
    return tuple((second * 1000, offset * 1000) for second, offset in found)


def day_name(day: int) -> str:
    """``YYYY-MM-DD`` of a day that is counted from 1970-01-01; one beyond the calendar is its last."""
    return (_EPOCH + timedelta(min(day, _LAST_DAY))).isoformat()


def _zone(name: str) -> tzinfo:
    if name == DEFAULT_TIMEZONE:
        # It needs no database.
        return UTC
    if _NAME.fullmatch(name) and not _NO_ZONES.fullmatch(name) and (found := _in_database(name)) is not None:
        return found
    raise UnknownTimezone(
        "give a name of the IANA database such as Europe/Berlin, or UTC"
        if _in_database("Europe/Berlin") is not None
        else "this machine has no time zone database: install the Python package tzdata, or give UTC"
    )


def _in_database(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # a server that names no zone starts without it

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _offset(zone: tzinfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _end_of(zone: tzinfo, offset: int, inside: int, outside: int) -> int:
    """The first second at which an offset holds no more, between one inside its time and one outside."""
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if _offset(zone, middle) == offset:
            inside = middle
        else:
            outside = middle
    return outside

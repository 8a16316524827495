"""Durations and moments, as people give them and as they read them."""

from __future__ import annotations

import os
import re
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from mandrake_sessions.ids import now_ms
from mandrake_sessions.settings import BadSetting

if TYPE_CHECKING:
    from datetime import date

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
# From so many days on, a date says more than a distance.
_DISTANT_DAYS = 7
_DAYS_AGO = {"today": 0, "yesterday": 1}


def duration(flag: str, text: str) -> int:
    """The milliseconds of a duration such as ``90d``. Raises BadSetting."""
    match = re.fullmatch(r"(0|[1-9][0-9]{0,8})([mhdw])", text)
    if match is not None and match[1] == "0":
        raise BadSetting(flag, f"{text!r} would mean every session; the shortest duration is 1m (one minute)")
    if match is None:
        raise BadSetting(
            flag,
            f"{text!r} is not a duration; give a number and a unit, such as"
            " 30m (minutes), 12h (hours), 90d (days) or 6w (weeks)",
        )
    return int(match[1]) * _SECONDS[match[2]] * 1000


def since(flag: str, text: str | None) -> int | None:
    """A duration before now, or the beginning of a day of the local time zone. Raises BadSetting."""
    if text is None:
        return None
    if text in _DAYS_AGO or re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", text):
        from datetime import date, timedelta

        try:
            if text in _DAYS_AGO:
                return _beginning(date.today() - timedelta(days=_DAYS_AGO[text]))
            return _beginning(date(*map(int, text.split("-"))))
        except (ValueError, OverflowError, OSError):
            raise BadSetting(flag, f"{text!r} is not a day that the calendar has") from None
    try:
        return max(0, now_ms() - duration(flag, text))
    except BadSetting:
        raise BadSetting(
            flag,
            f"{text!r} is neither a duration, such as 30m, 12h, 2d or 6w, nor a day, such as 2026-01-31, today or "
            "yesterday",
        ) from None


def _beginning(day: date) -> int:
    """Of a day in the local time zone. Raises ValueError, OverflowError, OSError."""
    from datetime import datetime

    return int(datetime(day.year, day.month, day.day).timestamp() * 1000)


def check_order(options: Namespace) -> None:
    """Raises BadSetting: the time that the options mean ends before it begins."""
    begin, end = since("--since", options.since), since("--until", options.until)
    if begin is not None and end is not None and begin > end:
        raise BadSetting(
            "--since", f"{options.since} is later than --until {options.until}, so nothing is between them"
        )


def local_timezone() -> str:
    """The IANA name of the time zone of this machine, or of ``TZ``; ``UTC`` where neither says it."""
    from zoneinfo import available_timezones

    named = os.environ.get("TZ", "").removeprefix(":") or os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    return named if named in available_timezones() else "UTC"


def ago(moment: int) -> str:
    """How long ago it is, or its day where that is long."""
    passed = now_ms() - moment
    if passed < _MINUTE:
        return "now" if passed > -_MINUTE else day(moment)
    if passed < _HOUR:
        return f"{passed // _MINUTE} min"
    if passed < _DAY:
        return f"{passed // _HOUR} h"
    days = passed // _DAY
    return f"{days} d" if days < _DISTANT_DAYS else day(moment)


def day(moment: int) -> str:
    """In the local time zone."""
    try:
        return time.strftime("%Y-%m-%d", time.localtime(moment / 1000))
    except (ValueError, OverflowError, OSError):
        return "?"

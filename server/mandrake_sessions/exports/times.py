"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(milliseconds: int | None) -> str | None:
    """ISO 8601 with milliseconds, UTC; None for a moment that calendars do not have."""
    moment = _moment(milliseconds)
    return None if moment is None or milliseconds is None else f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def for_people(milliseconds: int | None) -> str:
    """To the minute, UTC; empty for a moment that calendars do not have."""
    moment = _moment(milliseconds)
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _moment(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None

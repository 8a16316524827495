"""Times that lie far in the future: they are not taken over, and told of with their place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve

from mandrake_sessions.ids import now_ms
from mandrake_sessions.importing.events import Broken, Event, Said
from mandrake_sessions.importing.lines import Line
from mandrake_sessions.rules import MAX_AHEAD_MS

# The clock is asked for later times alone: it costs more than all else that is done with most records.
_STARTED: Final = now_ms()


def is_ahead(event: Event) -> bool:
    """Whether it has a time that no call would take."""
    latest = _latest(event)
    return latest > _STARTED and latest > now_ms() + MAX_AHEAD_MS


def in_its_time(event: Event, line: Line | None = None) -> Iterator[Event]:
    """The event without such a time. ``line``: where it stands; None where nothing has lines."""
    latest = _latest(event)
    number, start = (line.number, line.start) if line is not None else (0, 0)
    named = f" of {name}" if line is None and (name := getattr(event, "id", None)) else ""
    yield Broken(number, start, f"the time{named}, {_shown(latest)}, lies in the future; it was not taken over", False)
    changed: dict[str, Any] = {"at": None}
    if isinstance(event, Said):
        changed["more"] = {name: value for name, value in event.more.items() if name != "stream_end_time"}
    yield evolve(event, **changed)


def _latest(event: Event) -> int:
    at: int = getattr(event, "at", None) or 0
    if isinstance(event, Said) and event.more:
        return max(at, event.more.get("stream_end_time") or 0)
    return at


def _shown(at: int) -> str:
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at} ms"

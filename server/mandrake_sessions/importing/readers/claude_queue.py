"""What a person typed for Claude Code while it was at work.

Each such text is put into a queue and taken out of it. Mostly a record of the request follows, or an attachment; where
none does before the model goes on, the text stands in the queue's records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define

from mandrake_sessions.importing.values import moment_of, text_of

# What is longer is not remembered: each position holds it.
_MAX_TEXT: Final = 16_000
_MAX_QUEUED: Final = 20


@define
class Queued:
    """``start``: where the line begins that has put it in. ``is_out``: whether it was taken out."""

    text: str
    start: int
    at: int | None
    is_out: bool = False


class Queue:
    def __init__(self, state: Mapping[str, Any]) -> None:
        self._queued = [Queued(*each) for each in state.get("queue", [])]

    def state(self) -> dict[str, Any]:
        return {"queue": [(each.text, each.start, each.at, each.is_out) for each in self._queued]}

    def take(self, record: dict[str, Any], start: int) -> None:
        """A record of the queue."""
        text, operation = (text_of(record.get("content")) or "").strip(), record.get("operation")
        if operation == "enqueue":
            # What the program puts in itself begins so.
            if text and not text.startswith("<") and len(text) <= _MAX_TEXT:
                queued = Queued(text, start, moment_of(record.get("timestamp")))
                self._queued = [*self._queued[1 - _MAX_QUEUED :], queued]
        elif operation == "popAll":
            # Back into the hands of the person.
            self._queued = [each for each in self._queued if each.is_out]
        elif operation in ("dequeue", "remove"):
            waiting = [each for each in self._queued if not each.is_out and text in ("", each.text)]
            if waiting:
                waiting[0].is_out = True

    def recorded(self, text: str) -> None:
        """A request has a record of its own."""
        for each in self._queued:
            if each.text == text.strip():
                self._queued.remove(each)
                return

    def is_out(self, at: int | None) -> bool:
        """Whether something was taken out and had no record until the model went on. ``at``: when it did; a fork begins
        with what was queued for it, and then has older records."""
        return any(each.is_out and (each.at or 0) <= (at or 0) for each in self._queued)

    def alone(self, at: int | None) -> list[Queued]:
        """Take that."""
        out = [each for each in self._queued if each.is_out and (each.at or 0) <= (at or 0)]
        self._queued = [each for each in self._queued if each not in out]
        return out

"""The calls that are being carried out: one group at a time in a lane."""

from __future__ import annotations

import asyncio
from typing import Any

from mandrake_sessions.connection.call import Call
from mandrake_sessions.errors import Cancelled
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.store_places import StorePlace

# How often a write that must not go on is interrupted until it ends.
INTERRUPT_SECONDS = 0.01


class InProgress:
    """``calls``: the group that a runner has now; empty where it has none. ``writes_to``: the store that they write to,
    if they do."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.calls: list[Call] = []
        self.writes_to: SessionManager | None = None

    @property
    def is_writing(self) -> bool:
        """Whether nobody knows, before its end, what becomes of it."""
        return self.writes_to is not None

    def end(self) -> list[Call]:
        """It is over; gives its calls."""
        ended, self.calls, self.writes_to = self.calls, [], None
        return ended

    def holds(self, place: StorePlace) -> bool:
        """Whether it is about this store."""
        return any(call.place == place for call in self.calls)

    def cancel_read(self, message_id: Any) -> bool:
        """Answer a read, whose result is dropped; whether there was one with this id."""
        if self.writes_to is None:
            for call in self.calls:
                if call.has_id(message_id):
                    call.fail(Cancelled("the request was cancelled while it read"))
                    return True
        return False

    def abandon(self, why: str) -> None:
        """Answer reads, and interrupt a write again and again until it ends. Its calls are answered with what became of
        it: it may be committed in this moment."""
        if self.writes_to is not None:
            self.writes_to.store.interrupt_write()
            self._loop.call_later(INTERRUPT_SECONDS, self.abandon, why)
        else:
            for call in self.calls:
                call.fail(Cancelled(why))

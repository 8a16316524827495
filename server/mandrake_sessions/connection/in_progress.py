"""The calls that are being carried out: one group at a time in a lane."""

from __future__ import annotations

import asyncio
from typing import Any

from mandrake_sessions.connection.call import Call
from mandrake_sessions.errors import Cancelled
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.stopping import Stoppable
from mandrake_sessions.store_places import StorePlace

# How often a write that must not go on is interrupted until it ends.
INTERRUPT_SECONDS = 0.01


class InProgress:
    """``calls``: the group that a runner has now; empty where it has none. ``writes_to``: the store that they write to,
    if they do. ``stoppable``: ends a write that is done in steps at its next one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.calls: list[Call] = []
        self.writes_to: SessionManager | None = None
        self.stoppable: Stoppable | None = None

    @property
    def is_writing(self) -> bool:
        """Whether nobody knows, before its end, what becomes of it."""
        return self.writes_to is not None

    def end(self) -> list[Call]:
        """It is over; gives its calls."""
        ended, self.calls, self.writes_to, self.stoppable = self.calls, [], None, None
        return ended

    def holds(self, place: StorePlace) -> bool:
        """Whether it is about this store."""
        return any(call.place == place for call in self.calls)

    def cancel(self, message_id: Any) -> bool:
        """Answer a read, whose result is dropped, or end a write in steps, which undoes what it has done first; whether
        there was one with this id."""
        call = next((call for call in self.calls if call.has_id(message_id)), None)
        if call is None:
            return False
        if self.stoppable is not None:
            self.stoppable.stop("the request was cancelled before it was done; nothing of it is stored")
            return True
        if self.writes_to is None:
            call.fail(Cancelled("the request was cancelled while it read"))
            return True
        return False

    def abandon(self, why: str) -> None:
        """Answer reads, and interrupt a write again and again until it ends. Its calls are answered with what became of
        it: it may be committed in this moment."""
        if self.stoppable is not None:
            self.stoppable.stop(why)
        if self.writes_to is not None:
            self.writes_to.store.interrupt_write()
            self._loop.call_later(INTERRUPT_SECONDS, self.abandon, why)
        else:
            for call in self.calls:
                call.fail(Cancelled(why))

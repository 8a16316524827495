"""A text of any length, as turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Unpack

from mandrake_sessions.commands.words import in_command_words
from mandrake_sessions.errors import NotFound, SessionsError
from mandrake_sessions.fields import NewTurn, Piece
from mandrake_sessions.ids import new_id
from mandrake_sessions.limits import MAX_TEXT_BYTES
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import TurnStatus

_PAUSE: Final = 0.2


class FillingTurns:
    """Turns of one response: where one is full, the next one begins. ``fields``: those of each. ``turn_id``: the last
    one; None before the first."""

    def __init__(self, manager: SessionManager, response_id: str, **fields: Unpack[NewTurn]) -> None:
        self._manager = manager
        self._response_id = response_id
        self._fields = fields
        self.turn_id: str | None = None
        self._size = 0

    def begins(self, size: int) -> bool:
        """Whether a part of so many bytes begins another turn."""
        return self.turn_id is None or self._size + size > MAX_TEXT_BYTES

    def begin(self) -> None:
        """The first turn is there before its text; in a transaction of the caller's. Called again, where that was
        rolled back, it makes the same turn."""
        if self.turn_id is None:
            self.turn_id = new_id()
        fields: NewTurn = {**self._fields, "id": self.turn_id}
        self._manager.create_turn(self._response_id, **fields)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return self._size == 0

    def add(self, size: int, pieces: Sequence[Piece]) -> None:
        """Store a part. ``size``: the bytes by which the longer of the turn's texts grows.

        Raises what the store raises; after Busy nothing was written, and the same call can be made again.
        """
        if self.turn_id is not None and not self.begins(size):
            self._append(self.turn_id, pieces)
            self._size += size
            return
        with self._manager.transaction():
            turn_id = self._next()
            self._append(turn_id, pieces)
        self.turn_id, self._size = turn_id, size

    def _next(self) -> str:
        if self.turn_id is not None:
            self._manager.update_turn(self.turn_id, include_text=False, status=TurnStatus.COMPLETED)
        return self._manager.create_turn(self._response_id, **self._fields).id

    def _append(self, turn_id: str, pieces: Sequence[Piece]) -> None:
        for outcome in self._manager.append_pieces([{"turn_id": turn_id, **piece} for piece in pieces]):
            if isinstance(outcome, SessionsError):
                raise outcome


def what_is_kept(kept: int, what: str, why: SessionsError) -> str:
    """What to say where the rest was lost. ``kept``: so many bytes of ``what`` were stored."""
    if isinstance(why, NotFound):
        # What was stored went with it.
        return (
            f"the session, or its turn, was deleted while the {what} was stored there, or the store was replaced: "
            f"nothing of the {what} is kept"
        )
    told = f"only the first {kept} bytes of the {what} are kept" if kept else f"nothing of the {what} is kept"
    return f"{told}: {in_command_words(why)}"


def at_last(work: Callable[[], None]) -> SessionsError | None:
    """Do what comes last: with one more try, since there is nobody after us. Gives why that failed too."""
    with suppress(SessionsError):
        work()
        return None
    time.sleep(_PAUSE)
    try:
        work()
    except SessionsError as error:
        return error
    return None

"""A store that is not there yet, as its clients see it: empty. Reads of it make nothing, and only a write that can
succeed makes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mandrake_sessions.errors import NotFound, SessionsError
from mandrake_sessions.fields import TurnPiece
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Appended
from mandrake_sessions.operations.turns import checked_piece
from mandrake_sessions.store.absent import EmptyTransaction, empty_state, is_there

__all__ = ["AbsentStore", "is_there"]


class AbsentStore(SessionManager):
    """Answers as a new store would, with ``seq`` 0 and no ``store_id``.

    Every operation checks its parameters and looks for what they name as ever. One that would write something raises
    ``WriteNeeded``; to be used by one thread.
    """

    def __init__(self, db_path: str | os.PathLike[str]) -> None:
        super().__init__(db_path)
        self.path = os.fspath(db_path)
        self._connection = empty_state()

    def append_pieces(self, pieces: Iterable[TurnPiece], *, wait: bool = True) -> list[Appended | SessionsError]:  # noqa: ARG002
        taken = [checked_piece(piece) for piece in pieces]
        return [piece if isinstance(piece, SessionsError) else NotFound("turn", piece["turn_id"]) for piece in taken]

    @contextmanager
    def transaction(self, *, appends_only: bool = False, wait: bool = True) -> Iterator[None]:  # noqa: ARG002
        yield

    @contextmanager
    def _write(self, *, appends_only: bool = False) -> Iterator[Any]:  # noqa: ARG002
        yield EmptyTransaction(self._connection)

    @contextmanager
    def _read(self) -> Iterator[Any]:
        yield self._connection

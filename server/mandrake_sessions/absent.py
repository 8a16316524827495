"""A store that does not exist yet. Clients see it as empty. Reads create nothing; only a write that can succeed creates
the store."""

from __future__ import annotations

import os

from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.store.engines import is_there
from mandrake_sessions.store.interface import EntityStore

__all__ = ["AbsentStore", "is_there"]


class AbsentStore(Conversations):
    """Answers as a new store would, with ``seq`` 0 and no ``store_id``.

    Every operation checks its parameters and looks for what they name as ever. One that would write something raises
    ``WriteNeeded``; to be used by one thread. ``empty``: a store that holds nothing, which they may share.
    """

    def __init__(self, path: str | os.PathLike[str], empty: EntityStore) -> None:
        super().__init__(empty)
        self.path = os.fspath(path)

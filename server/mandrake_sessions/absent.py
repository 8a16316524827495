"""A store that does not exist yet. Clients see it as empty. Reads create nothing; only a write that can succeed creates
the store."""

from __future__ import annotations

from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.store.engines import is_there
from mandrake_sessions.store.interface import EntityStore


class AbsentStore(Conversations):
    """Answers as a new store would, with ``seq`` 0 and no ``store_id``.

    Every operation checks its parameters and looks for what they name as ever. One that would write something raises
    ``WriteNeeded``; to be used by one thread. ``name``: the store's; ``empty``: a store that holds nothing, which they
    may share.
    """

    def __init__(self, name: str, empty: EntityStore) -> None:
        super().__init__(empty)
        self._name = name

    def exists_now(self) -> bool:
        """Has somebody made the store meanwhile?"""
        return is_there(self._name)

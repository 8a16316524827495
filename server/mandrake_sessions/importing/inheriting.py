"""Sessions that begin with copies of another's rounds and do not say whose: one of the two is a fork of the other."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from mandrake_sessions.errors import NotFound
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Relation
from mandrake_sessions.operations.imports import Imports

_FORK: Final = Relation.FORK.value

# A session, and what becomes of it: see ``set_parent``.
Fork = tuple[str, str, str, None]


class Inheriting:
    """``note`` each such session, then ``take`` the forks among them, once all of them is committed."""

    def __init__(self, manager: SessionManager, imports: Imports) -> None:
        self._manager = manager
        self._imports = imports
        # Sessions, each with the one that had its rounds before, and whether more is said in it soon.
        self._noted: dict[str, tuple[str, bool]] = {}

    def note(self, session_id: str, other_id: str, *, is_growing: bool) -> None:
        """``other_id``: the session that has the rounds which the first one has copies of."""
        self._noted[session_id] = other_id, is_growing

    def take(self) -> list[Fork]:
        noted, self._noted = self._noted, {}
        found = []
        for session_id, (other_id, is_growing) in noted.items():
            with suppress(NotFound):
                found += self._forks(session_id, other_id, is_growing=is_growing)
        return found

    def _forks(self, session_id: str, other_id: str, *, is_growing: bool) -> list[Fork]:
        """The copies are the same in both, so it counts which of them was gone on with first: a fork is made of what is
        there. One that has nothing of its own was there before the other went on."""
        one, other = self._manager.get_session(session_id), self._manager.get_session(other_id)
        if one.relation is not None or other.parent_id == session_id:
            return []
        own = self._imports.went_on(session_id, other_id)
        others = self._imports.went_on(other_id, session_id)
        if others is None or (own is not None and others <= own):
            return [(session_id, other_id, _FORK, None)]
        # A fork that was just made, or a conversation that is written again: its next words tell.
        is_open = own is None and is_growing
        return [] if is_open or other.relation is not None else [(other_id, session_id, _FORK, None)]

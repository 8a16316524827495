"""Conversations that were recorded while they went on, in any of the user's stores: they are not brought in again."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from mandrake_sessions.errors import InvalidValue, NotFound
from mandrake_sessions.importing.agents import agent_word
from mandrake_sessions.importing.names import session_id_of
from mandrake_sessions.importing.reading import Source
from mandrake_sessions.known_stores import known_stores
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Session
from mandrake_sessions.operations.imports import recorded_sessions
from mandrake_sessions.operations.originals import Originals
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.visits import ask_each
from mandrake_sessions.workspaces import own_directory

# What was recorded under other names is looked up this often.
_LOOK_SECONDS: Final = 1.0


@frozen
class Recorded:
    """A session of another store. ``path``: the store's file."""

    path: str
    session_id: str


class OtherNames:
    """The sessions of the store that conversations are brought into which were recorded under another name of their
    program. ``agents``: the words of the programs."""

    def __init__(self, manager: SessionManager, agents: Collection[str]) -> None:
        self._manager = manager
        self._agents = frozenset(agents)
        self._found: dict[tuple[str, str], str] = {}
        self._looked_at = -math.inf

    def id_of(self, agent: str, external_id: str) -> str:
        """The id of the session that a conversation has here, recorded or brought in, or will have. Raises
        StorageFailure."""
        own = session_id_of(agent, external_id)
        with suppress(NotFound):
            return self._manager.get_session(own).id
        with suppress(NotFound, InvalidValue):
            if (there := self.session_of(agent, external_id)) is not None:
                return there.id
        return own

    def session_of(self, agent: str, external_id: str) -> Session | None:
        """The session that a conversation has here by its name: brought in before, or recorded. Raises InvalidValue,
        StorageFailure."""
        with suppress(NotFound):
            return self._manager.get_session(external_id=external_id, agent=agent)
        other = self.find(agent, external_id)
        return None if other is None else self._manager.get_session(other)

    def find(self, agent: str, external_id: str) -> str | None:
        """The id of that of a conversation. Raises StorageFailure."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            found = recorded_sessions(self._manager.store, self._is_other)
            self._found = {(agent_word(each.agent), each.external_id): each.id for each in found}
            self._looked_at = time.monotonic()
        return self._found.get((agent, external_id))

    def _is_other(self, name: str) -> bool:
        """Whether it is another name of one of the programs."""
        return name not in self._agents and agent_word(name) in self._agents


class OtherStores:
    """The user's other stores. ``own``: the place of the store that conversations are brought into; ``others``: stores
    that count as used if they are there. Close it."""

    def __init__(self, own: StorePlace, others: Collection[StorePlace], agents: Collection[str]) -> None:
        self._own = own
        self._others = others
        self._agents = agents
        self._found: dict[tuple[str, str], Recorded] = {}
        self._open: dict[str, Originals] = {}
        self._kept = ExitStack()

    def look(self) -> None:
        """Learn what is recorded in them now. A store that cannot be read counts as empty."""
        stores = [store for store in known_stores((), self._others) if store.available and store.path != self._own.path]
        self._found = {
            (agent_word(each.agent), each.external_id): Recorded(store.path, each.id)
            for store, found in ask_each(stores, lambda visited: recorded_sessions(visited, self._is_known))
            for each in found
        }

    def _is_known(self, name: str) -> bool:
        return agent_word(name) in self._agents

    def find(self, source: Source) -> Recorded | None:
        """The session that was recorded of a conversation, as far as ``look`` has found it."""
        return self._found.get((source.agent, source.external_id))

    def originals(self, recorded: Recorded) -> Originals:
        """Of the store that it is in, which is opened for that. Raises what opening it raises."""
        if recorded.path not in self._open:
            inside = own_directory(Path(recorded.path))
            manager = self._kept.enter_context(SessionManager(recorded.path, inside=inside))
            self._open[recorded.path] = Originals(manager.store)
        return self._open[recorded.path]

    def close(self) -> None:
        self._open.clear()
        self._kept.close()

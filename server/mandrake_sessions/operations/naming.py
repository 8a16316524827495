"""The sessions of many stores that a name may mean."""

from __future__ import annotations

from mandrake_sessions.model import SessionOfStore, StoreRef, UnavailableStore
from mandrake_sessions.operations.joining import of_store
from mandrake_sessions.operations.sessions import UNSET, SessionOperations
from mandrake_sessions.store.interface import EntityStore


class JoinedNames:
    """Those whose id begins with the name, or that another program has this name for: ``sessions_named`` of each store.
    ``agent``: that program. See ``joining``."""

    def __init__(self, name: str, agent: str | None) -> None:
        self._name = name
        self._agent = UNSET if agent is None else agent
        self._found: list[SessionOfStore] = []

    def narrowed(self, cwd: str) -> JoinedNames:  # noqa: ARG002
        """A name means its session wherever that is."""
        return self

    def read(self, store: StoreRef, entities: EntityStore) -> list[SessionOfStore]:
        found = SessionOperations(entities).sessions_named(self._name, agent=self._agent)
        return [of_store(store, session) for session in found]

    def add(self, part: list[SessionOfStore]) -> None:
        # Threads add: this is one step.
        self._found.extend(part)

    def result(self, unavailable: list[UnavailableStore]) -> list[SessionOfStore]:  # noqa: ARG002
        # A whole id means that session, whatever other stores have under this name.
        return [each for each in self._found if each.id == self._name.lower()] or self._found

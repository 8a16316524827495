"""Which tool call of a conversation has started another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from mandrake_sessions.errors import NotFound
from mandrake_sessions.importing.one_reading import state_of
from mandrake_sessions.importing.reading import Source
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.operations.imports import Imports


class StartingCalls:
    """``id_of``: gives the id of the session that an agent's conversation has here, or will have."""

    def __init__(self, manager: SessionManager, imports: Imports, id_of: Callable[[str, str], str]) -> None:
        self._manager = manager
        self._imports = imports
        self._id_of = id_of
        self._noted: dict[tuple[str, str], str] = {}
        # Conversations, and the recorded sessions in which the call that started them was looked for.
        self._looked_in: set[tuple[str, str]] = set()

    def note(self, agent: str, external_id: str, call: str) -> None:
        """A parent was read, which says this."""
        self._noted[agent, external_id] = call

    def started(self, source: Source, parent: str) -> str | None:
        """The tool call of the parent that started a conversation, if the parent was read or recorded."""
        if (call := self._noted.get((source.agent, source.external_id))) is not None:
            return call
        known = self._imports.source(source.reader, parent)
        if known is not None:
            found = state_of(known).get("spawned", {}).get(source.external_id)
            return found if isinstance(found, str) else None
        looked_for = source.external_id, self._id_of(source.agent, parent)
        if looked_for in self._looked_in:
            return None
        self._looked_in.add(looked_for)
        return _call_that_names(self._manager, looked_for[1], source.external_id)


def _call_that_names(manager: SessionManager, session_id: str, external_id: str) -> str | None:
    """The tool call of a session that was recorded whose answer names a conversation that it has started."""
    cursor: str | None = None
    with suppress(NotFound):
        while True:
            page = manager.history(session_id, cursor=cursor)
            for call in (call for each in page.rounds for turn in each.response.turns for call in turn.tool_calls):
                if external_id in json.dumps((call.response, call.content)):
                    return call.id
            cursor = page.next_cursor
            if cursor is None:
                return None
    return None

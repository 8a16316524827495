"""What brings in conversations of other programs: sessions that are written as a whole, and how far each source was
read.

A new session is hidden until it is whole, as a copy is (``forking.py``), whether that takes one transaction or many.
The feed tells of it once, that it was created. What comes to a session that is there goes through the operations of
everybody, so that whoever follows it sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mandrake_sessions import rules
from mandrake_sessions.errors import StoreMoved
from mandrake_sessions.model import ChangeKind, Relation
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.operations.forking import begin_progress, remove_hidden
from mandrake_sessions.operations.half_copies import remove_half_copies
from mandrake_sessions.operations.sessions import touch_session
from mandrake_sessions.store.interface import Store, Transaction
from mandrake_sessions.store.sql import changes, hidden, imported, sessions
from mandrake_sessions.store.sql.imported import OpenRound, Original, StoredSource

__all__ = ["Imports", "OpenRound", "Original", "StoredSource", "WholeSession"]


class Imports(Operations):
    """All of it raises NotOpen, Busy and StorageFailure."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._store = store
        self._running: Transaction | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """One transaction, in which whole sessions are written."""
        with self.store.transaction() as tx:
            self._running = tx
            try:
                yield
            finally:
                self._running = None

    @property
    def running(self) -> Transaction:
        """The transaction of the step that runs."""
        assert self._running is not None
        return self._running

    def remove_left_behind(self) -> None:
        """Delete the sessions that a process which is gone has not completed: they have the ids that are needed now."""
        remove_half_copies(self._store)

    def source(self, reader: str, key: str) -> StoredSource | None:
        """What is known of a source; None where it was never read."""
        with self._read() as sql:
            return imported.find_source(sql, reader, key)

    def keep_source(self, source: StoredSource) -> None:
        """Remember how far a source was read. Inside the transaction that wrote what was read."""
        if self._running is not None:
            imported.keep_source(self._running, source)
            return
        with self._write() as tx:
            imported.keep_source(tx, source)

    def original(self, round_id: str) -> Original | None:
        """The round of that id, or what it is a copy of; None where there is none."""
        if self._running is not None:
            return imported.find_original(self._running.sql, round_id)
        with self._read() as sql:
            return imported.find_original(sql, round_id)

    def set_parent(self, session_id: str, parent_id: str, relation: Relation, tool_call_id: str | None) -> None:
        """Say where a session came from, once that is there. Raises NotFound for either."""
        with self._write() as tx:
            stored = sessions.get_session(tx.sql, session_id, lenient=True)
            sessions.get_session(tx.sql, parent_id, lenient=True)
            columns: dict[str, object] = {"parent_id": parent_id, "relation": relation.value}
            columns["parent_tool_call_id"] = tool_call_id
            touch_session(tx, stored.pk, columns)

    def begin(self, session_id: str, created_at: int) -> WholeSession:
        """A new session of that id, which nobody is shown yet. Inside a step."""
        return WholeSession(self, session_id, rules.moment("created_at", created_at))


class WholeSession:
    """A session that is being written. Each call is made inside a step, the next one in the same or in a later one. All
    raise InvalidValue for a field that breaks its rule, and StoreMoved where the session is gone: the store is another
    one, or somebody took this process for dead."""

    def __init__(self, imports: Imports, session_id: str, created_at: int) -> None:
        self._imports = imports
        self.id = session_id
        self._copy = imported.begin_session(imports.running, created_at)
        self._reconnects = imports.store.reconnects
        self._forget: Callable[[], None] = begin_progress(self._copy.id)

    def add_round(self, fields: Mapping[str, Any], copied_from_id: str | None) -> OpenRound:
        """``fields``: those of a new round, with ``created_at``."""
        columns = rules.checked(rules.ROUND, fields)
        return imported.add_round(self._imports.running, self._copy, {**columns, "copied_from_id": copied_from_id})

    def add_turn(self, of: OpenRound, fields: Mapping[str, Any]) -> int:
        """``fields``: those of an ended turn, with all its times. Gives what ``change_call`` takes."""
        columns = rules.checked(rules.TURN, fields)
        return imported.add_turn(self._imports.running, self._copy, of, columns)

    def change_call(self, turn_pk: int, call: Mapping[str, Any]) -> None:
        """Set fields of a tool call of a turn."""
        columns = rules.tool_call("tool_call", call)
        imported.change_call(self._imports.running, turn_pk, columns)

    def end_round(self, of: OpenRound, fields: Mapping[str, Any]) -> None:
        """``fields``: those of the response."""
        columns = rules.checked(rules.RESPONSE, fields)
        imported.end_round(self._imports.running, self._copy, of, columns)

    def settle(self) -> None:
        """To be called at the end of each step: what is hidden agrees with what is written."""
        tx = self._imports.running
        if self._imports.store.reconnects != self._reconnects or not hidden.write_parts(tx, self._copy, ()):
            raise StoreMoved(tx.sql.path)

    def show(self, fields: Mapping[str, Any], *, parent_id: str | None) -> None:
        """The last call: everybody sees the session. ``fields``: those of the session, without its parent."""
        columns = rules.checked(rules.SESSION, fields)
        tx = self._imports.running
        if parent_id is not None and sessions.is_there(tx.sql, parent_id):
            columns["parent_id"] = parent_id
        seq = imported.show_session(tx, self._copy, {**columns, "id": self.id})
        if seq is None or self._imports.store.reconnects != self._reconnects:
            raise StoreMoved(tx.sql.path)
        changes.record_session_change(tx, seq, ChangeKind.SESSION_CREATED, self._copy.pk)
        self._forget()

    def abandon(self) -> None:
        """Delete what was written, outside a step. Nothing is left of it where the step that began it was undone."""
        try:
            while remove_hidden(self._imports.store, self._copy.pk):
                pass
        finally:
            self._forget()

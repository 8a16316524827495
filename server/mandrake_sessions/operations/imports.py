"""What brings in conversations of other programs: sessions that are written as a whole, and how far each source was
read.

A new session is hidden until it is whole, as a copy is (``forking.py``), whether that takes one transaction or many.
The feed tells of it once, that it was created. What comes to a session that is there goes through the operations of
everybody, so that whoever follows it sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from mandrake_sessions import rules
from mandrake_sessions.errors import InvalidValue, StoreMoved
from mandrake_sessions.model import ChangeKind, Relation
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.operations.forking import begin_progress, remove_hidden
from mandrake_sessions.operations.half_copies import remove_half_copies
from mandrake_sessions.operations.sessions import check_external_id, touch_session
from mandrake_sessions.store.interface import EntityStore, Store, Transaction
from mandrake_sessions.store.sql import changes, hidden, imported, rounds, sessions
from mandrake_sessions.store.sql.imported import OpenRound, Original, RecordedSession, StoredSource

__all__ = [
    "STAMPS",
    "Columns",
    "Imports",
    "OpenRound",
    "Original",
    "RecordedSession",
    "StoredSource",
    "WholeSession",
    "call_columns",
    "recorded_sessions",
    "response_columns",
    "round_columns",
    "turn_columns",
]

# What the rules have made of the fields of an entity.
Columns = dict[str, Any]

# What an entity has of the store that it was in, beside the fields that a caller gives.
STAMPS: Final = ("index", "updated_at")
_OF_ROUND: Final = ("id", "request_id", "response_id", "content", "created_at")
_OF_TURN: Final = ("id", "created_at", "stream_start_time", "stream_end_time")


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
        """What is known of a source; None where it was never read. Raises InvalidValue for a name that is no text."""
        rules.text("key", key)
        with self._read() as sql:
            return imported.find_source(sql, reader, key)

    def keep_source(self, source: StoredSource) -> None:
        """Remember how far a source was read. Inside the transaction that wrote what was read."""
        if self._running is not None:
            imported.keep_source(self._running, source)
            return
        with self._write() as tx:
            imported.keep_source(tx, source)

    def mark_copy(self, round_id: str, original_id: str) -> None:
        """Say of a round that it is a copy, in the transaction that has made it."""
        with self._write() as tx:
            imported.mark_copy(tx, round_id, original_id)

    def move_source(self, reader: str, key: str, path: str, kept_as: str) -> None:
        """The file of a source is somewhere else now."""
        with self._write() as tx:
            imported.move_source(tx, reader, key, path, kept_as)

    def waiting(self) -> list[tuple[str, str]]:
        """The sessions whose parent was not there when they were brought in, each with the state of its source."""
        with self._read() as sql:
            return imported.waiting_states(sql)

    def original(self, round_id: str) -> Original | None:
        """The round of that id, or what it is a copy of; None where there is none."""
        if self._running is not None:
            return imported.find_original(self._running.sql, round_id)
        with self._read() as sql:
            return imported.find_original(sql, round_id)

    def went_on(self, session_id: str, other_id: str) -> int | None:
        """When a session was gone on with after the rounds that another one has too; None where it was not."""
        with self._read() as sql:
            return imported.first_after_shared(sql, session_id, other_id)

    def set_parent(self, session_id: str, parent_id: str, relation: Relation, tool_call_id: str | None) -> None:
        """Say where a session came from, once that is there. Raises NotFound for either."""
        with self._write() as tx:
            stored = sessions.get_session(tx.sql, session_id, lenient=True)
            sessions.get_session(tx.sql, parent_id, lenient=True)
            columns: dict[str, object] = {"parent_id": parent_id, "relation": relation.value}
            columns["parent_tool_call_id"] = tool_call_id
            touch_session(tx, stored.pk, columns)

    def date_branch(self, session_id: str, began: int) -> None:
        """Say of a fork when it began, and that it moved when its rounds did: it was not made now. Raises NotFound."""
        with self._write() as tx:
            pk = sessions.get_session(tx.sql, session_id, lenient=True).pk
            touch_session(tx, pk, {"created_at": began})
            imported.set_active(tx, pk, max(began, sessions.latest_moment(tx.sql, pk)))

    def begin(self, session_id: str, created_at: int | None) -> WholeSession:
        """A new session of that id, which nobody is shown yet. Inside a step. Raises InvalidValue."""
        return WholeSession(self, rules.uuid("session_id", session_id), rules.moment("created_at", created_at))


def recorded_sessions(store: EntityStore, is_wanted: Callable[[str], bool]) -> list[RecordedSession]:
    """The sessions that were recorded while they went on, of the agents whose names are wanted. Raises
    StorageFailure."""
    with store.reading() as sql:
        return imported.recorded_sessions(sql, filter(is_wanted, imported.agents(sql)))


class WholeSession:
    """A session that is being written. Each call is made inside a step, the next one in the same or in a later one. All
    raise StoreMoved where the session is gone: the store is another one, or somebody took this process for dead."""

    def __init__(self, imports: Imports, session_id: str, created_at: int) -> None:
        self._imports = imports
        self.id = session_id
        self._copy = imported.begin_session(imports.running, created_at)
        self._reconnects = imports.store.reconnects
        self._forget: Callable[[], None] = begin_progress(self._copy.id)

    @property
    def pk(self) -> int:
        """What ``Originals`` knows the session by."""
        return self._copy.pk

    def add_round(self, columns: Columns, copied_from_id: str | None, **stamps: int) -> OpenRound:
        """``columns``: of ``round_columns``. ``stamps``: those of ``STAMPS`` that it had in another store. Raises
        Conflict where another session has one of its ids."""
        copied = None if copied_from_id is None else rules.uuid("copied_from_id", copied_from_id)
        made = {**columns, "copied_from_id": copied}
        return imported.add_round(self._imports.running, self._copy, made, _stamps(stamps))

    def add_turn(self, of: OpenRound, columns: Columns, **stamps: int) -> int:
        """``columns``: of ``turn_columns``. Gives what ``change_call`` takes. Raises Conflict where another session has
        its id."""
        return imported.add_turn(self._imports.running, self._copy, of, columns, _stamps(stamps))

    def change_call(self, turn_pk: int, columns: Columns) -> None:
        """Set fields of a tool call of a turn. ``columns``: of ``call_columns``."""
        imported.change_call(self._imports.running, turn_pk, columns)

    def end_round(self, of: OpenRound, columns: Columns, **stamps: int) -> None:
        """``columns``: of ``response_columns``."""
        imported.end_round(self._imports.running, self._copy, of, columns, _stamps(stamps))

    def settle(self) -> None:
        """To be called at the end of each step: what is hidden agrees with what is written."""
        tx = self._imports.running
        if self._imports.store.reconnects != self._reconnects or not hidden.write_parts(tx, self._copy, ()):
            raise StoreMoved(tx.sql.path)

    def show(self, fields: Mapping[str, Any], *, parent_id: str | None) -> None:
        """The last call: everybody sees the session. ``fields``: those of the session, without its parent. Raises
        InvalidValue for one that breaks its rule."""
        columns = rules.checked(rules.SESSION, fields)
        if parent_id is not None and sessions.is_there(self._imports.running.sql, parent_id):
            columns["parent_id"] = parent_id
        self._show(columns)

    def show_verbatim(self, fields: Mapping[str, Any]) -> None:
        """The same with all fields of a session of another store. What it came from is named where that is here too."""
        given = {name: value for name, value in fields.items() if name in rules.SESSION and name != "id"}
        columns = rules.checked(rules.SESSION, given)
        sql = self._imports.running.sql
        parent_id, round_id = columns.pop("parent_id", None), fields.get("forked_from_round_id")
        if parent_id is not None and sessions.is_there(sql, parent_id):
            columns["parent_id"] = parent_id
            if round_id is not None and rounds.id_in_use(sql, rounds.Part.ROUND, rules.uuid("round_id", round_id)):
                columns["forked_from_round_id"] = round_id
        for name in ("archived_at", "updated_at"):
            columns[name] = rules.optional(rules.count)(name, fields.get(name))
        self._show(columns)

    def _show(self, columns: dict[str, Any]) -> None:
        tx = self._imports.running
        check_external_id(tx, columns.get("agent"), columns.get("external_id"), self._copy.pk)
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


def round_columns(fields: Mapping[str, Any]) -> Columns:
    """Those of a new round, with ``created_at``, as ``WholeSession`` takes them. Raises InvalidValue."""
    return _whole(rules.checked(rules.ROUND, fields), _OF_ROUND)


def turn_columns(fields: Mapping[str, Any]) -> Columns:
    """The same of an ended turn, with all its times."""
    return _whole(rules.checked(rules.TURN, fields), _OF_TURN)


def call_columns(fields: Mapping[str, Any]) -> Columns:
    """The same of a tool call of a turn."""
    return rules.tool_call("tool_call", fields)


def response_columns(fields: Mapping[str, Any]) -> Columns:
    """The same of a response."""
    return rules.checked(rules.RESPONSE, fields)


def _whole(columns: dict[str, Any], needed: tuple[str, ...]) -> dict[str, Any]:
    """Raises InvalidValue where one is missing."""
    for name in needed:
        if columns.get(name) is None:
            raise InvalidValue(name, "is missing")
    return columns


def _stamps(given: Mapping[str, int]) -> dict[str, int]:
    return {name: rules.count(name, value) for name, value in given.items()}

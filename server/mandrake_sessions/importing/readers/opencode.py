"""opencode's database: ``opencode.db``, with what stands in its -wal.

A session is read from its last request on, if the rows before that are as they were; else from its start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.importing.databases import ForeignDatabase, database_facts, has_tables
from mandrake_sessions.importing.events import Event, Mark, Position, SessionSaid
from mandrake_sessions.importing.lines import SourceUnreadable
from mandrake_sessions.importing.readers.opencode_messages import Messages, NewMessages, OldMessages
from mandrake_sessions.importing.readers.opencode_talk import OpencodeTalk
from mandrake_sessions.importing.reading import Source, files_below
from mandrake_sessions.importing.values import count_of, moment_of, text_of

Row = dict[str, Any]

_NAME: Final = re.compile(r"opencode(?:-[\w.-]+)?\.db")
_OLD: Final = {
    "session": {"id", "directory", "title"},
    "message": {"id", "session_id", "data"},
    "part": {"id", "message_id", "data"},
}
# opencode 2 has these beside the old ones, or alone.
_NEW: Final = {"session_v2": {"id", "directory"}, "session_message": {"id", "session_id", "type", "seq", "data"}}
_SESSION: Final = (
    "id", "parent_id", "fork_session_id", "directory", "title", "version", "agent", "time_created", "time_updated",
    "time_archived",
)  # fmt: skip
_FORK: Final = re.compile(r" \(fork #\d+\)$")
# What the program calls a session until the model has named it.
_UNNAMED: Final = re.compile(r"(?:New|Child) session - \d{4}-\d\d-\d\dT[\d:.]+Z")


class Opencode:
    """Tried with databases of 1.18.33; those of 2 by their form alone."""

    name = "opencode"
    agent = "opencode"

    def places(self, home: str, environment: Mapping[str, str]) -> list[str]:
        """The databases alone: beside them the program keeps copies of whole projects."""
        data = environment.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")  # noqa: PTH118
        directory = os.path.join(data, "opencode")  # noqa: PTH118
        names = {"opencode.db"}
        with suppress(OSError):
            names.update(name for name in os.listdir(directory) if _NAME.fullmatch(name))  # noqa: PTH208
        named = environment.get("OPENCODE_DB")
        if named and named != ":memory:":
            # A name without a directory lies beside the usual one.
            names.add(named)
        return [os.path.join(directory, name) for name in sorted(names)]  # noqa: PTH118

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        for path in self.places(home, environment):
            yield from _sources(path)

    def sources_at(self, path: str) -> Iterator[Source]:
        yield from self._in_directory(path) if os.path.isdir(path) else _sources(path)  # noqa: PTH112

    def _in_directory(self, path: str) -> Iterator[Source]:
        for entry in files_below(path, (".db",)):
            if _NAME.fullmatch(entry.name):
                yield from _sources(entry.path)

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        yield Mark(position)
        with ForeignDatabase(source.path) as database:
            found = next((each for each in _sessions(database) if each.id == source.external_id), None)
            if found is None:
                raise SourceUnreadable(f"{source.path} has no session {source.external_id} any more")
            yield _said(database, found)
            yield from OpencodeTalk(found.messages(database), position).events()


def reader() -> Opencode:
    return Opencode()


@frozen
class _Session:
    """``is_new``: whether its messages are in the table of opencode 2."""

    id: str
    row: Row
    is_new: bool

    def messages(self, database: ForeignDatabase) -> Messages:
        return NewMessages(database, self.id) if self.is_new else OldMessages(database, self.id)


def _sessions(database: ForeignDatabase) -> Iterator[_Session]:
    """Each once: opencode 2 has copies of what it took from the old tables."""
    tables = database.tables()
    met: set[str] = set()
    if "session_v2" in tables:
        for row in database.rows("session_v2", _SESSION):
            if name := text_of(row["id"]):
                met.add(name)
                yield _Session(name, row, is_new=True)
    if "session" in tables and "message" in tables:
        for row in database.rows("session", _SESSION):
            if (name := text_of(row["id"])) and name not in met:
                yield _Session(name, row, is_new=False)


def _sources(path: str) -> Iterator[Source]:
    facts: Any = database_facts(path)
    if facts is None or not (has_tables(path, _OLD) or has_tables(path, _NEW)):
        return
    with ForeignDatabase(path) as database:
        extents = _extents(database)
        for session in _sessions(database):
            count, changed, size = extents.get((session.id, session.is_new), (0, 0, 0))
            changed = max(changed, count_of(session.row["time_updated"]) or 0)
            parent, _ = _parent(database, session)
            yield Source(
                Opencode.name, Opencode.agent, path, session.id, session.id, size, changed * 1_000_000,
                f"{facts['file_id']}:{count}", parent=parent,
            )  # fmt: skip


def _extents(database: ForeignDatabase) -> dict[tuple[str, bool], tuple[int, int, int]]:
    """How many rows each session has, when one was changed last, and how much text they are."""
    tables = database.tables()
    found: dict[tuple[str, bool], tuple[int, int, int]] = {}
    for table, is_new in (("message", False), ("part", False), ("session_message", True)):
        if table in tables and {"session_id", "time_updated", "data"} <= tables[table]:
            for session, (count, changed, size) in database.extents(
                table, "session_id", "time_updated", "data"
            ).items():
                rows, latest, length = found.get((session, is_new), (0, 0, 0))
                found[session, is_new] = (rows + count, max(latest, changed), length + size)
    return found


def _parent(database: ForeignDatabase, session: _Session) -> tuple[str | None, Any]:
    """Where a session came from, and how. A fork names no parent: it has copies of its messages, with their times."""
    row = session.row
    if parent := text_of(row["parent_id"]):
        return parent, "subagent"
    if parent := text_of(row["fork_session_id"]):
        return parent, "fork"
    if session.is_new or not _FORK.search(text_of(row["title"]) or ""):
        return None, None
    first = next(database.rows("message", ("time_created",), {"session_id": session.id}, ("time_created", "id")), None)
    if first is None:
        return None, None
    same = {
        each["session_id"]
        for each in database.rows("message", ("session_id",), {"time_created": first["time_created"]})
    }
    for other in database.rows("session", ("id",), order=("time_created", "id")):
        if other["id"] in same:
            return (None, None) if other["id"] == session.id else (text_of(other["id"]), "fork")
    return None, None


def _said(database: ForeignDatabase, session: _Session) -> SessionSaid:
    row = session.row
    parent, relation = _parent(database, session)
    title = text_of(row["title"])
    named = {"version": text_of(row["version"]), "agentType": text_of(row["agent"]) if relation == "subagent" else None}
    metadata: Row = {name: value for name, value in named.items() if value}
    if row["time_archived"] is not None:
        metadata["archived"] = True
    return SessionSaid(
        cwd=text_of(row["directory"]),
        title=title if title and not _UNNAMED.fullmatch(title) else None,
        at=moment_of(row["time_created"]),
        parent=parent,
        relation=relation,
        metadata=metadata,
    )

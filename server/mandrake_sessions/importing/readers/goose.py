"""goose's conversations: rows of ``sessions.db``, in older versions a file ``.jsonl`` each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mandrake_sessions.importing.databases import ForeignDatabase, database_facts, has_tables
from mandrake_sessions.importing.events import Event, Mark, Position, SessionSaid
from mandrake_sessions.importing.lines import SourceUnreadable
from mandrake_sessions.importing.readers.goose_messages import FileMessages, Messages, RowMessages
from mandrake_sessions.importing.readers.goose_talk import GooseTalk
from mandrake_sessions.importing.reading import Source, beginning, file_facts, files_below
from mandrake_sessions.importing.values import count_of, moment_of, text_of

Row = dict[str, Any]

_TABLES: Final = {
    "sessions": {"id", "working_dir"},
    "messages": {"session_id", "role", "content_json", "created_timestamp"},
}
_SESSION: Final = (
    "id", "name", "description", "working_dir", "session_type", "created_at", "updated_at", "accumulated_total_tokens",
    "accumulated_input_tokens", "accumulated_output_tokens",
)  # fmt: skip
_COUNTS: Final = {
    "accumulated_total_tokens": "totalTokens",
    "accumulated_input_tokens": "inputTokens",
    "accumulated_output_tokens": "outputTokens",
}
_HEAD_BYTES: Final = 64 * 1024


class Goose:
    """By its form alone."""

    name = "goose"
    agent = "goose"

    def places(self, home: str, environment: Mapping[str, str]) -> list[str]:
        if root := environment.get("GOOSE_PATH_ROOT"):
            data = os.path.join(root, "data")  # noqa: PTH118
        else:
            data = environment.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")  # noqa: PTH118
            data = os.path.join(data, "goose")  # noqa: PTH118
        return [os.path.join(data, "sessions")]  # noqa: PTH118

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        for directory in self.places(home, environment):
            yield from self.sources_at(directory)

    def sources_at(self, path: str) -> Iterator[Source]:
        if os.path.isdir(path):  # noqa: PTH112
            for entry in files_below(path, (".jsonl", ".db")):
                if entry.name.endswith(".jsonl") or entry.name == "sessions.db":
                    yield from _sources(entry.path)
        else:
            yield from _sources(path)

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        yield Mark(position)
        if source.path.endswith(".jsonl"):
            yield from _events(FileMessages(source.path), position)
            return
        with ForeignDatabase(source.path) as database:
            row = next(database.rows("sessions", _SESSION, {"id": source.external_id}), None)
            if row is None:
                raise SourceUnreadable(f"{source.path} has no session {source.external_id} any more")
            yield from _events(RowMessages(database, row), position)


def reader() -> Goose:
    return Goose()


def _sources(path: str) -> Iterator[Source]:
    if path.endswith(".jsonl"):
        facts: Any = file_facts(path)
        head = beginning(path, _HEAD_BYTES).partition(b"\n")[0]
        if facts is not None and b'"working_dir"' in head and b'"message_count"' in head:
            stem = os.path.basename(path).removesuffix(".jsonl")  # noqa: PTH119
            yield Source(Goose.name, Goose.agent, path, f"{stem}.jsonl", stem, beside=(), **facts)
        return
    facts = database_facts(path)
    if facts is None or not has_tables(path, _TABLES):
        return
    with ForeignDatabase(path) as database:
        extents = database.extents("messages", "session_id", "created_timestamp", "content_json")
        for row in database.rows("sessions", ("id", "updated_at")):
            if name := text_of(row["id"]):
                count, latest, size = extents.get(name, (0, 0, 0))
                changed = max(moment_of(row["updated_at"]) or 0, moment_of(latest) or 0)
                file_id = f"{facts['file_id']}:{count}"
                yield Source(Goose.name, Goose.agent, path, name, name, size, changed * 1_000_000, file_id)


def _events(messages: Messages, position: Position) -> Iterator[Event]:
    about = messages.about()
    kind = text_of(about.get("session_type"))
    # The program counts what a session used as a whole.
    metadata: Row = {
        own: value for name, own in _COUNTS.items() if (value := count_of(about.get(name))) is not None and value
    }
    if kind not in (None, "user"):
        metadata["sessionType"] = kind
    yield SessionSaid(
        cwd=text_of(about.get("working_dir")),
        title=text_of(about.get("name")) or text_of(about.get("description")) or None,
        at=moment_of(about.get("created_at")),
        metadata=metadata,
    )
    yield from GooseTalk(messages, position).events()

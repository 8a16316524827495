"""The messages of a session of goose, from rows or from a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Protocol

from attrs import field, frozen

from mandrake_sessions.importing.databases import ForeignDatabase
from mandrake_sessions.importing.events import Broken
from mandrake_sessions.importing.lines import MAX_LINE_BYTES, each_line
from mandrake_sessions.importing.values import moment_of, object_of, objects_of, text_of

Row = dict[str, Any]


@frozen
class Message:
    """``name``: from what it says, since rows get other ids when the program writes them again. ``is_shown``: to a
    person. ``is_seen``: by the model."""

    name: str
    role: str
    at: int | None
    blocks: list[Row] = field(factory=list)
    is_shown: bool = True
    is_seen: bool = True


class Messages(Protocol):
    """Those of one session, in their order."""

    def about(self) -> Row:
        """What is said of the session, by the names of the columns."""

    def all(self) -> Iterator[Message | Broken]: ...


class RowMessages:
    def __init__(self, database: ForeignDatabase, session: Row) -> None:
        self._database = database
        self._session = session

    def about(self) -> Row:
        return self._session

    def all(self) -> Iterator[Message | Broken]:
        columns = ("role", "content_json", "created_timestamp", "metadata_json")
        where = {"session_id": self._session["id"]}
        names = _Names()
        for number, row in enumerate(self._database.rows("messages", columns, where, most=MAX_LINE_BYTES), 1):
            content: Any = None
            with suppress(ValueError, TypeError, RecursionError):
                content = json.loads(row["content_json"])
            if not isinstance(content, list):
                yield Broken(0, 0, f"row {number} of the session has no content that is a JSON array", False)
                continue
            metadata: Any = None
            with suppress(ValueError, TypeError, RecursionError):
                metadata = json.loads(row["metadata_json"])
            yield names.message(row["role"], row["created_timestamp"], content, metadata)


class FileMessages:
    def __init__(self, path: str) -> None:
        self._path = path

    def about(self) -> Row:
        for line in each_line(self._path):
            if not isinstance(line, Broken):
                return line.object
        return {}

    def all(self) -> Iterator[Message | Broken]:
        names = _Names()
        for line in each_line(self._path):
            if isinstance(line, Broken):
                yield line
            elif "role" in line.object:
                said = line.object
                yield names.message(said["role"], said.get("created"), said.get("content"), said.get("metadata"))


class _Names:
    """Names of messages, each once in a session."""

    def __init__(self) -> None:
        self._met: dict[str, int] = {}

    def message(self, role: Any, created: Any, content: Any, metadata: Any) -> Message:
        blocks, told = list(objects_of(content)), object_of(metadata)
        digest = blake2b(f"{role} {created}".encode("utf-8", "replace"), digest_size=10)
        for block in blocks:
            for name in ("type", "id", "text", "thinking", "msg"):
                digest.update(f" {block.get(name)}".encode("utf-8", "replace"))
        name = digest.hexdigest()
        count = self._met[name] = self._met.get(name, 0) + 1
        return Message(
            name if count == 1 else f"{name} {count}",
            text_of(role) or "",
            moment_of(created),
            blocks,
            told.get("userVisible") is not False,
            told.get("agentVisible") is not False,
        )

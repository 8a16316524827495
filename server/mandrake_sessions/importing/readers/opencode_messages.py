"""The messages of a session of opencode, as rows have them: in two tables of opencode 1, or in one of opencode 2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Literal, Protocol

from attrs import field, frozen

from mandrake_sessions.importing.databases import ForeignDatabase
from mandrake_sessions.importing.lines import MAX_LINE_BYTES
from mandrake_sessions.importing.values import count_of, joined_texts, moment_of, object_of, objects_of, text_of

Row = dict[str, Any]
Kind = Literal["user", "assistant", "synthetic", "compaction", "shell", "idle"]

_KINDS: Final = ("user", "assistant", "synthetic", "compaction", "shell", "idle")


@frozen
class Part:
    """``data``: in the form of opencode 1. ``id``: unique in its session."""

    id: str
    data: Row


@frozen
class Message:
    """``data``: what its row says beside its parts. ``broken``: what cannot be read of it. ``changed``: the time of the
    last change of its rows."""

    id: str
    kind: Kind
    at: int | None
    changed: int
    data: Row = field(factory=dict)
    parts: list[Part] = field(factory=list)
    broken: list[str] = field(factory=list)


class Messages(Protocol):
    """Those of one session, in the order in which they were made."""

    @property
    def session(self) -> str: ...
    def all(self) -> Iterator[Message]: ...
    def names(self) -> Iterator[str]:
        """Their ids, without what they say."""

    def changed_since(self, time: int) -> set[str]:
        """The ids of those that have a row which was changed later."""

    def has(self, name: str) -> bool: ...


class OldMessages:
    """Those of ``message`` and ``part``."""

    def __init__(self, database: ForeignDatabase, session: str) -> None:
        self._database = database
        self.session = session

    def all(self) -> Iterator[Message]:
        columns = ("id", "time_created", "time_updated", "data")
        for row in self._database.rows("message", columns, *self._selected(), most=MAX_LINE_BYTES):
            broken: list[str] = []
            data = _object("message", row, broken)
            parts, changed = self._parts(str(row["id"]), broken)
            role = data.get("role")
            at = moment_of(object_of(data.get("time")).get("created")) or moment_of(row["time_created"])
            yield Message(
                str(row["id"]),
                "assistant" if role == "assistant" else "user" if role == "user" else "idle",
                at,
                max(changed, _changed(row)),
                data,
                parts,
                broken,
            )

    def _parts(self, message: str, broken: list[str]) -> tuple[list[Part], int]:
        parts, changed = [], 0
        columns = ("id", "time_updated", "data")
        for row in self._database.rows("part", columns, {"message_id": message}, ("id",), most=MAX_LINE_BYTES):
            changed = max(changed, _changed(row))
            if data := _object("part", row, broken):
                parts.append(Part(str(row["id"]), data))
        return parts, changed

    def names(self) -> Iterator[str]:
        return (str(row["id"]) for row in self._database.rows("message", ("id",), *self._selected()))

    def changed_since(self, time: int) -> set[str]:
        where, above = {"session_id": self.session}, ("time_updated", time)
        messages = self._database.rows("message", ("id",), where, above=above)
        parts = self._database.rows("part", ("message_id",), where, above=above)
        return {str(row["id"]) for row in messages} | {str(row["message_id"]) for row in parts}

    def has(self, name: str) -> bool:
        where = {"id": name, "session_id": self.session}
        return next(self._database.rows("message", ("id",), where), None) is not None

    def _selected(self) -> tuple[Row, tuple[str, ...]]:
        return {"session_id": self.session}, ("time_created", "id")


class NewMessages:
    """Those of ``session_message``, which holds their parts too."""

    def __init__(self, database: ForeignDatabase, session: str) -> None:
        self._database = database
        self.session = session

    def all(self) -> Iterator[Message]:
        columns = ("id", "type", "time_created", "time_updated", "data")
        for row in self._rows(columns):
            if row["type"] in _KINDS:
                broken: list[str] = []
                data = _object("session_message", row, broken)
                at = moment_of(object_of(data.get("time")).get("created")) or moment_of(row["time_created"])
                name = str(row["id"])
                parts = list(_new_parts(name, row["type"], data))
                yield Message(name, row["type"], at, _changed(row), _new_data(data), parts, broken)

    def names(self) -> Iterator[str]:
        return (str(row["id"]) for row in self._rows(("id", "type")) if row["type"] in _KINDS)

    def changed_since(self, time: int) -> set[str]:
        where, above = {"session_id": self.session}, ("time_updated", time)
        return {str(row["id"]) for row in self._database.rows("session_message", ("id",), where, above=above)}

    def has(self, name: str) -> bool:
        where = {"id": name, "session_id": self.session}
        return next(self._database.rows("session_message", ("id",), where), None) is not None

    def _rows(self, columns: tuple[str, ...]) -> Iterator[Row]:
        where = {"session_id": self.session}
        return self._database.rows("session_message", columns, where, ("seq", "id"), most=MAX_LINE_BYTES)


def _changed(row: Row) -> int:
    return count_of(row["time_updated"]) or 0


def _object(table: str, row: Row, broken: list[str]) -> Row:
    """What a row has as JSON; an empty object where that cannot be read."""
    stored, why = row["data"], "has data that is no JSON object"
    if isinstance(stored, str):
        with suppress(ValueError, RecursionError):
            value = json.loads(stored)
            if isinstance(value, dict):
                return value
    else:
        why = f"has no text of {MAX_LINE_BYTES // 1024 // 1024} MiB at the most"
    broken.append(f"the row {row['id']!r} of {table} {why}; it was left out")
    return {}


def _new_data(data: Row) -> Row:
    """The fields of a message of opencode 2 by the names that those of 1 have."""
    return data | {"modelID": object_of(data.get("model")).get("id")}


def _new_parts(message: str, kind: Kind, data: Row) -> Iterator[Part]:
    """The content of a message of opencode 2 as parts of opencode 1."""
    if kind in ("user", "synthetic"):
        text = {"type": "text", "text": text_of(data.get("text")) or "", "synthetic": kind == "synthetic"}
        files = [{"type": "file", **each} for each in objects_of(data.get("files"))]
        for number, each in enumerate([text, *files]):
            yield Part(f"{message}:{number}", each)
        return
    for number, block in enumerate(objects_of(data.get("content"))):
        made = _new_tool(block) if block.get("type") == "tool" else block
        yield Part(f"{message}:{number}", made)


def _new_tool(block: Row) -> Row:
    state, time = object_of(block.get("state")), object_of(block.get("time"))
    content = state.get("content")
    is_more = any(each.get("type") != "text" for each in objects_of(content))
    metadata = object_of(state.get("metadata"))
    return {
        "type": "tool",
        "tool": block.get("name"),
        "callID": block.get("id"),
        "state": {
            "status": state.get("status"),
            "input": state.get("input"),
            "output": joined_texts(content, "text"),
            "attachments": content if is_more else None,
            "error": text_of(object_of(state.get("error")).get("message")),
            "metadata": metadata | {"sessionId": metadata.get("sessionID")},
            "time": {"start": time.get("ran") or time.get("created"), "end": time.get("completed")},
        },
    }

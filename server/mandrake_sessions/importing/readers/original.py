"""The database of the original Mandrake: ``.ws/db.sqlite`` of a workspace, ``~/.mandrake/db.sqlite`` of the user.

A database is read from its start each time that it has changed. What hangs from no session becomes one of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from mandrake_sessions.importing.databases import ForeignDatabase, database_facts, has_tables
from mandrake_sessions.importing.events import (
    Answered,
    Called,
    Ended,
    Event,
    Mark,
    Position,
    Requested,
    Said,
    SessionSaid,
)
from mandrake_sessions.importing.reading import Source
from mandrake_sessions.importing.values import count_of, moment_of, object_of, text_of

Row = dict[str, Any]

_TABLES: Final = {
    "sessions": {"id", "title"},
    "rounds": {"id", "sessionId", "requestId", "responseId"},
    "requests": {"id", "content"},
    "responses": {"id"},
    "turns": {"id", "responseId", "content"},
}
_SESSION: Final = ("id", "title", "description", "metadata", "createdAt")
_ROUND: Final = ("id", "sessionId", "requestId", "responseId", "createdAt")
_TURN: Final = (
    "id", "responseId", "rawResponse", "content", "toolCalls", "status", "streamStartTime", "streamEndTime",
    "currentTokens", "expectedTokens", "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens",
    "inputCost", "outputCost", "createdAt", "updatedAt",
)  # fmt: skip
_COUNTS: Final = {
    "currentTokens": "current_tokens",
    "expectedTokens": "expected_tokens",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadTokens": "cache_read_tokens",
    "cacheWriteTokens": "cache_write_tokens",
}
_ORPHANS: Final = "orphans"
_TITLE: Final = "Requests and answers without a session"
_COST_BOUND: Final = 10**6


class Original:
    """By its form alone."""

    name = "original"
    agent = "mandrake"

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        usual = os.path.join(home, ".mandrake")  # noqa: PTH118
        for directory in dict.fromkeys((usual, environment.get("MANDRAKE_HOME") or usual)):
            yield from self.sources_at(os.path.join(directory, "db.sqlite"))  # noqa: PTH118

    def sources_at(self, path: str) -> Iterator[Source]:
        facts = database_facts(path)
        if facts is None or not has_tables(path, _TABLES):
            return
        with ForeignDatabase(path) as database:
            names = [str(row["id"]) for row in database.rows("sessions", ("id",))]
        for name in (*names, _ORPHANS):
            external_id = name if name != _ORPHANS else f"{_ORPHANS} of {path}"
            yield Source(self.name, self.agent, path, f"{path} {name}", external_id, **facts)

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        yield Mark(position)
        name = source.key.removeprefix(f"{source.path} ")
        with ForeignDatabase(source.path) as database:
            yield from _orphans(database) if name == _ORPHANS else _session(database, name)


def reader() -> Original:
    return Original()


def _session(database: ForeignDatabase, name: str) -> Iterator[Event]:
    for row in database.rows("sessions", _SESSION, {"id": name}):
        yield SessionSaid(
            title=text_of(row["title"]),
            description=text_of(row["description"]),
            at=moment_of(row["createdAt"]),
            metadata=_metadata(row["metadata"]),
            is_kept_empty=True,
        )
    for row in list(database.rows("rounds", _ROUND, {"sessionId": name})):
        yield from _round(database, row)


def _round(database: ForeignDatabase, row: Row) -> Iterator[Event]:
    asked = next(database.rows("requests", ("content", "createdAt"), {"id": row["requestId"]}), {})
    at = moment_of(row["createdAt"]) or moment_of(asked.get("createdAt"))
    text = text_of(asked.get("content"))
    yield Requested(str(row["id"]), text or "", at, "user" if text else "agent")
    yield from _turns(database.rows("turns", _TURN, {"responseId": row["responseId"]}))


def _orphans(database: ForeignDatabase) -> Iterator[Event]:
    """Rounds of no session, and requests, responses and turns of no round."""
    sessions = {row["id"] for row in database.rows("sessions", ("id",))}
    requests, responses = set(), set()
    lost = []
    for row in database.rows("rounds", _ROUND):
        requests.add(row["requestId"])
        responses.add(row["responseId"])
        if row["sessionId"] not in sessions:
            lost.append(row)
    yield SessionSaid(title=_TITLE)
    for row in lost:
        yield from _round(database, row)
    for row in database.rows("requests", ("id", "content", "createdAt")):
        if row["id"] not in requests:
            yield Requested(f"request {row['id']}", text_of(row["content"]) or "", moment_of(row["createdAt"]))
    # Turns whose response is gone too are kept together, by its id.
    alone = dict.fromkeys(row["responseId"] for row in database.rows("turns", ("responseId",)))
    for response in alone:
        if response not in responses:
            found = list(database.rows("turns", _TURN, {"responseId": response}))
            if response is None:
                found = [row for row in database.rows("turns", _TURN) if row["responseId"] is None]
            yield Requested(f"response {response}", "", moment_of(found[0]["createdAt"]) if found else None, "agent")
            yield from _turns(found)


def _turns(rows: Iterable[Row]) -> Iterator[Event]:
    """The turns of a response, in the order in which they were stored: their ``index`` may repeat."""
    status: Any = None
    at: int | None = None
    for row in rows:
        began = moment_of(row["streamStartTime"]) or moment_of(row["createdAt"])
        # The end is set when the turn is made; the last change is nearer to the truth.
        ended = max(moment_of(row["streamEndTime"]) or 0, moment_of(row["updatedAt"]) or 0)
        more: Row = {own: count_of(row[name]) or 0 for name, own in _COUNTS.items() if row[name] is not None}
        for name, own in (("inputCost", "input_cost"), ("outputCost", "output_cost")):
            if isinstance(row[name], int | float) and 0 <= row[name] < _COST_BOUND:
                more[own] = row[name]
        more |= {"raw_response": text_of(row["rawResponse"]) or "", "status": _status(row["status"])}
        if ended:
            more["stream_end_time"] = ended
        call, kept = _tool_call(row["toolCalls"])
        name = str(row["id"])
        yield Said(name, name, "message", text_of(row["content"]) or "", began, metadata=kept, more=more)
        if call is not None:
            yield from _call(f"call of {name}", name, call, began)
        status, at = more["status"], ended or began
    if status is not None:
        yield Ended(status if status in ("completed", "error") else "interrupted", at)


def _call(call_id: str, turn: str, told: Row, at: int | None) -> Iterator[Event]:
    call = object_of(told.get("call"))
    name = text_of(call.get("methodName")) or "unknown"
    yield Called(call_id, turn, name, call.get("arguments"), at, text_of(call.get("serverName")))
    if told.get("response") is not None:
        yield Answered(call_id, told["response"], at)


def _tool_call(stored: Any) -> tuple[Row | None, Row]:
    """The call of a turn, and what is kept in its metadata: a text that is no call."""
    if stored in (None, "", "null", "[]", "{}"):
        return None, {}
    told = _decoded(stored)
    if isinstance(told, dict) and (told.get("call") is not None or told.get("response") is not None):
        return told, {}
    is_nothing = isinstance(told, dict) and set(told) <= {"call", "response"}
    return None, {} if is_nothing else {"toolCalls": stored if isinstance(stored, str) else str(stored)}


def _status(word: Any) -> str:
    if word in ("completed", "error", "cancelled"):
        return str(word)
    # Nobody streams it any more.
    return "interrupted" if word == "streaming" else "completed"


def _metadata(stored: Any) -> Row:
    """An object, which may have been encoded twice."""
    told = _decoded(_decoded(stored))
    if isinstance(told, dict):
        return told
    return {} if told in (None, "") else {"metadata": told if isinstance(told, str) else json.dumps(told)}


def _decoded(stored: Any) -> Any:
    if not isinstance(stored, str):
        return stored if isinstance(stored, dict | list) else None
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return stored

"""Our own JSON lines, which ``export --format jsonl`` writes: a session comes back as it was, with its ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from mandrake_sessions.importing.events import Broken, Event, Mark, Position, Verbatim
from mandrake_sessions.importing.lines import Line, SourceUnreadable, each_line
from mandrake_sessions.importing.reading import Source, beginning, file_facts, files_below
from mandrake_sessions.importing.values import text_of
from mandrake_sessions.protocol.names import snake

Fields = dict[str, Any]

_FORMAT: Final = re.compile(rb'\{[^{}]*"format"\s*:\s*"mandrake-sessions"')
_VERSION: Final = 1
_LEFT_OUT: Final = {
    "round": ("type", "seq", "session_id"),
    "request": ("type", "id", "round_id", "created_at", "updated_at", "continued"),
    "response": ("type", "id", "round_id", "created_at"),
    "turn": ("type", "seq", "response_id", "chunk_count", "continued"),
    "toolCall": ("type", "turn_id"),
}


class Own:
    """Tried with what this program writes."""

    name = "jsonl"
    agent = "mandrake-sessions"

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:  # noqa: ARG002
        """They lie where somebody has put them."""
        return iter(())

    def sources_at(self, path: str) -> Iterator[Source]:
        found = [entry.path for entry in files_below(path, (".jsonl",))] if file_facts(path) is None else [path]
        for each in found:
            if _FORMAT.match(beginning(each, 400)) and (source := _source(each)) is not None:
                yield source

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        yield Mark(position)
        yield from _Lines().events(source.path)


def reader() -> Own:
    return Own()


def _source(path: str) -> Source | None:
    facts: Any = file_facts(path)
    try:
        lines = [line for line in islice(each_line(path), 2) if isinstance(line, Line)]
    except (OSError, SourceUnreadable):
        return None
    if facts is None or len(lines) < 2 or lines[1].object.get("type") != "session":
        return None
    session = lines[1].object
    name = text_of(session.get("id")) or ""
    agent, parent = text_of(session.get("agent")) or "", text_of(session.get("parentId"))
    return Source(Own.name, agent, path, name, name, parent=parent, session_id=name, **facts)


class _Lines:
    """The lines of one session. A round waits for its request and response, a turn for its texts and tool calls."""

    def __init__(self) -> None:
        self._round: Fields = {}
        self._response: Fields | None = None
        self._held: Verbatim | None = None
        self._texts: dict[str, list[str]] = {}

    def events(self, path: str) -> Iterator[Event]:
        is_whole = False
        for line in each_line(path):
            if not isinstance(line, Line):
                assert isinstance(line, Broken)
                raise SourceUnreadable(f"line {line.line} {line.reason}")
            kind = line.object.get("type")
            version = line.object.get("version")
            if kind == "export" and version != _VERSION:
                raise SourceUnreadable(f"it has version {version!r} of the form, and this program knows {_VERSION}")
            is_whole = kind == "end"
            yield from self._line(str(kind), line.object)
        if not is_whole:
            raise SourceUnreadable("its last line, of type end, is missing; it was cut off. Export the session again")

    def _line(self, kind: str, line: Fields) -> Iterator[Event]:
        if kind == "text":
            self._texts.setdefault(snake(str(line.get("field"))), []).append(text_of(line.get("text")) or "")
            return
        if kind == "toolCall" and self._held is not None:
            self._held.fields["tool_calls"].append(_fields(kind, line))
            return
        yield from self._settle()
        if kind == "session":
            yield Verbatim("session", {snake(name): value for name, value in line.items() if name != "type"})
        elif kind in ("round", "end"):
            if self._response is not None:
                yield Verbatim("response", self._response)
            self._round, self._response = _fields("round", line), None
        elif kind == "request":
            self._held = Verbatim("round", {"content": "", **self._round, **_fields(kind, line)})
        elif kind == "response":
            used = line.get("usage")
            if isinstance(used, dict):
                line = line | {"usage": {snake(name): value for name, value in used.items()}}
            self._response = _fields(kind, line)
        elif kind == "turn":
            fields = _fields(kind, line)
            if fields.get("status") == "streaming":
                # Nobody streams it here.
                fields |= {"status": "interrupted", "stream_end_time": fields.get("updated_at")}
            self._held = Verbatim("turn", {**fields, "tool_calls": []})

    def _settle(self) -> Iterator[Event]:
        held, self._held = self._held, None
        texts, self._texts = self._texts, {}
        if held is not None:
            yield Verbatim(held.kind, {**held.fields, **{name: "".join(parts) for name, parts in texts.items()}})


def _fields(kind: str, line: Fields) -> Fields:
    given = {snake(name): value for name, value in line.items()}
    return {name: value for name, value in given.items() if name not in _LEFT_OUT[kind]}

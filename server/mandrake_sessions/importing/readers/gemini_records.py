"""The records of a chat of Gemini CLI as events.

A message is written again, with the same id, when a tool has answered or it is known what it used: the last one counts.
The program also writes all that the model sees (``$set`` with ``messages``): of that only a summary is new, since what
a person typed and the model said has records of its own. A message of an earlier round may be written again with the
tool calls of a later one; their times tell which they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any, Final

from mandrake_sessions.importing.events import (
    Broken,
    Called,
    Compacted,
    Ended,
    Event,
    Left,
    Mark,
    Position,
    Requested,
    Said,
    SessionSaid,
    Spawned,
    Used,
)
from mandrake_sessions.importing.lines import MAX_LINE_BYTES, Line, SourceUnreadable, each_line, opened
from mandrake_sessions.importing.readers.gemini_calls import Chat, answer_of, call_of, subagent_of
from mandrake_sessions.importing.reading import Source, events_of
from mandrake_sessions.importing.values import count_of, moment_of, object_of, objects_of, text_of

Record = dict[str, Any]

_CONTEXT: Final = "<session_context>"
# What the model is said to have answered to a summary.
_SUMMARIZED: Final = "Got it. Thanks for the additional context!"
# So many requests can be taken back by a later reading.
_REMEMBERED: Final = 200


class GeminiRecords:
    """The reading of one file from a position on."""

    def __init__(self, source: Source, position: Position) -> None:
        self._source = source
        self._from = position
        state = position.state
        self._is_introduced = bool(state.get("introduced"))
        # Whether a request has had a record of its own.
        self._is_typed = bool(state.get("typed"))
        self._requests: list[str] = [each for each in state.get("requests", []) if isinstance(each, str)]
        self._asked_at = 0
        # A message that may be written again next.
        self._held: Record | None = None
        self._said: set[str] = set()
        self._calls: set[str] = set()
        self._answered: set[str] = set()
        self._summaries: set[str] = set()
        self._chat = Chat(source.path)

    def events(self) -> Iterator[Event]:
        yield Mark(self._from)
        if self._source.path.endswith(".json"):
            yield from self._whole()
            return
        last = Line(0, 0, 0, {})
        for line in each_line(self._source.path, self._from.offset):
            if isinstance(line, Broken):
                yield line
            else:
                last = line
                yield from events_of(line, self._record(line.object, line))
        yield from events_of(last, self._settle())

    def _whole(self) -> Iterator[Event]:
        """A file of an older version, which is one object and is written anew each time."""
        with closing(opened(self._source.path)) as file:
            text = file.read(MAX_LINE_BYTES + 1)
        try:
            if len(text) > MAX_LINE_BYTES:
                raise ValueError(f"it has more than {MAX_LINE_BYTES // 1024 // 1024} MiB")
            record = object_of(json.loads(text.decode(errors="replace")))
        except (ValueError, RecursionError) as error:
            raise SourceUnreadable(f"it is no chat: {error}") from None
        present = {text_of(each.get("id")) for each in objects_of(record.get("messages"))}
        gone = tuple(name for name in self._requests if name not in present)
        self._requests = []
        if gone:
            yield Left(gone, gone[0])
        line = Line(0, 0, 0, record)
        yield from self._header(record)
        yield from self._set(record)
        for message in objects_of(record.get("messages")):
            yield from events_of(line, self._message(message, line))
        yield from events_of(line, self._settle())

    def _record(self, record: Record, line: Line) -> Iterator[Event]:
        if (rewound := text_of(record.get("$rewindTo"))) is not None:
            yield from self._settle()
            yield from self._rewind(rewound, line)
        elif isinstance(changes := record.get("$set"), dict):
            yield from self._set(changes)
            if isinstance(changes.get("messages"), list):
                yield from self._settle()
                yield from self._seen_by_model(list(objects_of(changes["messages"])), line)
        elif text_of(record.get("id")) is not None:
            yield from self._message(record, line)
        elif text_of(record.get("sessionId")) is not None:
            yield from self._header(record)

    # The conversation as a whole.

    def _header(self, record: Record) -> Iterator[Event]:
        if self._is_introduced:
            return
        self._is_introduced = True
        yield SessionSaid(at=moment_of(record.get("startTime")))
        yield from self._directories(record)

    def _set(self, changes: Record) -> Iterator[Event]:
        if summary := text_of(changes.get("summary")):
            yield SessionSaid(description=summary)
        yield from self._directories(changes)

    def _directories(self, record: Record) -> Iterator[Event]:
        named = record.get("directories")
        if isinstance(named, list) and named and isinstance(named[0], str):
            yield SessionSaid(cwd=named[0])

    def _rewind(self, name: str, line: Line) -> Iterator[Event]:
        """Somebody went back before a request; a name that is not known means before all."""
        place = self._requests.index(name) if name in self._requests else 0
        gone, kept = self._requests[place:], self._requests[:place]
        if gone:
            yield Mark(Position(line.start, self._state()))
            self._requests = kept
            yield Left(tuple(gone), f"byte {line.start}")

    def _seen_by_model(self, messages: list[Record], line: Line) -> Iterator[Event]:
        if not self._is_typed:
            # Nothing was written of them before.
            for message in messages:
                yield from self._message(message, line)
            yield from self._settle()
            return
        for message, following in pairwise(messages):
            name, (text, _, _) = text_of(message.get("id")), _parts(message)
            if name and message.get("type") == "user" and _parts(following)[0].startswith(_SUMMARIZED):
                if name not in self._summaries:
                    yield Compacted(name, text, moment_of(message.get("timestamp")))
                self._summaries.add(name)

    # Messages.

    def _message(self, record: Record, line: Line) -> Iterator[Event]:
        held, kind = self._held, record.get("type")
        if held is not None and held.get("id") != record.get("id"):
            yield from self._settle()
        if kind == "gemini":
            self._held = record
        elif kind == "user":
            yield from self._user(record, line)
        elif kind == "error":
            text = _parts(record)[0]
            yield Ended("error", moment_of(record.get("timestamp")), text)
        elif kind == "info" and "cancelled" in _parts(record)[0].lower():
            yield Ended("interrupted", moment_of(record.get("timestamp")), _parts(record)[0])

    def _user(self, record: Record, line: Line) -> Iterator[Event]:
        at = moment_of(record.get("timestamp"))
        text, others, _ = _parts(record)
        for response in (object_of(part.get("functionResponse")) for part in others):
            if response:
                yield from self._response(response, line, at)
        others = [part for part in others if "functionResponse" not in part]
        if text.startswith(_CONTEXT) or not (text or others):
            return
        shown = record.get("displayContent")
        typed = _parts({"content": shown})[0] if shown is not None else text
        name = str(record.get("id"))
        if name not in self._requests:
            self._requests = [*self._requests[1 - _REMEMBERED :], name]
        yield Mark(Position(line.start, self._state()))
        # A parent asks a subagent once; the rest is the program's.
        is_injected = self._source.parent is not None and self._is_typed
        self._is_typed = self._is_typed or "$set" not in line.object
        self._asked_at = at or 0
        self._said, self._calls, self._answered = set(), set(), set()
        blocks = record.get("content") if others else None
        if is_injected:
            yield Requested(name, "", at, "system", blocks or [{"text": text}])
        else:
            yield Requested(name, typed, at, "user", blocks if isinstance(blocks, list) else None)

    def _settle(self) -> Iterator[Event]:
        held, self._held = self._held, None
        if held is None:
            return
        record = held
        name, at = str(record.get("id")), moment_of(record.get("timestamp"))
        model = text_of(record.get("model"))
        is_old = at is not None and at < self._asked_at
        if not is_old:
            if name not in self._said:
                yield from _said(record, name, at, model)
            self._said.add(name)
            if isinstance(tokens := record.get("tokens"), dict):
                yield _used(name, tokens)
        for each in objects_of(record.get("toolCalls")):
            yield from self._call(each, name, at, model, is_old=is_old)

    def _call(self, record: Record, reply: str, at: int | None, model: str | None, *, is_old: bool) -> Iterator[Event]:
        ended = moment_of(record.get("timestamp"))
        if is_old and (ended is None or ended < self._asked_at):
            return
        name, called = call_of(record)
        if name not in self._calls:
            self._calls.add(name)
            yield Called(name, reply, called, record.get("args"), ended if is_old else at, None, model)
        if name not in self._answered and (answer := answer_of(name, record, ended)) is not None:
            self._answered.add(name)
            yield answer
            if (agent := subagent_of(self._source.path, self._source.external_id, record)) is not None:
                yield Spawned(name, agent)

    def _response(self, response: Record, line: Line, at: int | None) -> Iterator[Event]:
        """What was told to the model of a call, of which there may be no record."""
        name, called = call_of(response)
        if name in self._answered:
            return
        if name not in self._calls:
            self._calls.add(name)
            yield Called(name, f"of {name}", called, self._chat.arguments(name, line), at)
        answer = answer_of(name, {"result": [{"functionResponse": response}]}, at)
        if answer is not None:
            self._answered.add(name)
            yield answer

    def _state(self) -> Record:
        return {"introduced": self._is_introduced, "typed": self._is_typed, "requests": self._requests}


def _parts(record: Record) -> tuple[str, list[Record], str]:
    """The text of a message, its other parts, and its thoughts."""
    content = record.get("content")
    if isinstance(content, str):
        return content, [], ""
    parts = [content] if isinstance(content, dict) else list(objects_of(content))
    texts = [part for part in parts if isinstance(part.get("text"), str)]
    said = "\n".join(part["text"] for part in texts if part.get("thought") is not True)
    thought = "\n".join(part["text"] for part in texts if part.get("thought") is True)
    if isinstance(content, list):
        said = "\n".join(filter(None, [said, *(part for part in content if isinstance(part, str))]))
    return said, [part for part in parts if "text" not in part], thought


def _said(record: Record, name: str, at: int | None, model: str | None) -> Iterator[Event]:
    text, _, thought = _parts(record)
    thoughts = [
        "\n".join(filter(None, (text_of(each.get("subject")), text_of(each.get("description")))))
        for each in objects_of(record.get("thoughts"))
    ]
    for number, each in enumerate(thoughts or [thought]):
        if each:
            yield Said(f"{name}:thought {number}", name, "thought", each, at, model)
    if text:
        yield Said(name, name, "message", text, at, model)


def _used(name: str, tokens: Record) -> Used:
    return Used(
        name,
        count_of(tokens.get("input")) or 0,
        count_of(tokens.get("output")) or 0,
        count_of(tokens.get("thoughts")),
        count_of(tokens.get("cached")),
    )

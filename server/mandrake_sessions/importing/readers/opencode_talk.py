"""The messages of a session of opencode as events.

An assistant's message is one reply of the model. A part of it that has no end yet is still written: it is left to the
next reading, unless the message is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

from mandrake_sessions.importing.events import (
    Answered,
    Broken,
    Called,
    Compacted,
    Ended,
    Event,
    Left,
    Mark,
    Position,
    Requested,
    Rewritten,
    Said,
    Spawned,
    Used,
)
from mandrake_sessions.importing.readers.opencode_messages import Message, Messages, Part
from mandrake_sessions.importing.values import cost_of, count_of, moment_of, object_of, text_of

Row = dict[str, Any]

# So many requests can be found to be gone by a later reading.
_REMEMBERED: Final = 200
_REJECTED: Final = "The user rejected permission"
_OUTCOMES: Final = {"succeeded": "completed", "completed": "completed", "failed": "error", "error": "error"}


class OpencodeTalk:
    """The reading of one session. What is remembered of it: the request that its reading goes on from, how many
    messages stood before that and when they were changed last, what they said, and the ids of the last requests."""

    def __init__(self, messages: Messages, position: Position) -> None:
        self._messages = messages
        state = position.state
        self._from = text_of(state.get("from"))
        self._known = (count_of(state.get("count")) or 0, count_of(state.get("changed")) or 0)
        self._known_digest = text_of(state.get("digest"))
        self._requests: list[str] = [each for each in state.get("requests", []) if isinstance(each, str)]
        self._count = self._changed = 0
        self._digest = ""
        # Whether the last reply says that another one follows.
        self._goes_on = False

    def events(self) -> Iterator[Event]:
        gone = [each for each in self._requests if not self._messages.has(each)]
        if gone:
            # Somebody went back: the program deletes what was said after that.
            yield Left(tuple(gone), gone[0])
        is_as_before = not gone and self._is_as_before()
        if not is_as_before:
            self._requests = []
        held: Message | None = None
        for message in self._messages.all():
            if is_as_before and message.id != self._from:
                continue
            if is_as_before:
                is_as_before = False
                (self._count, self._changed), self._digest = self._known, self._known_digest or ""
                self._requests.pop()
            if held is not None:
                yield from self._message(held, is_over=True)
            held = message
        if held is not None:
            yield from self._message(held, is_over=False)

    def _is_as_before(self) -> bool:
        """Whether the rows before the last request are as they were."""
        if self._from is None or self._requests[-1:] != [self._from]:
            return False
        count, changed = self._known
        moved = self._messages.changed_since(changed)
        for number, name in enumerate(self._messages.names()):
            if name == self._from:
                return number == count
            if name in moved:
                return False
        return False

    def _message(self, message: Message, *, is_over: bool) -> Iterator[Event]:
        for reason in message.broken:
            yield Broken(0, 0, reason, is_left_out=False)
        if message.kind in ("user", "synthetic", "shell"):
            yield from self._request(message, is_over=is_over)
        elif message.kind == "assistant" and message.data.get("summary") is True:
            yield from self._summary(message, is_over=is_over)
        elif message.kind == "assistant":
            yield from self._reply(message, is_over=is_over)
        elif message.kind == "compaction":
            summary = text_of(message.data.get("summary")) or text_of(message.data.get("text")) or ""
            yield Compacted(message.id, summary, message.at)
        elif "outcome" in message.data:
            status: Any = _OUTCOMES.get(str(message.data["outcome"]), "interrupted")
            yield Ended(status, message.at)
        self._count, self._changed = self._count + 1, max(self._changed, message.changed)

    # Requests.

    def _request(self, message: Message, *, is_over: bool) -> Iterator[Event]:
        if not is_over and message.kind == "user" and not message.parts:
            # Its words come in rows of their own, after it.
            return
        if any(part.data.get("type") == "compaction" for part in message.parts):
            return
        if message.kind == "synthetic" and self._goes_on:
            # A note of the program between two replies.
            return
        text, origin, blocks = _asked(message)
        shared = f"{message.at} {blake2b(text.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
        yield from self._mark(message)
        self._fold(text)
        yield Requested(message.id, text, message.at, origin, blocks, shared)
        if message.kind == "shell" and (output := text_of(message.data.get("output"))):
            yield Said(f"{message.id}:output", message.id, "tool_output", output, message.at)
            yield Ended("completed", message.at)

    def _mark(self, message: Message) -> Iterator[Event]:
        if self._known_digest is not None and message.id == self._from and self._digest != self._known_digest:
            yield Rewritten(
                f"rows of the session before the message {message.id!r} say something else than when they were read "
                "before; they were read again, and nothing deleted"
            )
        self._requests = [*self._requests[1 - _REMEMBERED :], message.id]
        state = {
            "from": message.id,
            "count": self._count,
            "changed": self._changed,
            "digest": self._digest,
            "requests": self._requests,
        }
        yield Mark(Position(0, state))

    def _fold(self, *texts: Any) -> None:
        """Remember what was said."""
        digest = blake2b(self._digest.encode(), digest_size=8)
        for text in texts:
            digest.update(str(text).encode("utf-8", "replace"))
        self._digest = digest.hexdigest()

    # Replies.

    def _reply(self, message: Message, *, is_over: bool) -> Iterator[Event]:
        data = message.data
        ended = moment_of(object_of(data.get("time")).get("completed"))
        error = object_of(data.get("error"))
        is_over = is_over or ended is not None or bool(error)
        model = text_of(data.get("modelID"))
        for part in message.parts:
            yield from self._part(part, message, model, is_over=is_over)
        if is_over:
            yield _used(message)
        finish = text_of(data.get("finish"))
        self._goes_on = finish in ("tool-calls", None) and not error
        if error:
            yield from _failed(error, ended or message.at)
        elif ended is not None and not self._goes_on:
            yield Ended("completed", ended)

    def _part(self, part: Part, message: Message, model: str | None, *, is_over: bool) -> Iterator[Event]:
        kind, time = part.data.get("type"), object_of(part.data.get("time"))
        at = moment_of(time.get("start")) or message.at
        if kind in ("text", "reasoning"):
            text = text_of(part.data.get("text"))
            if text and (is_over or moment_of(time.get("end")) is not None):
                self._fold(part.id, text)
                yield Said(part.id, message.id, "message" if kind == "text" else "thought", text, at, model)
        elif kind == "tool":
            yield from self._tool(part, message, model)

    def _tool(self, part: Part, message: Message, model: str | None) -> Iterator[Event]:
        state = object_of(part.data.get("state"))
        time, metadata = object_of(state.get("time")), object_of(state.get("metadata"))
        call = text_of(part.data.get("callID")) or part.id
        name = text_of(part.data.get("tool")) or "unknown"
        begun = moment_of(time.get("start")) or message.at
        yield Called(call, message.id, name, state.get("input"), begun, None, model)
        status, output = state.get("status"), text_of(state.get("output"))
        # An output that the program has taken out of the model's sight is kept in its row.
        self._fold(part.id, name, state.get("input"), status, output)
        started = text_of(metadata.get("sessionId"))
        if started and metadata.get("parentSessionId") in (None, self._messages.session):
            yield Spawned(call, started)
        if status not in ("completed", "error"):
            return
        told: Row = {}
        code, error = metadata.get("exit"), text_of(state.get("error")) or ""
        if type(code) is int:
            told["exitCode"] = code
        if error.startswith(_REJECTED):
            told["rejected"] = True
        is_failed = status == "error" or bool(told.get("exitCode"))
        ended = moment_of(time.get("end")) or begun
        response = error if status == "error" else output
        yield Answered(call, response, ended, is_failed, state.get("attachments") or None, told)

    def _summary(self, message: Message, *, is_over: bool) -> Iterator[Event]:
        """A reply that is the summary of a compaction."""
        ended = moment_of(object_of(message.data.get("time")).get("completed"))
        if ended is None and not is_over:
            return
        texts = [text_of(part.data.get("text")) for part in message.parts if part.data.get("type") == "text"]
        yield _used(message)
        yield Compacted(message.id, "\n".join(text for text in texts if text), ended or message.at, message.id)


def _asked(message: Message) -> tuple[str, Any, list[Row] | None]:
    """The text of a request, its origin, and its blocks where it is more than text."""
    if message.kind == "shell":
        return f"!{text_of(message.data.get('command')) or ''}", "system", None
    parts = [part.data for part in message.parts]
    typed = [
        part["text"]
        for part in parts
        if part.get("type") == "text"
        and isinstance(part.get("text"), str)
        and part.get("synthetic") is not True
        and part.get("ignored") is not True
    ]
    is_more = any(part.get("type") not in ("text", "step-start") for part in parts)
    if typed or is_more or not parts:
        return "\n".join(typed), "user", parts if is_more else None
    return "", "system", parts


def _used(message: Message) -> Used:
    """What a reply used: the sum of its steps, if it has some."""
    steps = [part.data for part in message.parts if part.data.get("type") == "step-finish"]
    counted = [object_of(step.get("tokens")) for step in steps] or [object_of(message.data.get("tokens"))]

    def total(*path: str) -> int:
        found = 0
        for tokens in counted:
            value: Any = tokens
            for name in path:
                value = object_of(value).get(name)
            found += count_of(value) or 0
        return found

    cost = cost_of(message.data.get("cost"))
    return Used(
        message.id,
        total("input"),
        total("output"),
        total("reasoning") or None,
        total("cache", "read"),
        total("cache", "write"),
        cost,
    )


def _failed(error: Row, at: int | None) -> Iterator[Event]:
    name = text_of(error.get("name")) or text_of(error.get("type")) or "error"
    told = text_of(object_of(error.get("data")).get("message")) or text_of(error.get("message")) or name
    if "abort" in name.lower() or "interrupt" in name.lower():
        yield Ended("interrupted", at, told, is_cut_off=True)
    else:
        yield Ended("error", at, told)

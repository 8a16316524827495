"""The messages of a session of goose as events. What tools have answered are messages of role ``user``."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

from mandrake_sessions.importing.events import (
    Answered,
    Broken,
    Called,
    Compacted,
    Event,
    Left,
    Mark,
    Position,
    Requested,
    Said,
)
from mandrake_sessions.importing.readers.goose_messages import Message, Messages
from mandrake_sessions.importing.values import count_of, joined_texts, object_of, objects_of, text_of

Row = dict[str, Any]

# So many requests can be found to be gone by a later reading.
_REMEMBERED: Final = 200
_CALLS: Final = ("toolRequest", "frontendToolRequest")
_THOUGHTS: Final = {"thinking": "thinking", "reasoning": "text"}


class GooseTalk:
    """The reading of one session: from its last request on, where the messages before that are as they were."""

    def __init__(self, messages: Messages, position: Position) -> None:
        self._messages = messages
        state = position.state
        self._known = (count_of(state.get("count")) or 0, text_of(state.get("digest")))
        self._requests = [each for each in state.get("requests", []) if isinstance(each, str)]
        self._count, self._digest = 0, ""

    def events(self) -> Iterator[Event]:
        yield from self._gone()
        is_as_before = self._is_as_before()
        if not is_as_before:
            self._requests = []
        self._count, self._digest = 0, ""
        for message in self._messages.all():
            if isinstance(message, Broken):
                yield message
                continue
            if not is_as_before or self._count >= self._known[0]:
                yield from self._message(message)
            self._fold(message)

    def _gone(self) -> Iterator[Event]:
        """Somebody went back: the program deletes what was said after that."""
        missing = dict.fromkeys(self._requests)
        for message in self._messages.all() if missing else ():
            if not isinstance(message, Broken):
                missing.pop(message.name, None)
        if missing:
            yield Left(tuple(missing), next(iter(missing)))

    def _is_as_before(self) -> bool:
        count, digest = self._known
        for message in self._messages.all() if count and digest is not None else ():
            if not isinstance(message, Broken):
                self._fold(message)
                if self._count == count:
                    return self._digest == digest
        return False

    def _fold(self, message: Message) -> None:
        self._count += 1
        self._digest = blake2b(f"{self._digest} {message.name}".encode(), digest_size=8).hexdigest()

    def _message(self, message: Message) -> Iterator[Event]:
        if not message.is_shown:
            # Only the model sees it: the summary of what it does not see any more, and a note on that.
            text = joined_texts(message.blocks, "text")
            if message.is_seen and text and not _is_note(message, text):
                yield Compacted(message.name, text, message.at)
            return
        if message.role == "user":
            yield from self._asked(message)
        elif message.role == "assistant":
            yield from self._replied(message)

    def _asked(self, message: Message) -> Iterator[Event]:
        for block in message.blocks:
            if block.get("type") == "toolResponse":
                yield _answer(block, message)
        shown = [block for block in message.blocks if block.get("type") in ("text", "image")]
        if not shown:
            return
        if message.name not in self._requests:
            self._requests = [*self._requests[1 - _REMEMBERED :], message.name]
        state = {"count": self._count, "digest": self._digest, "requests": self._requests}
        yield Mark(Position(0, state))
        is_more = any(block.get("type") == "image" for block in shown)
        text = joined_texts(shown, "text")
        yield Requested(message.name, text, message.at, "user", shown if is_more else None)

    def _replied(self, message: Message) -> Iterator[Event]:
        for number, block in enumerate(message.blocks):
            name, kind = f"{message.name}:{number}", text_of(block.get("type")) or ""
            if kind == "text" and (text := text_of(block.get("text"))):
                yield Said(name, message.name, "message", text, message.at)
            elif kind in _THOUGHTS and (text := text_of(block.get(_THOUGHTS[kind]))):
                yield Said(name, message.name, "thought", text, message.at)
            elif kind in _CALLS:
                yield from _call(block, name, message)
            elif kind == "toolResponse":
                yield _answer(block, message)


def _is_note(message: Message, text: str) -> bool:
    return message.role == "assistant" and ("compact" in text or "summary" in text) and len(text) < 1000


def _call(block: Row, name: str, message: Message) -> Iterator[Event]:
    told = object_of(block.get("toolCall"))
    value = object_of(told.get("value"))
    called, server = text_of(value.get("name")) or "unknown", None
    if "__" in called.strip("_"):
        server, _, called = called.partition("__")
    call = text_of(block.get("id")) or name
    yield Called(call, message.name, called, value.get("arguments"), message.at, server)
    if told.get("status") == "error":
        yield Answered(call, text_of(told.get("error")), message.at, is_failed=True)


def _answer(block: Row, message: Message) -> Answered:
    told = object_of(block.get("toolResult"))
    value = told.get("value")
    content = value.get("content") if isinstance(value, dict) else value
    is_failed = told.get("status") == "error" or object_of(value).get("isError") is True
    text = text_of(told.get("error")) if told.get("status") == "error" else joined_texts(content, "text")
    is_more = any(each.get("type") != "text" for each in objects_of(content))
    return Answered(text_of(block.get("id")) or "", text, message.at, is_failed, content if is_more else None)

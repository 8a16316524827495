"""JSON lines that lose nothing: what docs/export.md describes, and what ``import`` takes.

A reader needs to hold one line at a time. A text of more than ``LONG_TEXT`` characters stands on lines of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mandrake_sessions.exports.conversation import Conversation, preview, slices
from mandrake_sessions.exports.json_parts import json_parts
from mandrake_sessions.exports.wire_fields import wire_fields
from mandrake_sessions.model import HistoryRound, Request, Response, Round, Session, ToolCall, Turn
from mandrake_sessions.redaction import AsItIs, Cleaner
from mandrake_sessions.version import __version__

VERSION = 1
LONG_TEXT = 256 * 1024
_TEXTS = ("content", "raw_response")
_WIRE = {"content": "content", "raw_response": "rawResponse"}


def parts(conversation: Conversation, cleaner: Cleaner) -> Iterator[str]:
    """The document, each line in one part or in several."""
    for line in _Lines(conversation, cleaner).all():
        yield from json_parts(line)
        yield "\n"


class _Lines:
    def __init__(self, conversation: Conversation, cleaner: Cleaner) -> None:
        self._conversation = conversation
        self._cleaner = cleaner
        self._counts = {"rounds": 0, "turns": 0, "toolCalls": 0}

    def all(self) -> Iterator[dict[str, Any]]:
        conversation = self._conversation
        yield {
            "type": "export",
            "format": "mandrake-sessions",
            "version": VERSION,
            "program": __version__,
            "storeId": conversation.store_id,
            "seq": conversation.seq,
            "redacted": not isinstance(self._cleaner, AsItIs),
        }
        session = conversation.session
        shown = {"preview": preview(session, self._cleaner)}
        yield self._line("session", wire_fields(session, Session, "preview")) | shown
        for each in conversation.rounds():
            yield from self._round(each)
        yield {"type": "end", **self._counts, "replaced": self._cleaner.count}

    def _round(self, each: HistoryRound) -> Iterator[dict[str, Any]]:
        self._counts["rounds"] += 1
        yield self._line("round", wire_fields(each, Round))
        yield from self._with_texts(
            "request", wire_fields(each.request, Request, "content"), each.request, ("content",)
        )
        yield self._line("response", wire_fields(each.response, Response))
        for turn in each.response.turns:
            yield from self._turn(turn)

    def _turn(self, turn: Turn) -> Iterator[dict[str, Any]]:
        self._counts["turns"] += 1
        yield from self._with_texts("turn", wire_fields(turn, Turn, "tool_calls", *_TEXTS), turn, _TEXTS)
        for call in turn.tool_calls:
            self._counts["toolCalls"] += 1
            yield self._line("toolCall", {"turnId": turn.id, **wire_fields(call, ToolCall)})

    def _with_texts(
        self, kind: str, fields: dict[str, Any], entity: Any, texts: Iterable[str]
    ) -> Iterator[dict[str, Any]]:
        """The line of an entity with its texts, then those of the texts that are long."""
        given = {name: getattr(entity, name) for name in texts}
        long = [name for name, text in given.items() if not isinstance(text, str) or len(text) > LONG_TEXT]
        line = self._line(kind, fields | {_WIRE[name]: text for name, text in given.items() if name not in long})
        yield line | ({"continued": [_WIRE[name] for name in long]} if long else {})
        for name in long:
            for text in self._cleaner.slices(slices(given[name])):
                yield {"type": "text", f"{kind}Id": entity.id, "field": _WIRE[name], "text": text}

    def _line(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": kind, **self._cleaner.json(fields)}

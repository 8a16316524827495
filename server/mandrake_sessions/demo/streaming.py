"""How the agent puts what it says and does into the store: turns, pieces and tool calls, as they happen."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from attrs import asdict

from mandrake_sessions.demo.client import Client, now_us
from mandrake_sessions.demo.tools import Document, Listing, NotText, clean
from mandrake_sessions.demo.words import pieces

MODEL = "demo (no language model)"
PIECE_SECONDS = (0.02, 0.05)
SENTENCE_SECONDS = 0.12
CALL_SECONDS = 0.22

Found = TypeVar("Found", Listing, Document)


class Cancelled(Exception):
    """Whoever started the agent has gone, or wants no more."""


class Pace:
    """How fast the agent goes; a pause ends at once with Cancelled when ``stop`` is set."""

    def __init__(self, speed: float, stop: threading.Event) -> None:
        self._speed = speed
        self._stop = stop

    def pause(self, seconds: float) -> None:
        if self._stop.wait(seconds / self._speed):
            raise Cancelled


class Called(NamedTuple):
    """What came of a tool call that failed."""

    error: str


class LiveTurn:
    """A turn that is being streamed."""

    def __init__(self, client: Client, turn_id: str, pace: Pace) -> None:
        self.tokens = 0
        self._client = client
        self._id = turn_id
        self._pace = pace

    def say(self, text: str) -> None:
        """Stream a text. A word counts as a token, there being no model that would count otherwise."""
        for piece in pieces(text):
            self._pace.pause(random.uniform(*PIECE_SECONDS))
            chunk, self.tokens = self.tokens, self.tokens + 1
            # What a provider sent, to the letter, belongs into rawResponse. This one says when it sent.
            raw = json.dumps({"delta": piece, "sentAtUs": now_us()}) + "\n"
            self._client.request(
                "turn/append", turnId=self._id, chunk=chunk, content=piece, rawResponse=raw, currentTokens=self.tokens
            )
            if piece.rstrip().endswith((".", ":", "?")):
                self._pace.pause(SENTENCE_SECONDS)

    def call(self, call_id: str, tool: Callable[[Path, str], Found], workspace: Path, path: str) -> Found | Called:
        """Run a tool; all that becomes of it is stored, in the order in which it happens.

        The pauses are for whoever watches: ``startTime``, ``endTime`` and ``elapsedMs`` are the tool's own.
        """
        call = {"id": call_id, "title": f"{tool.__name__} {path}", "kind": "read", "methodName": tool.__name__}
        self._upsert(call | {"arguments": {"path": path}, "status": "pending"})
        self._pace.pause(CALL_SECONDS)
        self._upsert({"id": call_id, "status": "in_progress", "startTime": now_us() // 1000})
        begun = time.perf_counter()
        found: Found | Called
        try:
            found = tool(workspace, path)
        except (OSError, NotText) as error:
            found = Called(error.strerror or str(error) if isinstance(error, OSError) else str(error))
        metadata = {"elapsedMs": round((time.perf_counter() - begun) * 1000, 3)}
        ended = {"id": call_id, "endTime": now_us() // 1000, "metadata": metadata, "response": _response(found)}
        self._pace.pause(CALL_SECONDS)
        self._upsert(ended | {"status": "failed" if isinstance(found, Called) else "completed"})
        return found

    def _upsert(self, call: dict[str, Any]) -> None:
        self._client.request("toolCall/upsert", turnId=self._id, toolCall=call)


@contextmanager
def streaming_turn(client: Client, response_id: str, pace: Pace, kind: str = "message") -> Iterator[LiveTurn]:
    """A turn that streams in the block and is completed after it."""
    turn_id = client.request("turn/create", responseId=response_id, kind=kind, model=MODEL)["id"]
    turn = LiveTurn(client, turn_id, pace)
    try:
        yield turn
    except Cancelled:
        client.request("turn/update", turnId=turn_id, status="cancelled", outputTokens=turn.tokens)
        raise
    except OSError as error:
        client.request("turn/update", turnId=turn_id, status="error", error=str(error), outputTokens=turn.tokens)
        raise
    client.request("turn/update", turnId=turn_id, status="completed", outputTokens=turn.tokens)


def _response(found: Listing | Document | Called) -> dict[str, Any]:
    """What a tool gave, as JSON: the names that it holds may be any bytes, messages are Unicode."""
    if isinstance(found, Called):
        return {"error": found.error}
    if isinstance(found, Document):
        return asdict(found)
    entries = [{"path": clean(e.path), "isDirectory": e.is_directory, "bytes": e.bytes} for e in found.entries]
    return {"entries": entries, "truncated": found.truncated}

"""Streams the agent's words and actions into the store: turns, pieces and tool calls, as they happen."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, Unpack

from attrs import asdict

from mandrake_sessions.client import Client
from mandrake_sessions.demo.tools import Document, Listing, NotText, clean
from mandrake_sessions.demo.words import pieces
from mandrake_sessions.fields import ToolCallUpdate
from mandrake_sessions.model import ToolCallStatus, TurnStatus

MODEL = "demo (no language model)"
PIECE_SECONDS = (0.02, 0.05)
SENTENCE_SECONDS = 0.12
CALL_SECONDS = 0.22

Found = TypeVar("Found", Listing, Document)


class Cancelled(Exception):
    """The process that started the agent has gone, or stops it."""


class Pace:
    """How fast the agent goes; a pause ends at once with Cancelled when ``stop`` is set."""

    def __init__(self, speed: float, stop: asyncio.Event) -> None:
        self._speed = speed
        self._stop = stop

    async def pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds / self._speed):
                await self._stop.wait()
        except TimeoutError:
            return
        raise Cancelled


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class Called(NamedTuple):
    """The result of a tool call that failed."""

    error: str


class LiveTurn:
    """A turn that is being streamed."""

    def __init__(self, client: Client, turn_id: str, pace: Pace) -> None:
        self.tokens = 0
        self._client = client
        self._id = turn_id
        self._pace = pace

    async def say(self, text: str) -> None:
        """Stream a text. Each word counts as a token, since there is no model that would count."""
        for piece in pieces(text):
            await self._pace.pause(random.uniform(*PIECE_SECONDS))
            chunk, self.tokens = self.tokens, self.tokens + 1
            # rawResponse is for the exact bytes of a provider. This agent stores the time of sending there.
            raw = json.dumps({"delta": piece, "sentAtUs": now_us()}) + "\n"
            await self._client.turn_append(
                turn_id=self._id, chunk=chunk, content=piece, raw_response=raw, current_tokens=self.tokens
            )
            if piece.rstrip().endswith((".", ":", "?")):
                await self._pace.pause(SENTENCE_SECONDS)

    async def call(
        self, call_id: str, tool: Callable[[Path, str], Found], workspace: Path, path: str
    ) -> Found | Called:
        """Run a tool, and store each of its states, in order.

        The pauses are for people who watch. ``start_time``, ``end_time`` and ``elapsedMs`` are the tool's own.
        """
        await self._upsert(
            id=call_id,
            title=f"{tool.__name__} {path}",
            kind="read",
            method_name=tool.__name__,
            arguments={"path": path},
            status=ToolCallStatus.PENDING,
        )
        await self._pace.pause(CALL_SECONDS)
        await self._upsert(id=call_id, status=ToolCallStatus.IN_PROGRESS, start_time=now_us() // 1000)
        begun = time.perf_counter()
        found: Found | Called
        try:
            found = tool(workspace, path)
        except (OSError, NotText) as error:
            found = Called(error.strerror or str(error) if isinstance(error, OSError) else str(error))
        metadata = {"elapsedMs": round((time.perf_counter() - begun) * 1000, 3)}
        end_time = now_us() // 1000
        await self._pace.pause(CALL_SECONDS)
        status = ToolCallStatus.FAILED if isinstance(found, Called) else ToolCallStatus.COMPLETED
        await self._upsert(id=call_id, status=status, end_time=end_time, metadata=metadata, response=_response(found))
        return found

    async def _upsert(self, **call: Unpack[ToolCallUpdate]) -> None:
        await self._client.tool_call_upsert(turn_id=self._id, tool_call=call)


@asynccontextmanager
async def streaming_turn(
    client: Client, response_id: str, pace: Pace, kind: str = "message"
) -> AsyncIterator[LiveTurn]:
    """A turn that streams in the block and is completed after it."""
    made = await client.turn_create(response_id=response_id, kind=kind, model=MODEL)
    turn = LiveTurn(client, made.id, pace)

    async def end(status: TurnStatus, error: str | None = None) -> None:
        await client.turn_update(turn_id=made.id, status=status, error=error, output_tokens=turn.tokens)

    try:
        yield turn
    except Cancelled:
        await end(TurnStatus.CANCELLED)
        raise
    except OSError as error:
        await end(TurnStatus.ERROR, str(error))
        raise
    await end(TurnStatus.COMPLETED)


def _response(found: Listing | Document | Called) -> dict[str, Any]:
    """The result of a tool as JSON: names of files may be any bytes, messages are Unicode."""
    if isinstance(found, Called):
        return {"error": found.error}
    if isinstance(found, Document):
        return asdict(found)
    entries = [{"path": clean(e.path), "isDirectory": e.is_directory, "bytes": e.bytes} for e in found.entries]
    return {"entries": entries, "truncated": found.truncated}

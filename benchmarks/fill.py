"""Stores with much in them, made through the package's client, many operations to a transaction."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from itertools import islice
from typing import Any

from mandrake_sessions.client import SyncClient
from mandrake_sessions.protocol.params import Operation

GROUP = 400
PARENT = "00000000-0000-4000-8000-000000000001"
_HOUR_MS = 60 * 60 * 1000


def carry_out(client: SyncClient, operations: Iterable[Operation], seconds: float) -> int:
    """How many were carried out before the time was over; all of them, mostly."""
    waiting, done, end = iter(operations), 0, time.monotonic() + seconds
    while time.monotonic() < end and (group := list(islice(waiting, GROUP))):
        client.transaction_run(operations=group)
        done += len(group)
    return done


def sessions(count: int) -> Iterable[Operation]:
    """All but the first came from that; every second one is codex's."""
    for number in range(count):
        of: dict[str, Any] = {"parent_id": PARENT} if number else {"id": PARENT}
        agent = ("codex", "gemini")[number % 2]
        yield {"method": "session/create", "params": {"title": f"session {number}", "agent": agent, **of}}


def standing(running: Iterable[str], archived: int) -> Iterable[Operation]:
    """A turn that streams in each of these sessions, and so many archived sessions beside."""
    for session_id in running:
        response = str(uuid.uuid4())
        asked: Any = {"session_id": session_id, "response_id": response, "content": "?"}
        yield {"method": "round/create", "params": asked}
        yield {"method": "turn/create", "params": {"response_id": response, "detached": True}}
    for _ in range(archived):
        session_id = str(uuid.uuid4())
        yield {"method": "session/create", "params": {"id": session_id}}
        yield {"method": "session/update", "params": {"session_id": session_id, "archived": True}}


def billed(sessions: int, rounds: int, turns: int) -> Iterable[Operation]:
    """Sessions of several agents over 90 days, whose turns have tokens, costs and now and then a tool call."""
    began = int(time.time() * 1000) - sessions * _HOUR_MS
    for number in range(sessions):
        session_id, at = str(uuid.uuid4()), began + number * _HOUR_MS
        agent = ("claude-code", "codex", "gemini")[number % 3]
        named: Any = {"id": session_id, "agent": agent, "cwd": f"/home/ada/project-{number % 40}", "created_at": at}
        yield {"method": "session/create", "params": named}
        for _ in range(rounds):
            response = str(uuid.uuid4())
            asked: Any = {"session_id": session_id, "response_id": response, "content": "?", "created_at": at}
            yield {"method": "round/create", "params": asked}
            for turn in range(turns):
                at += 1000
                yield {"method": "turn/create", "params": _billed_turn(response, agent, at, turn)}


def _billed_turn(response: str, agent: str, at: int, number: int) -> dict[str, Any]:
    calls = [{"id": "call", "arguments": {"path": "README.md"}, "status": "completed"}] if number % 3 == 0 else []
    tokens = {"input_tokens": 1200 + number, "output_tokens": 300, "cache_read_tokens": 20_000}
    costs = {"input_cost": 0.0036, "output_cost": 0.0045}
    times = {"created_at": at, "stream_end_time": at + 900}
    turn = {"response_id": response, "model": f"{agent}-large", "status": "completed", "tool_calls": calls}
    return {**turn, **tokens, **costs, **times}


def rounds(session_id: str, count: int, turns: int, texts: Iterable[str]) -> Iterable[Operation]:
    """Rounds with so many finished turns each, one text to a turn."""
    content = iter(texts)
    for number in range(count):
        response = str(uuid.uuid4())
        named = {"session_id": session_id, "response_id": response, "content": f"request {number}"}
        yield {"method": "round/create", "params": named}
        for _ in range(turns):
            said = {"response_id": response, "content": next(content), "status": "completed"}
            yield {"method": "turn/create", "params": said}

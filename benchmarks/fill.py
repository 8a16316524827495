"""Stores with much in them, made through the protocol, many operations to a transaction."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from itertools import islice
from typing import Any

from benchmarks.driver import Server

Operation = dict[str, Any]
GROUP = 400


def carry_out(server: Server, operations: Iterable[Operation], seconds: float) -> int:
    """How many were carried out before the time was over; all of them, mostly."""
    waiting, done, end = iter(operations), 0, time.monotonic() + seconds
    while time.monotonic() < end and (group := list(islice(waiting, GROUP))):
        server.request("transaction/run", operations=group)
        done += len(group)
    return done


def sessions(count: int) -> Iterable[Operation]:
    for number in range(count):
        yield {"method": "session/create", "params": {"title": f"session {number}"}}


def rounds(session_id: str, count: int, turns: int, text: str) -> Iterable[Operation]:
    """Rounds with so many finished turns each."""
    for number in range(count):
        response = str(uuid.uuid4())
        named = {"sessionId": session_id, "responseId": response, "content": f"request {number}"}
        yield {"method": "round/create", "params": named}
        for _ in range(turns):
            yield {"method": "turn/create", "params": {"responseId": response, "content": text, "status": "completed"}}

"""Stores with much in them, made through the package's client, many operations to a transaction."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from itertools import islice

from mandrake_sessions.client import SyncClient
from mandrake_sessions.protocol.params import Operation

GROUP = 400


def carry_out(client: SyncClient, operations: Iterable[Operation], seconds: float) -> int:
    """How many were carried out before the time was over; all of them, mostly."""
    waiting, done, end = iter(operations), 0, time.monotonic() + seconds
    while time.monotonic() < end and (group := list(islice(waiting, GROUP))):
        client.transaction_run(operations=group)
        done += len(group)
    return done


def sessions(count: int) -> Iterable[Operation]:
    for number in range(count):
        yield {"method": "session/create", "params": {"title": f"session {number}"}}


def rounds(session_id: str, count: int, turns: int, text: str) -> Iterable[Operation]:
    """Rounds with so many finished turns each."""
    for number in range(count):
        response = str(uuid.uuid4())
        named = {"session_id": session_id, "response_id": response, "content": f"request {number}"}
        yield {"method": "round/create", "params": named}
        for _ in range(turns):
            yield {"method": "turn/create", "params": {"response_id": response, "content": text, "status": "completed"}}

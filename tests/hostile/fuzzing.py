"""What the fuzzers share: cases by seed, a client that keeps all it hears, and what must hold whatever was sent.

A case is one server and one seed. By itself a test runs a few, always the same. By hand, for as long as is asked:

    MANDRAKE_SESSIONS_FUZZ_SECONDS=600 pytest tests/hostile -k fuzz

A failure names its seed; ``MANDRAKE_SESSIONS_FUZZ_SEED=<seed>`` runs that case first.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from figures import record
from hostile.memory import MIB, resident
from mandrake_sessions.protocol.errors import ERRORS
from wire import Framing, Message, Wire, run_script, serving

SECONDS = float(os.environ.get("MANDRAKE_SESSIONS_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("MANDRAKE_SESSIONS_FUZZ_SEED", "1"))
MAY_GROW = 48 * MIB
CODES = {kind: code for code, kind, _ in ERRORS}

patient = pytest.mark.timeout(120 + 2 * SECONDS)


def run_cases(name: str, count: int, case: Callable[[random.Random, int], Counter[str]]) -> None:
    """Run ``case`` for that many seeds, or for as long as the environment asks. It gives what it counted."""
    deadline = time.monotonic() + SECONDS
    counted: Counter[str] = Counter()
    seed = SEED
    while seed < SEED + count or time.monotonic() < deadline:
        try:
            counted += case(random.Random(seed), seed)
        except BaseException as error:
            error.add_note(f"{name}: run it again with MANDRAKE_SESSIONS_FUZZ_SEED={seed}")
            raise
        seed += 1
    record(name, cases=seed - SEED, first_seed=SEED, **counted)


def pieces(rng: random.Random, data: bytes) -> Iterable[bytes]:
    """The same bytes in one piece, in some, or in very small ones at the beginning."""
    style = rng.randrange(3)
    if style == 0:
        yield data
        return
    small = 300 if style == 2 else 0
    yield from (data[at : at + 1] for at in range(min(small, len(data))))
    at = small
    while at < len(data):
        size = rng.choice((1, 7, 100, 4096, 65536))
        yield data[at : at + size]
        at += size


def converse(workspace: Path, framing: Framing, parts: Iterable[bytes], *flags: str) -> list[Any]:
    """Send bytes to a server until its input ends; gives all that it said.

    It must end by itself with 0, without a traceback, and without having grown.
    """
    with serving(workspace, framing, *flags) as wire:
        send_first(wire)
        before = resident(wire.process)
        for part in parts:
            wire.send_bytes(part)
        return finish(wire, before)


def send_first(wire: Wire) -> None:
    """A first message decides the framing, and opens the store."""
    wire.request("session/list")


def finish(wire: Wire, before: int) -> list[Any]:
    """End the input; gives all that was not read yet."""
    grown = resident(wire.process) - before
    wire.end_input()
    assert wire.process.wait(60) == 0, wire.log[-2000:]
    said = wire.unread()
    wire.forget()
    assert "Traceback" not in wire.log, wire.log[-4000:]
    assert "incident" not in wire.log, wire.log[-4000:]
    assert grown < MAY_GROW
    return said


def answers_in(said: Iterable[Any]) -> list[Any]:
    """Answers and batches of them, without the notifications; each is well-formed, and no fault of the server's."""
    answers = [message for message in said if isinstance(message, list) or "method" not in message]
    for message in answers:
        assert message, "an empty batch of answers"
        for answer in message if isinstance(message, list) else [message]:
            check_answer(answer)
    return answers


def check_answer(answer: Message) -> None:
    assert answer["jsonrpc"] == "2.0"
    assert set(answer) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"}), answer
    if "error" in answer:
        data = answer["error"]["data"]
        assert answer["error"]["code"] == CODES[data["kind"]], answer
        assert data["kind"] != "internal", answer
        assert isinstance(data["retryable"], bool), answer


def canonical(value: Any) -> str:
    """A value as a key: 1 and 1.0 are two."""
    return json.dumps(value)


def all_pages(workspace: Path, method: str, name: str, **params: Any) -> list[Message]:
    """Every row of a list, as a new server gives it."""
    rows: list[Message] = []
    cursor = None
    while True:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"cursor": cursor, "limit": 1000}}
        (answer,) = run_script(workspace, call)
        rows += answer["result"][name]
        cursor = answer["result"]["nextCursor"]
        if cursor is None:
            return rows

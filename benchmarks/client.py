"""What the Python client costs: appends with their push through it, beside prepared bytes to the same server."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.driver import PIECE, Server, appends, connected, connected_in_loop, one_by_one, pipelined
from benchmarks.report import Options, Row, median, rate
from mandrake_sessions.client import Client, SyncClient

ONE, MANY, IN_FLIGHT = 300, 3_000, 64


def run(options: Options) -> list[Row]:
    with Server(options.directory) as server, connected(options.directory) as waiting:
        turn = server.watched_turn()
        subjects: dict[str, Callable[[], float]] = {
            "bytes": lambda: _rate(one_by_one(server, appends(turn, ONE), b"\n", 2)),
            "bytes 64": lambda: pipelined(server, appends(turn, MANY)),
            "waiting": lambda: _waiting(waiting),
            "asyncio": lambda: asyncio.run(_one_by_one(options.directory)),
            "asyncio 64": lambda: asyncio.run(_in_flight(options.directory)),
        }
        rates: dict[str, list[float]] = defaultdict(list)
        for _ in range(min(3, options.rounds)):
            for name, measure in subjects.items():
                rates[name].append(measure())
    return _rows({name: median(found) for name, found in rates.items()})


def _rows(rates: dict[str, float]) -> list[Row]:
    def row(what: str, name: str, peer: str) -> Row:
        return Row(what, rate(rates[name]), f"prepared bytes {rate(rates[peer])}", rates[name] / rates[peer])

    return [
        row("append + push through SyncClient, one at a time", "waiting", "bytes"),
        row("append + push through Client, one at a time", "asyncio", "bytes"),
        row("append + push through Client, 64 in flight", "asyncio 64", "bytes 64"),
    ]


def _rate(taken: list[float]) -> float:
    return len(taken) / sum(taken)


def _waiting(client: SyncClient) -> float:
    made = client.round_create(session_id=client.session_create().id, content="benchmark")
    turn = client.turn_create(response_id=made.response.id)
    with client.follow_turns(turn_id=turn.id) as changes:
        next(changes)
        begun = time.perf_counter()
        for _ in range(ONE):
            client.turn_append(turn_id=turn.id, content=PIECE)
            next(changes)
        return ONE / (time.perf_counter() - begun)


async def _one_by_one(workspace: Path) -> float:
    async with connected_in_loop(workspace) as client, client.follow_turns(turn_id=await _turn(client)) as changes:
        turn_id = (await anext(changes)).turns[0].id  # type: ignore[union-attr]
        begun = time.perf_counter()
        for _ in range(ONE):
            await client.turn_append(turn_id=turn_id, content=PIECE)
            await anext(changes)
        return ONE / (time.perf_counter() - begun)


async def _in_flight(workspace: Path) -> float:
    """Each of 64 tasks has one append in flight; pushes of several are joined."""
    async with connected_in_loop(workspace) as client, client.follow_turns(turn_id=await _turn(client)) as changes:
        turn_id = (await anext(changes)).turns[0].id  # type: ignore[union-attr]

        async def write() -> int:
            seq = 0
            for _ in range(MANY // IN_FLIGHT):
                seq = (await client.turn_append(turn_id=turn_id, content=PIECE)).seq
            return seq

        begun = time.perf_counter()
        last = max(await asyncio.gather(*(write() for _ in range(IN_FLIGHT))))
        while (changes.seq or 0) < last:
            await anext(changes)
        return MANY // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - begun)


async def _turn(client: Client) -> str:
    """A new turn that streams."""
    made = await client.round_create(session_id=(await client.session_create()).id, content="benchmark")
    return (await client.turn_create(response_id=made.response.id)).id

"""Reading a long session whole, beside the bare SQL and JSON of the same; and a page of it, however long it is."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from itertools import repeat
from pathlib import Path
from typing import Any

from benchmarks import fill
from benchmarks.driver import Server, connected, request
from benchmarks.report import TIMES, Options, Row, at_most, median, megabytes, milliseconds
from mandrake_sessions.client import SyncClient

ROUNDS, TURNS, TEXT = 1_000, 3, 4_000
SHORT, LONG = 100, 10_000
FILL_SECONDS = 25.0
SAMPLES = 20

_ROUNDS = """
SELECT r.pk, r.id, r."index", r.metadata, r.created_at, r.updated_at, q.id, q.content, q.blocks, q.created_at,
       q.updated_at, p.id, p.status, p.stop_reason, p.end_time, p.created_at, p.updated_at
FROM round r JOIN request q ON q.pk = r.pk JOIN response p ON p.pk = r.pk
WHERE r.session_pk = ? ORDER BY r."index"
"""
_TURNS = """
SELECT pk, round_pk, id, seq, "index", kind, status, error, model, stream_start_time, stream_end_time,
       current_tokens, expected_tokens, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
       input_cost, output_cost, metadata, chunk_count, created_at, updated_at
FROM turn WHERE session_pk = ? ORDER BY round_pk, "index"
"""
_TEXTS = """
SELECT x.turn_pk, x.content FROM text x JOIN turn t ON t.pk = x.turn_pk WHERE t.session_pk = ? ORDER BY x.turn_pk, x.pk
"""


def run(options: Options) -> list[Row]:
    with connected(options.directory) as client, Server(options.directory) as server:
        session = client.session_create().id
        text = 'A sentence of an agent, "quoted" and — now and then — beyond ASCII.\n' * (TEXT // 69 + 1)
        fill.carry_out(client, fill.rounds(session, ROUNDS, TURNS, repeat(text[:TEXT])), FILL_SECONDS)
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(options.rounds):
            begun = time.perf_counter()
            size = _read_whole(server, session)
            between = time.perf_counter()
            _bare(options.directory / ".ws" / "db.sqlite", session)
            ours.append(between - begun)
            bare.append(time.perf_counter() - between)
        what = f"history of {ROUNDS:,} rounds {TIMES} {TURNS} turns {TIMES} 4 kB ({megabytes(size)})"
        beside = f"bare SQL and JSON {milliseconds(median(bare))}"
        whole = Row(what, milliseconds(median(ours)), beside, median(ours) / median(bare), at_most(2.5))
        return [whole, *_pages(client, server)]


def _read_whole(server: Server, session_id: str) -> int:
    """Read all pages; gives their bytes."""
    size, cursor = 0, None
    while True:
        reply = _page(server, session_id, 1000, cursor)
        size += len(reply)
        cursor = _next_cursor(reply)
        if cursor is None:
            return size


def _page(server: Server, session_id: str, limit: int, cursor: str | None) -> bytes:
    params: dict[str, Any] = {"sessionId": session_id, "limit": limit}
    if cursor is not None:
        params["cursor"] = cursor
    return server.exchange(request(1, "session/history", params))


def _next_cursor(reply: bytes) -> str | None:
    """Found without parsing the page."""
    _, _, behind = reply.rpartition(b'"nextCursor":')
    cursor: str | None = json.JSONDecoder().raw_decode(behind.decode())[0]
    return cursor


def _bare(path: Path, session_id: str) -> bytes:
    """The same rows out of the same file and into the same JSON, and nothing else."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    (pk,) = connection.execute("SELECT pk FROM session WHERE id = ?", (session_id,)).fetchone()
    texts: dict[int, str] = defaultdict(str)
    for turn_pk, content in connection.execute(_TEXTS, (pk,)):
        texts[turn_pk] += content or ""
    turns: dict[int, list[dict[str, Any]]] = defaultdict(list)
    found = connection.execute(_TURNS, (pk,))
    names = [column[0] for column in found.description[2:]]
    for turn_pk, round_pk, *values in found:
        turns[round_pk].append({**dict(zip(names, values, strict=True)), "content": texts[turn_pk], "toolCalls": []})
    rounds = []
    for round_pk, *values in connection.execute(_ROUNDS, (pk,)):
        response = {**dict(zip(_RESPONSE, values[10:], strict=True)), "turns": turns[round_pk]}
        own, asked = dict(zip(_ROUND, values, strict=False)), dict(zip(_REQUEST, values[5:], strict=False))
        rounds.append({**own, "request": asked, "response": response})
    connection.close()
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    return encoder.encode({"jsonrpc": "2.0", "id": 1, "result": {"rounds": rounds}}).encode()


_ROUND = ("id", "index", "metadata", "createdAt", "updatedAt")
_REQUEST = ("id", "content", "blocks", "createdAt", "updatedAt")
_RESPONSE = ("id", "status", "stopReason", "endTime", "createdAt", "updatedAt")


def _pages(client: SyncClient, server: Server) -> list[Row]:
    """A page of 50 in the middle of a short session and of a long one."""
    middles = []
    for count in (SHORT, LONG):
        session = client.session_create().id
        fill.carry_out(client, fill.rounds(session, count, 1, repeat("short")), FILL_SECONDS)
        middles.append((session, _cursor_at(server, session, count // 2)))
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(SAMPLES):
        for found, (session, cursor) in zip(taken, middles, strict=True):
            begun = time.perf_counter()
            _page(server, session, 50, cursor)
            found.append(time.perf_counter() - begun)
    short, long = (median(found) for found in taken)
    what = f"page of 50 in the middle of {LONG:,} rounds"
    return [Row(what, milliseconds(long), f"of {SHORT} rounds {milliseconds(short)}", long / short, at_most(1.25))]


def _cursor_at(server: Server, session_id: str, number: int) -> str | None:
    """The cursor before so many rounds have been read."""
    cursor = None
    while number > 0:
        limit = min(number, 1000)
        cursor = _next_cursor(_page(server, session_id, limit, cursor))
        number -= limit
    return cursor

"""Bytes written to disk an append.

Counted is what the process gave to write calls (``wchar`` of /proc/<pid>/io: frames of the WAL, checkpoints, all) less
what went to its stdout; beside it ``write_bytes``, the pages that the kernel had to write, in which one that is written
several times before it leaves the cache counts once.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import peers
from benchmarks.driver import Process, Server, appends, one_by_one, pipelined
from benchmarks.report import Options, Row, at_most, kilobytes
from benchmarks.system import written_bytes

# Each is many times the pages between two checkpoints.
ONE, MANY = 4_000, 40_000
TURNS = 1_000
# What a turn that has ended, without text, took with schema 3, which had no index of turns for sums; measured once.
SCHEMA_3_BYTES = 49_472


def run(options: Options) -> list[Row]:
    with Server(options.directory) as ours, peers.bare_loop(options.directory, "bare", joined=True) as bare:
        turn = ours.watched_turn()
        few, many = appends(turn, ONE), appends(turn, MANY)
        return [
            *_row("one at a time", ours, bare, lambda peer: len(one_by_one(peer, few, b"\n", 2)), 9),
            *_row("64 in flight", ours, bare, lambda peer: (pipelined(peer, many), MANY)[1], 1),
            _turns(ours),
        ]


def _turns(ours: Server) -> Row:
    what = "bytes written a turn/create without text, one at a time"
    session = ours.request("session/create")["id"]
    response = ours.request("round/create", sessionId=session, content="benchmark")["response"]["id"]

    def work(process: Process) -> int:
        for _ in range(TURNS):
            process.request("turn/create", responseId=response, status="completed")
        return TURNS

    mine = _written(ours, work)
    if mine is None:
        return Row(what, "not measured: no /proc here")
    return Row(what, kilobytes(mine[0]), f"schema 3 {kilobytes(SCHEMA_3_BYTES)}", mine[0] / SCHEMA_3_BYTES)


def _row(how: str, ours: Process, bare: Process, work: Callable[[Process], int], bound: float) -> list[Row]:
    what = f"bytes written an append, {how}"
    mine, other = _written(ours, work), _written(bare, work)
    if mine is None or other is None:
        return [Row(what, "not measured: no /proc here")]
    shown = f"{kilobytes(mine[0])} (write_bytes {kilobytes(mine[1])})"
    return [Row(what, shown, f"bare loop {kilobytes(other[0])}", mine[0] / 1e3, at_most(bound, "kB"))]


def _written(process: Process, work: Callable[[Process], int]) -> tuple[float, float] | None:
    """Bytes an append: given to write calls, and dirtied."""
    before, read_before = written_bytes(process.pid), process.bytes_read
    count = work(process)
    after = written_bytes(process.pid)
    if before is None or after is None:
        return None
    said = process.bytes_read - read_before
    return (after[0] - before[0] - said) / count, (after[1] - before[1]) / count

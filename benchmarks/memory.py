"""Resident memory after very many appends, beside a stock pygls server that has done nothing."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.driver import Server, appends, pipelined
from benchmarks.report import Options, Row, at_most, megabytes
from benchmarks.system import resident_bytes

FEW, MILLION = 200_000, 1_000_000
TURNS = 10
MEBIBYTE = 1024 * 1024


def run(options: Options) -> list[Row]:
    """Over ten turns, one after the other, each followed; and with pygls loaded, as an editor has it."""
    count = MILLION if options.full else FEW
    with Server(options.directory, headers=True) as ours, peers.stock(options.directory) as stock:
        for process in (ours, stock):
            process.request("initialize", **peers.INITIALIZE)
        rest, fresh = resident_bytes(stock.pid), resident_bytes(ours.pid)
        done = 0
        for _ in range(TURNS):
            turn = ours.watched_turn()
            messages = appends(turn, count // TURNS, headers=True)
            pipelined(ours, messages)
            done += len(messages)
            ours.request("turn/update", turnId=turn, status="completed")
        now = resident_bytes(ours.pid)
    above = (now - rest) / MEBIBYTE
    beside = f"stock pygls at rest {megabytes(rest)}; ours at rest {megabytes(fresh)}"
    return [Row(f"memory after {done:,} appends", megabytes(now), beside, above, at_most(20, "MiB more"))]

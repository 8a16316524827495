"""A durable append with its push, one at a time and 64 in flight, beside a stock server's no-op and the bare loop.

The bare loop reads the same frames, commits the same row and writes the same two messages, with blocking calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from benchmarks import peers
from benchmarks.driver import Process, Server, appends, one_by_one, pipelined
from benchmarks.report import Options, Row, at_least, median, microseconds, rate
from benchmarks.system import cpu_seconds

ONE, MANY = 600, 8_000


def run(options: Options) -> list[Row]:
    directory = options.directory
    with (
        peers.stock(directory) as stock,
        Server(directory) as ours,
        peers.bare_loop(directory, "plain", joined=False) as plain,
        peers.bare_loop(directory, "joined", joined=True) as joined,
    ):
        stock.request("initialize", **peers.INITIALIZE)
        turn = ours.watched_turn()
        few, many, no_ops = appends(turn, ONE), appends(turn, MANY), peers.no_ops(ONE)
        latencies: dict[str, list[float]] = defaultdict(list)
        subjects: dict[str, Callable[[], float]] = {
            "stock": lambda: _rate(one_by_one(stock, no_ops, b'"jsonrpc"', 1), latencies["stock"]),
            "ours": lambda: _rate(one_by_one(ours, few, b"\n", 2), latencies["ours"]),
            "bare": lambda: _rate(one_by_one(joined, few, b"\n", 2), latencies["bare"]),
            "ours 64": lambda: pipelined(ours, many),
            "joined 64": lambda: pipelined(joined, many),
            "plain 64": lambda: pipelined(plain, many),
        }
        rates: dict[str, list[float]] = defaultdict(list)
        for _ in range(options.rounds):
            for name, measure in subjects.items():
                rates[name].append(measure())
        cpu = {
            "ours": _cpu(ours, lambda: one_by_one(ours, few, b"\n", 2), ONE),
            "bare": _cpu(joined, lambda: one_by_one(joined, few, b"\n", 2), ONE),
            "ours 64": _cpu(ours, lambda: pipelined(ours, many), MANY),
            "joined 64": _cpu(joined, lambda: pipelined(joined, many), MANY),
        }
    p50 = {name: median(found) for name, found in latencies.items()}
    return [*_rate_rows({name: median(found) for name, found in rates.items()}), *_time_rows(p50, cpu)]


def _rate(taken: list[float], latencies: list[float]) -> float:
    latencies += taken
    return len(taken) / sum(taken)


def _cpu(process: Process, work: Callable[[], object], count: int) -> float | None:
    """Seconds of processor time of the process for each of so many messages."""
    before = cpu_seconds(process.pid)
    work()
    after = cpu_seconds(process.pid)
    return None if before is None or after is None else (after - before) / count


def _rate_rows(rates: dict[str, float]) -> list[Row]:
    def row(what: str, name: str, peer: str, shown: str, bound: float | None = None) -> Row:
        target = None if bound is None else at_least(bound)
        beside = f"{shown} {rate(rates[peer])}"
        return Row(what, rate(rates[name]), beside, rates[name] / rates[peer], target)

    return [
        row("append + push, one at a time", "ours", "stock", "stock pygls no-op", 3.5),
        row("append + push, one at a time", "ours", "bare", "bare loop", 0.5),
        row("append + push, 64 in flight", "ours 64", "stock", "stock pygls no-op", 25),
        row("append + push, 64 in flight", "ours 64", "joined 64", "bare loop, joined pushes", 0.5),
        row("append + push, 64 in flight", "ours 64", "plain 64", "bare loop, a push a piece"),
    ]


def _time_rows(p50: dict[str, float], cpu: dict[str, float | None]) -> list[Row]:
    """What a busy machine disturbs less than a rate."""
    what, mine = "append + push, one at a time: p50", p50["ours"]
    rows = [
        Row(what, microseconds(mine), f"stock pygls no-op {microseconds(p50['stock'])}", mine / p50["stock"]),
        Row(what, microseconds(mine), f"bare loop {microseconds(p50['bare'])}", mine / p50["bare"]),
    ]
    for what, name, peer in (("one at a time", "ours", "bare"), ("64 in flight", "ours 64", "joined 64")):
        used, other = cpu[name], cpu[peer]
        if used is not None and other is not None:
            beside = f"bare loop {microseconds(other)}"
            rows.append(Row(f"CPU an append, {what}", microseconds(used), beside, used / other))
    return rows

"""What a Python user would pick: the SQLite session of the OpenAI Agents SDK, in process, on the same disk.

It commits with FULL, so the server is measured so too, beside its default.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from benchmarks import peers
from benchmarks.driver import Server, appends, one_by_one
from benchmarks.report import Options, Row, median, rate

PIECES, SECONDS = 1_000, 2.0


def run(options: Options) -> list[Row]:
    default, full = options.directory / "default", options.directory / "full"
    default.mkdir()
    full.mkdir()
    numbers = iter(range(1000))

    def peer(kind: str) -> float | None:
        path = options.directory / f"agents-{next(numbers)}.sqlite"
        return peers.agents_session(options.agents_python, path, kind, PIECES, SECONDS)

    if peer("items") is None:
        return [Row("OpenAI Agents SDK's SQLiteSession", beside="openai-agents is not installed (--agents-python)")]
    with Server(default) as ours, Server(full, "--durability", "full") as durable:
        subjects: dict[str, Callable[[], float | None]] = {
            "ours": lambda: _rate(ours),
            "ours, full": lambda: _rate(durable),
            "items": lambda: peer("items"),
            "rewrite": lambda: peer("rewrite"),
        }
        rates: dict[str, list[float]] = defaultdict(list)
        for _ in range(min(3, options.rounds)):
            for name, measure in subjects.items():
                rates[name].append(measure() or 0.0)
    return _rows({name: median(found) for name, found in rates.items()})


def _rate(server: Server) -> float:
    taken = one_by_one(server, appends(server.watched_turn(), PIECES), b"\n", 2)
    return len(taken) / sum(taken)


def _rows(rates: dict[str, float]) -> list[Row]:
    shown = {"items": "an item a piece", "rewrite": f"rewriting the item, up to {PIECES:,} pieces"}
    return [
        Row(
            f"append + push, one at a time{mine.removeprefix('ours')}",
            rate(rates[mine]),
            f"Agents SDK, {shown[peer]} {rate(rates[peer])}",
            rates[mine] / rates[peer],
        )
        for mine in ("ours", "ours, full")
        for peer in ("items", "rewrite")
    ]

"""What an append costs as its turn grows, beside rewriting the column that holds the whole text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmarks import peers, plots
from benchmarks.driver import Server, appends, one_by_one, pipelined
from benchmarks.report import TIMES, Options, Row, at_least, median, microseconds, rate

LENGTHS = (10, 100, 1_000, 4_000, 16_000, 60_000)
SLICE, BURST = 200, 2_000
REWRITES, REWRITE_SECONDS = 40, 0.5

Found = dict[int, list[float]]


def run(options: Options) -> list[Row]:
    ours: Found = defaultdict(list)
    bursts: Found = defaultdict(list)
    rewriting: Found = defaultdict(list)
    column = peers.Rewriting(options.directory / "column.sqlite")
    with Server(options.directory) as server:
        grown = {length: _grown(server, length) for length in LENGTHS}
        for _ in range(options.rounds):
            # The long turn grows as it is measured; the short ones begin anew, or they would not be short for long.
            for length in LENGTHS:
                turn = grown[length] if length >= 16_000 else _grown(server, length - min(length, SLICE // 2))
                ours[length] += one_by_one(server, appends(turn, SLICE), b"\n", 1)
                rewriting[length] += column.seconds(length, REWRITES, REWRITE_SECONDS)
            for length in (1_000, 60_000):
                turn = grown[length] if length >= 16_000 else server.open_turn()
                bursts[length].append(pipelined(server, appends(turn, BURST)))
    column.close()
    _plot(options, ours, rewriting)
    return _rows(ours, bursts, rewriting)


def _grown(server: Server, length: int) -> str:
    """A turn that has so many pieces."""
    turn = server.open_turn()
    if length:
        pipelined(server, appends(turn, length))
    return turn


def _rows(ours: Found, bursts: Found, rewriting: Found) -> list[Row]:
    early, late = median(ours[1_000]), median(ours[60_000])
    first, last = median(bursts[1_000]), median(bursts[60_000])
    return [
        Row(
            "60,000th append, one at a time", rate(1 / late), f"1,000th {rate(1 / early)}", early / late, at_least(0.8)
        ),
        Row("60,000th append, 64 in flight", rate(last), f"first 2,000 {rate(first)}", last / first, at_least(0.8)),
        *(_against(length, ours, rewriting) for length in (1_000, 60_000)),
    ]


def _against(length: int, ours: Found, rewriting: Found) -> Row:
    mine, other = median(ours[length]), median(rewriting[length])
    beside = f"rewriting the column, in process {microseconds(other)}"
    return Row(f"cost of the {length:,}th append", microseconds(mine), beside, other / mine, unit=f"{TIMES} dearer")


def _plot(options: Options, ours: Mapping[int, Sequence[float]], rewriting: Mapping[int, Sequence[float]]) -> None:
    def line(name: str, found: Mapping[int, Sequence[float]]) -> plots.Line:
        return plots.Line(name, [(length, median(found[length]) * 1e6) for length in LENGTHS])

    plots.Plot(
        title="Cost of appending 20 bytes to a turn, by its length",
        across="pieces in the turn already",
        up="µs an append",
        lines=[line("mandrake-sessions (whole request)", ours), line("rewriting the column (in process)", rewriting)],
        logarithmic=(True, True),
    ).write(options.docs / "append-cost.svg")

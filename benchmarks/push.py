"""How soon another process hears of an append, and what hearing costs while nothing happens."""

from __future__ import annotations

import json
import selectors
import time

from benchmarks import plots
from benchmarks.driver import Process, Server, appends
from benchmarks.report import Options, Row, at_most, milliseconds, percentile
from benchmarks.system import cpu_share

PER_SECOND = 100
IDLE_SECONDS = 4.0


def run(options: Options) -> list[Row]:
    with Server(options.directory) as writer, Server(options.directory) as watcher:
        turn = writer.open_turn()
        watcher.request("server/info")
        unwatched = cpu_share(watcher.pid, IDLE_SECONDS / 2)
        watcher.request("turn/subscribe", turnId=turn)
        idle = _settled_share(watcher)
        messages = appends(turn, PER_SECOND * (60 if options.full else 10))
        sent, heard = _stream(writer, watcher, messages)
    latencies = [heard[chunk] - at for chunk, at in enumerate(sent) if chunk in heard]
    _plot(options, latencies)
    return [*_latency_rows(latencies, len(sent)), *_idle_rows(idle, unwatched)]


def _settled_share(watcher: Process) -> float | None:
    # Looking becomes rarer only after a while in which nothing happened.
    time.sleep(2.0)
    return cpu_share(watcher.pid, IDLE_SECONDS)


def _stream(writer: Process, watcher: Process, messages: list[bytes]) -> tuple[list[float], dict[int, float]]:
    """When each piece was sent to the writer, and when the watcher's notification of it was here."""
    sent: list[float] = []
    received: list[tuple[float, bytes]] = []
    with selectors.DefaultSelector() as selector:
        selector.register(writer, selectors.EVENT_READ, writer)
        selector.register(watcher, selectors.EVENT_READ, watcher)
        begun = time.perf_counter()
        end = begun + (len(messages) + PER_SECOND) / PER_SECOND
        while (now := time.perf_counter()) < end:
            due = begun + len(sent) / PER_SECOND if len(sent) < len(messages) else end
            if now >= due:
                sent.append(time.perf_counter())
                writer.write(messages[len(sent) - 1])
                continue
            for key, _ in selector.select(due - now):
                data = key.data.read()
                if key.data is watcher:
                    received.append((time.perf_counter(), data))
    return sent, _heard(received)


def _heard(received: list[tuple[float, bytes]]) -> dict[int, float]:
    """When the notification of each piece had come whole."""
    heard: dict[int, float] = {}
    rest = b""
    for at, data in received:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            params = json.loads(line)["params"]
            heard.update(dict.fromkeys(range(params["firstChunk"], params["lastChunk"] + 1), at))
    return heard


def _latency_rows(latencies: list[float], sent: int) -> list[Row]:
    if not latencies:
        return [Row("push to another process", "nothing arrived", f"of {sent}")]
    what = f"push to another process, {PER_SECOND}/s, from sending"
    rows = []
    for share, bound in ((0.5, 3.0), (0.99, 15.0)):
        found = percentile(latencies, share)
        beside = f"{len(latencies):,} of {sent:,} heard"
        rows.append(Row(f"{what}: p{share * 100:.0f}", milliseconds(found), beside, found * 1e3, at_most(bound, "ms")))
    return rows


def _idle_rows(idle: float | None, unwatched: float | None) -> list[Row]:
    what = "CPU of an idle watcher"
    if idle is None or unwatched is None:
        return [Row(what, "not measured: no /proc here")]
    beside = f"without a subscription {unwatched:.3f} %"
    return [Row(what, f"{idle:.3f} % of a core", beside, idle, at_most(0.5, "%"))]


def _plot(options: Options, latencies: list[float]) -> None:
    if not latencies:
        return
    steps = [step / 200 for step in range(200)] + [0.999, 1.0]
    points = [(percentile(latencies, share) * 1e3, share * 100) for share in steps]
    plots.Plot(
        title=f"From an append to its push in another process, {PER_SECOND} a second",
        across="milliseconds, at most",
        up="% of the pushes have arrived",
        lines=[plots.Line("mandrake-sessions", points)],
        logarithmic=(True, False),
        marks=[(percentile(latencies, share) * 1e3, share * 100, f"p{share * 100:.0f}") for share in (0.5, 0.99)],
    ).write(options.docs / "push-latency.svg")

"""Eight processes that write to one store at once, beside one alone."""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.driver import REPLY, MarkerCounter, Server, appends
from benchmarks.report import Options, Row, at_least, at_most, median, rate

WRITERS = 8
SECONDS = 1.5


@dataclass
class Together:
    """What some writers did in the same time. ``counts``: appends of each."""

    counts: list[int]
    errors: int
    seconds: float

    @property
    def rate(self) -> float:
        return sum(self.counts) / self.seconds


def run(options: Options) -> list[Row]:
    rows: list[Row] = []
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(options.directory)) for _ in range(WRITERS)]
        messages = [appends(server.open_turn(), 1000) for server in servers]
        for window in (1, 64):
            alone: list[Together] = []
            together: list[Together] = []
            for _ in range(min(3, options.rounds)):
                alone.append(_drive(servers[:1], messages, window))
                together.append(_drive(servers, messages, window))
            rows += _rows("one at a time" if window == 1 else "64 in flight", alone, together)
    return rows


def _rows(how: str, alone: Sequence[Together], together: Sequence[Together]) -> list[Row]:
    one, all_of_them = (median([run.rate for run in runs]) for runs in (alone, together))
    counts = [sum(of_one) for of_one in zip(*(run.counts for run in together), strict=True)]
    slowest, fastest = min(counts), max(counts)
    errors = sum(run.errors for run in (*alone, *together))
    what = f"{WRITERS} writers, each {how}"
    return [
        Row(what, rate(all_of_them), f"one writer {rate(one)}", all_of_them / one, at_least(0.7)),
        Row(f"{what}: slowest", f"{slowest:,} appends", f"fastest {fastest:,}", slowest / fastest, at_least(0.5)),
        Row(f"{what}: errors", f"{errors}", f"of {sum(counts):,}", errors, at_most(0, "errors")),
    ]


def _drive(servers: Sequence[Server], messages: Sequence[Sequence[bytes]], window: int) -> Together:
    """Keep ``window`` appends in flight with each server for a while; then wait for what is in flight."""
    counts, errors, sent = [0] * len(servers), 0, [0] * len(servers)
    replies = [MarkerCounter(REPLY) for _ in servers]
    failures = [MarkerCounter(b'"error"') for _ in servers]
    with selectors.DefaultSelector() as selector:
        for number, server in enumerate(servers):
            selector.register(server, selectors.EVENT_READ, number)
            server.write(b"".join(messages[number][:window]))
            sent[number] = window
        begun = time.perf_counter()
        while (going := time.perf_counter() < begun + SECONDS) or sum(counts) + errors < sum(sent):
            for key, _ in selector.select(1.0):
                number = key.data
                data = servers[number].read()
                done, failed = replies[number].add(data), failures[number].add(data)
                counts[number] += done
                errors += failed
                if going and done + failed:
                    start = sent[number] % (len(messages[number]) - window)
                    servers[number].write(b"".join(messages[number][start : start + done + failed]))
                    sent[number] += done + failed
        return Together(counts, errors, time.perf_counter() - begun)

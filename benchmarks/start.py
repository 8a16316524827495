"""From starting the process to its first reply."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.driver import Process, request, server_command
from benchmarks.report import Options, Row, at_most, median, milliseconds

FIRST = request(1, "session/create", {"title": "the first of a script"})


def run(options: Options) -> list[Row]:
    initialize = request(1, "initialize", peers.INITIALIZE, headers=True)
    known = options.directory / "known"
    known.mkdir()
    # Makes the store, and what Python compiles once.
    _first_reply(server_command(known), known, FIRST)
    new = iter(range(options.rounds))
    subjects: dict[str, Callable[[], float]] = {
        "stock": lambda: _first_reply(peers.stock_command(), options.directory, initialize),
        "ours": lambda: _first_reply(server_command(known), known, initialize),
        "script": lambda: _first_reply(server_command(known), known, FIRST),
        "new store": lambda: _on_new_store(options.directory / f"new-{next(new)}"),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for name, measure in subjects.items():
            taken[name].append(measure())
    return _rows({name: median(found) for name, found in taken.items()})


def _on_new_store(directory: Path) -> float:
    directory.mkdir()
    return _first_reply(server_command(directory), directory, FIRST)


def _first_reply(command: Sequence[str], directory: Path, message: bytes) -> float:
    """Seconds until the reply to the very first message was here."""
    begun = time.perf_counter()
    with Process(command, directory, headers=message.startswith(b"Content-Length")) as process:
        process.exchange(message)
        return time.perf_counter() - begun


def _rows(taken: dict[str, float]) -> list[Row]:
    beside = f"stock pygls' initialize {milliseconds(taken['stock'])}"

    def row(what: str, name: str, bound: float) -> Row:
        return Row(what, milliseconds(taken[name]), beside, taken[name] / taken["stock"], at_most(bound))

    return [
        row("start to the initialize reply", "ours", 0.5),
        row("start to a script's first session/create", "script", 0.5),
        row("the same, making the store", "new store", 0.5),
    ]

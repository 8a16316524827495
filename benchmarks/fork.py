"""``session/fork`` of a long session: how long it takes, what it writes, and how long others wait for the lock."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import repeat
from pathlib import Path

from benchmarks import fill
from benchmarks.driver import Server, connected
from benchmarks.report import Options, Row, at_most, median, milliseconds
from benchmarks.system import written_bytes

ROUNDS, TURNS, TEXT = 1_000, 10, "word " * 400
FILL_SECONDS = 60.0
# Another writer tries again so often while the lock is held, and so long after it had it.
AGAIN_SECONDS, PAUSE_SECONDS = 0.0003, 0.004


def run(options: Options) -> list[Row]:
    with connected(options.directory) as client:
        source = client.session_create(title="long").id
        begun = time.perf_counter()
        fill.carry_out(client, fill.rounds(source, ROUNDS, TURNS, repeat(TEXT)), FILL_SECONDS)
        filled = time.perf_counter() - begun
    database = options.directory / ".ws" / "db.sqlite"
    took: list[float] = []
    waits: list[float] = []
    with Server(options.directory) as server:
        server.request("session/list")
        before = written_bytes(server.pid)
        for _ in range(options.rounds):
            with another_writer(database) as found:
                begun = time.perf_counter()
                server.request("session/fork", sessionId=source)
                took.append(time.perf_counter() - begun)
            waits += found
        after = written_bytes(server.pid)
    turns, size = ROUNDS * TURNS, ROUNDS * TURNS * len(TEXT)
    what = f"session/fork, {turns:,} turns, {size / 1e6:.0f} MB of text"
    others = f"half of {len(waits):,}: {milliseconds(median(waits))}"
    rows = [
        Row(what, f"{median(took):.2f} s", f"written by transaction/run: {filled:.2f} s", median(took) / filled),
        Row("another writer's longest wait for the lock", milliseconds(max(waits)), others, max(waits) * 1e3,
            at_most(50, "ms")),
    ]  # fmt: skip
    if before is not None and after is not None:
        written = (after[0] - before[0]) / options.rounds
        rows.append(Row("bytes written by it", f"{written / 1e6:.1f} MB", f"text {size / 1e6:.1f} MB", written / size))
    return rows


@contextmanager
def another_writer(database: Path) -> Iterator[list[float]]:
    """Takes the write lock again and again during the block, and lets it go; how long it waited for it each time."""
    waits: list[float] = []
    is_over = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(database, isolation_level=None, timeout=0)) as connection:
            while not is_over.is_set():
                begun = time.perf_counter()
                while not _take_lock(connection):
                    time.sleep(AGAIN_SECONDS)
                waits.append(time.perf_counter() - begun)
                connection.execute("ROLLBACK")
                time.sleep(PAUSE_SECONDS)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield waits
    finally:
        is_over.set()
        writer.join()


def _take_lock(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True

"""``session/search`` in a store of 2 kB turns, with a ``LIKE`` scan of the same rows beside; and filling its index."""

from __future__ import annotations

import shutil
import sqlite3
import sysconfig
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import fill
from benchmarks.driver import Server, appends, connected, one_by_one, request
from benchmarks.report import Options, Row, at_least, at_most, median, milliseconds
from mandrake_sessions.client import SyncClient

TURN_CHARACTERS = 2000
TURNS, FULL_TURNS = 20_000, 100_000
TURNS_A_ROUND = 10
FILL_SECONDS = 600.0
SAMPLES = 7
# Appends to a measurement, and how long they go on while the index is filled.
APPENDS, BESIDE_SECONDS = 200, 5.0
INDEX = ".ws/db.sqlite-search"
# By what is asked: queries, and how many milliseconds they may take at 100,000 turns. The texts are Python's own
# library: "self" and "return" are in most of them, the second word of each pair in fewer than one in a hundred.
QUERIES: dict[str, tuple[tuple[str, ...], float]] = {
    "two words, one of them common": (("self mailbox", "return tokenizer", "import cookiejar"), 50),
    "a rare part of a word": (("ookieja", "eadinto", "lzmadec"), 100),
    "common words": (("self return", "import", "the"), 250),
}


def texts() -> Iterator[str]:
    """Python's own library, cut into turns, again and again."""
    while True:
        for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
            whole = path.read_text(encoding="utf-8", errors="ignore")
            for start in range(0, len(whole), TURN_CHARACTERS):
                yield whole[start : start + TURN_CHARACTERS]


def run(options: Options) -> list[Row]:
    turns = FULL_TURNS if options.full else TURNS
    with connected(options.directory) as client:
        session = client.session_create(title="Python's own library").id
        rounds = fill.rounds(session, turns // TURNS_A_ROUND, TURNS_A_ROUND, texts())
        fill.carry_out(client, rounds, FILL_SECONDS)
    # What was filled meanwhile does not count.
    shutil.rmtree(options.directory / INDEX)
    with connected(options.directory) as client:
        rows = _filling(client, options.directory, turns)
    rows.append(_beside(options))
    with Server(options.directory) as server:
        for what, (queries, bound) in QUERIES.items():
            rows.append(_search(server, options.directory, f"{what}, {turns:,} turns", queries, bound))
    return rows


def _filling(client: SyncClient, directory: Path, turns: int) -> list[Row]:
    """From no index at all to one in which nothing is missing."""
    begun = time.perf_counter()
    # A query without terms looks for nothing.
    missing = client.session_search(query="").pending
    while client.session_search(query="").pending:
        time.sleep(0.25)
    seconds = time.perf_counter() - begun
    with closing(_database(directory)) as database:
        (size,) = database.execute("SELECT sum(length(CAST(content AS BLOB))) FROM text").fetchone()
    index = sum(file.stat().st_size for file in (directory / INDEX).glob("*.sqlite"))
    rate = size * missing / turns / seconds / 1e6
    return [
        Row("search index: filling", f"{missing:,} turns in {seconds:.0f} s", "", rate, at_least(4, "MB/s")),
        Row("search index: size", f"{index / 1e6:.0f} MB", f"text {size / 1e6:.0f} MB", index / size, at_most(0.8)),
    ]


def _beside(options: Options) -> Row:
    """Appends one at a time while the index is filled from its beginning, and then without that."""
    shutil.rmtree(options.directory / INDEX)
    with Server(options.directory) as server:
        messages = appends(server.watched_turn(), APPENDS)
        begun = time.perf_counter()
        during = [one_by_one(server, messages, b"\n", 2)]
        while server.request("session/search", query="")["pending"] and time.perf_counter() < begun + BESIDE_SECONDS:
            during.append(one_by_one(server, messages, b"\n", 2))
        while server.request("session/search", query="")["pending"]:
            time.sleep(0.25)
        alone = [one_by_one(server, messages, b"\n", 2) for _ in during]
    with_it, without = (median([taken for each in found for taken in each]) for found in (during, alone))
    what = "append + push while the index fills: p50"
    return Row(what, milliseconds(with_it), f"without {milliseconds(without)}", with_it / without, at_most(3))


def _search(server: Server, directory: Path, what: str, queries: tuple[str, ...], bound: float) -> Row:
    messages = [request(1, "session/search", {"query": query}) for query in queries]
    taken = [server.seconds_of(message) for message in messages * SAMPLES]
    scanned: list[float] = []
    with closing(_database(directory)) as database:
        for query in queries:
            begun = time.perf_counter()
            _scan(database, query)
            scanned.append(time.perf_counter() - begun)
    found = median(taken)
    beside = f"LIKE scan {milliseconds(median(scanned))}"
    return Row(f"session/search: {what}", milliseconds(found), beside, found * 1000, at_most(bound, "ms"))


def _scan(database: sqlite3.Connection, query: str) -> list[Any]:
    words = [f"%{word}%" for word in query.split()]
    both = "SELECT pk FROM text WHERE content LIKE ? AND content LIKE ?"
    return database.execute(both, (words[0], words[-1])).fetchall()


def _database(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{directory / '.ws/db.sqlite'}?mode=ro", uri=True)

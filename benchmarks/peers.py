"""Who stands beside us in the tables: each is a program of this directory, or a few SQL statements."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.driver import PIECE, Process, request

HERE = Path(__file__).parent
MIGRATIONS = HERE.parent / "migrations"
INITIALIZE: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}


def stock_command() -> list[str]:
    return [sys.executable, "-P", str(HERE / "stock_server.py")]


def stock(directory: Path) -> Process:
    """A stock pygls server."""
    return Process(stock_command(), directory, headers=True)


def no_ops(count: int) -> list[bytes]:
    """Requests to a stock server."""
    return [request(1000 + number, "no/op", {}, headers=True) for number in range(count)]


def bare_loop(directory: Path, name: str, *, joined: bool) -> Process:
    """The loop that does an append's JSON and SQL and nothing else, on a file of its own."""
    script, database = str(HERE / "bare_loop.py"), str(directory / f"{name}.sqlite")
    flags = ["joined"] if joined else []
    return Process([sys.executable, "-P", script, database, str(MIGRATIONS), *flags], directory)


class Rewriting:
    """A turn whose text is one column that every piece rewrites, as most products have it; in this very process, with
    neither JSON nor pipes."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("CREATE TABLE turn (id INTEGER PRIMARY KEY, content TEXT NOT NULL) STRICT")

    def seconds(self, length: int, count: int, bound: float) -> list[float]:
        """What each of ``count`` pieces took after ``length`` others; fewer where it goes on beyond ``bound``."""
        connection = self._connection
        connection.execute("INSERT OR REPLACE INTO turn VALUES (1, ?)", (PIECE * length,))
        taken: list[float] = []
        end = time.perf_counter() + bound
        while len(taken) < count and (begun := time.perf_counter()) < end:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE turn SET content = content || ? WHERE id = 1", (PIECE,))
            connection.execute("COMMIT")
            taken.append(time.perf_counter() - begun)
        return taken

    def close(self) -> None:
        self._connection.close()


def agents_session(python: str, database: Path, kind: str, pieces: int, seconds: float) -> float | None:
    """Pieces a second of the OpenAI Agents SDK's session; None where that Python does not have it."""
    command: Sequence[str] = [
        *(python, "-P", str(HERE / "agents_session.py")),
        *(str(database), kind, str(pieces), str(seconds)),
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60 + seconds, check=True).stdout.split()
    return int(said[0]) / float(said[1]) if said else None

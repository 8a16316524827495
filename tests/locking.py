"""Another program that has a store open."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from wire import store_of

WRITE_LOCK = "BEGIN IMMEDIATE"


@contextmanager
def holding(workspace: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """Carries statements out first; what it holds then it lets go at the end of the block, or before."""
    connection = sqlite3.connect(store_of(workspace), isolation_level=None, check_same_thread=False)
    with closing(connection):
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection

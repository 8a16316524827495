"""A program with a fault in it, and a store that another program made unreadable."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from wire import store_of

# The program with a fault in it: from ``break_program`` on, each of its statements on one table is wrong.
FAULTY = (
    sys.executable,
    "-c",
    """
import sys
from pathlib import Path
from mandrake_sessions.store.sqlite.connect import StoreConnection
def execute(self, statement, *given, well=StoreConnection.execute):
    broken = Path("broken.table")
    if broken.exists() and f"FROM {broken.read_text()} " in statement.replace("\\n", " "):
        statement, given = "SELECT nobody_knows_this()", ()
    return well(self, statement, *given)
StoreConnection.execute = execute
from mandrake_sessions.cli import main
sys.exit(main())
""",
    "serve",
)


def break_program(workspace: Path, table: str) -> None:
    """What nobody foresees; the server must be FAULTY."""
    (workspace / "broken.table").write_text(table)


def break_table(workspace: Path, table: str) -> None:
    """Another program puts something in the place of a table that fails whenever it is read."""
    with closing(sqlite3.connect(store_of(workspace))) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO {table}_hidden")
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM {table}_hidden WHERE nobody_knows_this()")  # noqa: S608

"""The kinds of stores that the suite runs on. A new kind is one class more, in ``BACKENDS``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from conformance import memory
from mandrake_sessions import SessionManager
from mandrake_sessions.store.interface import Sql
from mandrake_sessions.store.sqlite.connect import StoreConnection
from strict import StrictSyncClient, connected
from wire import Framing, Wire, serving


class Backend(Protocol):
    """One store, new for each test."""

    def __init__(self, directory: Path) -> None: ...
    def manager(self, *, quick: bool = False) -> SessionManager:
        """A manager of the store, not open yet; another one each time. ``quick``: a power cut is not what is tried."""

    def serving(self, workspace: Path, framing: Framing = "lines", *flags: str) -> AbstractContextManager[Wire]:
        """A server whose stores are of this kind, for the block."""

    def connected(self, workspace: Path, *flags: str, **options: Any) -> AbstractContextManager[StrictSyncClient]:
        """The same, with the package's client; see ``strict.connected``."""

    def traced(self, sql: Sql) -> AbstractContextManager[list[str]]:
        """The statements that the block carries out."""

    def damage(self, manager: SessionManager) -> list[str]:
        """What the store itself finds wrong with its tables and indexes."""

    def remove(self) -> None:
        """The test is over."""


class SqliteFiles:
    """The store that is shipped: SQLite files."""

    def __init__(self, directory: Path) -> None:
        self._database = directory / "store" / "db.sqlite"

    def manager(self, *, quick: bool = False) -> SessionManager:
        return SessionManager(self._database, durability="normal" if quick else "balanced")

    def serving(self, workspace: Path, framing: Framing = "lines", *flags: str) -> AbstractContextManager[Wire]:
        return serving(workspace, framing, *flags)

    def connected(self, workspace: Path, *flags: str, **options: Any) -> AbstractContextManager[StrictSyncClient]:
        return connected(workspace, *flags, **options)

    @contextmanager
    def traced(self, sql: Sql) -> Iterator[list[str]]:
        assert isinstance(sql, StoreConnection)
        with _traced(sql) as statements:
            yield statements

    def damage(self, manager: SessionManager) -> list[str]:
        return _damage(manager)

    def remove(self) -> None:
        """The directory goes with the test."""


class InMemory:
    """The store of ``memory.py``."""

    _PROGRAM = (
        f"import sys; sys.path.append({str(Path(__file__).parents[1])!r}); from conformance import memory; "
        "memory.install(); from mandrake_sessions.cli import main; sys.exit(main())"
    )
    _COMMAND = (sys.executable, "-c", _PROGRAM, "serve")

    def __init__(self, directory: Path) -> None:
        self._name = f"memory:{directory}"

    def manager(self, *, quick: bool = False) -> SessionManager:
        return SessionManager.of(memory.MemoryStore(self._name))

    def serving(self, workspace: Path, framing: Framing = "lines", *flags: str) -> AbstractContextManager[Wire]:
        return serving(workspace, framing, *flags, command=self._COMMAND)

    def connected(self, workspace: Path, *flags: str, **options: Any) -> AbstractContextManager[StrictSyncClient]:
        return connected(workspace, *flags, command=self._COMMAND, **options)

    @contextmanager
    def traced(self, sql: Sql) -> Iterator[list[str]]:
        assert isinstance(sql, memory.MemorySql)
        with _traced(sql.connection) as statements:
            yield statements

    def damage(self, manager: SessionManager) -> list[str]:
        return _damage(manager)

    def remove(self) -> None:
        memory.forget(self._name)


BACKENDS: dict[str, type[Backend]] = {"sqlite": SqliteFiles, "memory": InMemory}


@contextmanager
def new(kind: type[Backend]) -> Iterator[Backend]:
    """A new store of a kind, for one of many examples."""
    with tempfile.TemporaryDirectory() as directory:
        made = kind(Path(directory))
        yield made
        made.remove()


def _damage(manager: SessionManager) -> list[str]:
    with manager.store.reading() as sql:
        return [row[0] for row in sql.execute("PRAGMA integrity_check") if row[0] != "ok"]


@contextmanager
def _traced(connection: Any) -> Iterator[list[str]]:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    try:
        yield statements
    finally:
        connection.set_trace_callback(None)

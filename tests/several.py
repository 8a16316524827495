"""Several stores of one user, for tests of what is asked of all of them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from wire import Message, Wire, clean_environment, serving, store_of


class Desk:
    """A home, and workspaces that share it. ``extra``: more of the environment."""

    def __init__(self, directory: Path, **extra: str) -> None:
        self.directory = directory
        self.environment = clean_environment(directory) | extra
        self.home = Path(self.environment["MANDRAKE_HOME"])

    @property
    def register(self) -> Path:
        return self.home / "stores.sqlite"

    def workspace(self, name: str) -> Path:
        made = self.directory / name
        (made / ".git").mkdir(parents=True, exist_ok=True)
        return made

    def serving(self, name: str, *flags: str, **options: Any) -> AbstractContextManager[Wire]:
        """A server in a workspace of this name."""
        options.setdefault("environment", self.environment)
        return serving(self.workspace(name), "lines", *flags, **options)

    def filled(self, *names: str, sessions: int = 1) -> dict[str, str]:
        """Workspaces with some sessions each, used in this order; gives the ``storeId`` of each."""
        store_ids = {}
        for name in names:
            with self.serving(name) as wire:
                for number in range(sessions):
                    wire.request("session/create", title=f"{name} {number}")
                store_ids[name] = wire.request("session/list")["storeId"]
        return store_ids

    def store(self, name: str) -> Path:
        return store_of(self.workspace(name))

    def registered(self) -> list[tuple[Any, ...]]:
        """What is in the register; nothing while it is being made."""
        with closing(sqlite3.connect(self.register)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return []
            return connection.execute("SELECT path, store_id, last_used_at, gone_since FROM store").fetchall()

    def change_register(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.register, isolation_level=None)) as connection:
            connection.execute(statement, values)

    def remove(self, name: str) -> None:
        shutil.rmtree(self.workspace(name))


def listed(wire: Wire) -> dict[str, Message]:
    """``store/list`` by the names of the workspaces; the user's own store is ``""``."""
    stores = wire.request("store/list")["stores"]
    return {Path(store["workspace"]).name if store["workspace"] else "": store for store in stores}


def pages(wire: Wire, limit: int, **params: Any) -> Iterator[Message]:
    """Every page of ``session/list`` with all stores."""
    cursor = None
    while True:
        page = wire.request("session/list", scope="all", limit=limit, cursor=cursor, **params)
        assert (page["seq"], page["storeId"]) == (None, None)
        yield page
        cursor = page["nextCursor"]
        if cursor is None:
            return


def titles(wire: Wire, limit: int = 50, **params: Any) -> list[str]:
    """The titles of all sessions, which must all be readable."""
    found = []
    for page in pages(wire, limit, **params):
        assert page["unavailable"] == []
        found += [session["title"] for session in page["sessions"]]
    return found


def files(directory: Path) -> dict[str, tuple[int, ...]]:
    """Every file and directory below, with what changes when one is written to."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(directory.rglob("*")):
        state = path.lstat()
        found[str(path)] = (state.st_ino, state.st_size, state.st_mode, state.st_mtime_ns)
    return found

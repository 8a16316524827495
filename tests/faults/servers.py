"""Servers for these tests: one whose disk can fail, and one that opens many stores to look what is in them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from faults.injector import why_not
from faults.ledger import State, check_feed, read_state
from wire import Wire

_TESTS = Path(__file__).parents[1]
_SERVE = (
    f"import sys; sys.path.append({str(_TESTS)!r}); from faults import {{0}}; {{0}}.install(); "
    "from mandrake_sessions.cli import main; sys.exit(main())"
)

_TIMES = max(1, int(os.environ.get("MANDRAKE_SESSIONS_FAULTS", "1")))
needs_injector = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def seeds(*given: int) -> list[int]:
    """Always the same ones, so that a failure is a failure for everybody. With ``MANDRAKE_SESSIONS_FAULTS=20`` in the
    environment twenty times as many are tried."""
    return [seed + 1000 * n for n in range(_TIMES) for seed in given]


def with_module(name: str) -> tuple[str, ...]:
    """The command of a real server that runs ``install`` of a module of ours before anything else."""
    return (sys.executable, "-c", _SERVE.format(name), "serve")


class Faulty:
    """A server with the injector in it, on the store of a workspace (see ``injector``)."""

    def __init__(self, workspace: Path, control: Path, *flags: str, plan: Mapping[str, Any] | None = None) -> None:
        self.trace = control / "trace"
        self._plan = control / "plan"
        self.set_plan(plan or {})
        environment = {"FAULTS_TRACE": str(self.trace), "FAULTS_PLAN": str(self._plan)}
        self.wire = Wire(workspace, "lines", *flags, command=with_module("injector"), environment=environment)

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        """What goes wrong from now on. Renamed into its place, so the server sees the old one or the new one."""
        fresh = self._plan.with_suffix(".new")
        fresh.write_text(json.dumps(plan))
        fresh.replace(self._plan)

    def mark(self) -> int:
        """The length of the trace now."""
        return self.trace.stat().st_size if self.trace.exists() else 0


@contextmanager
def faulty(workspace: Path, control: Path, *flags: str, plan: Mapping[str, Any] | None = None) -> Iterator[Faulty]:
    """Such a server for the block; killed at its end, if it is not dead already."""
    control.mkdir(exist_ok=True)
    server = Faulty(workspace, control, *flags, plan=plan)
    try:
        yield server
    finally:
        server.wire.kill()


class Inspector:
    """A server that opens one disk after the other, as a workspace folder each, and says what is there."""

    def __init__(self, directory: Path, wire: Wire) -> None:
        self._directory = directory
        self._wire = wire
        self._number = itertools.count()
        self.replayed = 0

    def look(self, files: Mapping[str, bytes]) -> State:
        """What the program finds in these files. The file must be sound, and the feed the same as what is stored."""
        folder = self._directory / f"disk-{next(self._number)}"
        store = folder / ".ws"
        store.mkdir(parents=True)
        for name, content in files.items():
            (store / name).write_bytes(content)
        self._change(added=[folder])
        where = {"workspace": folder.as_uri()}
        state = read_state(self._wire, **where)
        self.replayed += check_feed(self._wire, state, **where)
        check_sound(store / "db.sqlite")
        self._change(removed=[folder])
        # The server closes the store on a thread, and its files go one by one meanwhile.
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        return state

    def _change(self, added: list[Path] = [], removed: list[Path] = []) -> None:  # noqa: B006
        event = {
            "added": [{"uri": path.as_uri(), "name": path.name} for path in added],
            "removed": [{"uri": path.as_uri(), "name": path.name} for path in removed],
        }
        self._wire.notify("workspace/didChangeWorkspaceFolders", event=event)
        self._wire.request("server/info")


@contextmanager
def inspecting() -> Iterator[Inspector]:
    """In memory where that can be, since a sync for every disk takes long. Turns of processes that are gone are left as
    they are, so that nothing moves while it looks."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        home = Path(name) / "home"
        (home / ".git").mkdir(parents=True)
        wire = Wire(home, "lines", "--lease-seconds", "3600")
        try:
            wire.initialize(workspaceFolders=[{"uri": home.as_uri(), "name": "home"}])
            yield Inspector(Path(name), wire)
        finally:
            wire.kill()


def check_sound(database: Path) -> None:
    """SQLite's own checks of the file, by another process than the server."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []

"""Stores whose round trips are long, for tests: calls to the store of a workspace each take a while, and it runs on a
thread of its own. It is a file, or in memory. The system's store is a file and as fast as ever.

A file named ``hold`` in the working directory makes every write wait until it is gone. Each write transaction leaves a
line in ``transactions``, and each round trip that the event loop itself made leaves one in ``on-the-loop``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from conformance import memory
from conformance.memory import MemoryStore
from mandrake_sessions.store import engines
from mandrake_sessions.store.interface import Store
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sqlite.store import SqliteStore

Kind = Literal["file", "memory"]

HOLD, TRANSACTIONS, ON_THE_LOOP = "hold", "transactions", "on-the-loop"
KIND, ROUND_TRIP = "SLOW_STORE_KIND", "SLOW_STORE_SECONDS"
ROUND_TRIP_SECONDS = 0.004
# What blocks, beside transactions and watches.
_BLOCKING = (
    "open",
    "reading",
    "snapshot",
    "last_seq",
    "check",
    "look_after_lease",
    "dead_lease",
    "inspection",
    "give_back",
    "checkpoint",
)
_PROGRAM = (
    f"import sys; sys.path.append({str(Path(__file__).parents[1])!r}); from connection import slow_store; "
    "slow_store.install(); from mandrake_sessions.cli import main; sys.exit(main())"
)


def server(kind: Kind = "file", round_trip: float = ROUND_TRIP_SECONDS) -> dict[str, Any]:
    """What starts such a server, for ``wire.serving``."""
    return {
        "command": (sys.executable, "-c", _PROGRAM, "serve"),
        "environment": {KIND: kind, ROUND_TRIP: str(round_trip)},
    }


def install() -> None:
    """In a server of these tests, before anything of it is loaded."""
    kind = SlowFile if os.environ[KIND] == "file" else SlowMemory
    is_there = engines.is_there

    def store_at(name: str, settings: StoreSettings) -> Store:
        store: Any = (kind if _is_slow(name) else SqliteStore)(name, settings)
        return store  # type: ignore[no-any-return]

    def is_there_now(name: str) -> bool:
        return memory.is_there(name) if kind is SlowMemory and _is_slow(name) else is_there(name)

    engines.store_at = store_at
    engines.is_there = is_there_now  # type: ignore[assignment]


def _is_slow(name: str) -> bool:
    return Path(name).parent.name == ".ws"


# Of either kind.
_Base: Any = object


class _Slow(_Base):  # type: ignore[misc]
    """In front of the store that it slows down."""

    runs_on: Literal["thread"] = "thread"

    def __init__(self, name: str, settings: StoreSettings) -> None:
        super().__init__(name, settings)
        self._directory = Path.cwd()
        self._seconds = float(os.environ[ROUND_TRIP])
        self._writer: int | None = None
        self._is_closing = False
        for call in _BLOCKING:
            if hasattr(self, call):
                setattr(self, call, self._slowed(call, getattr(self, call)))

    def transaction(self, **options: Any) -> AbstractContextManager[Any]:
        self._round_trip("transaction")
        whole = self._writer != threading.get_ident()
        found = super().transaction(**options)
        return self._held_back(found) if whole else found

    @contextmanager
    def _held_back(self, transaction: AbstractContextManager[Any]) -> Iterator[Any]:
        while (self._directory / HOLD).exists():
            time.sleep(0.002)
        with transaction as running:
            self._writer = threading.get_ident()
            try:
                yield running
            finally:
                self._writer = None
            self._round_trip("commit")
        _note(self._directory / TRANSACTIONS, threading.current_thread().name)

    def watch(self) -> Any:
        self._round_trip("watch")
        found: Any = super().watch()
        for call in ("moved", "last_seq", "close"):
            setattr(found, call, self._slowed(call, getattr(found, call)))
        return found

    def facts(self) -> Any:
        # What can be told of one that is not open takes no round trip.
        if self.is_open:
            self._round_trip("facts")
        return super().facts()

    def close(self, last_words: Callable[[], object]) -> None:
        # The end of the server is the one thing that waits for the store.
        self._is_closing = True
        super().close(last_words)
        self._is_closing = False

    def _slowed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any, **options: Any) -> Any:
            self._round_trip(name)
            return call(*arguments, **options)

        return slow

    def _round_trip(self, name: str) -> None:
        if threading.current_thread() is threading.main_thread() and not self._is_closing:
            _note(self._directory / ON_THE_LOOP, f"{name}: {''.join(traceback.format_stack(limit=12))}")
        time.sleep(self._seconds)


class SlowFile(_Slow, SqliteStore):  # type: ignore[misc]
    """A file."""


class SlowMemory(_Slow, MemoryStore):  # type: ignore[misc]
    """In memory, so it is another store for each process."""


def _note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")

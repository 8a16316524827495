"""Waits for a lock, and finds the process that holds it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mandrake_sessions.errors import Busy
from mandrake_sessions.stopping import check_wanted
from mandrake_sessions.store.sqlite.failures import is_locked
from mandrake_sessions.waiting import backoff

T = TypeVar("T")

# The byte of the -shm that a writer locks: SQLite's file format, "WAL-index locks".
_WAL_WRITE_LOCK = 120


def retry_while_locked(work: Callable[[], T], budget: float, path: str, on_busy: Callable[[], None] | None = None) -> T:
    """Run ``work``, and try again while another connection holds a lock; gives its result. Blocks the thread for up to
    ``budget`` seconds.

    Raises:
        Busy: the budget is used up. A budget of 0 is used up at once, for callers that wait by other means.
    """
    started, delays = 0.0, None
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
            check_wanted()
            if on_busy is not None:
                on_busy()
            if delays is None:
                started, delays = time.monotonic(), backoff(budget)
            delay = next(delays, None)
            if delay is None:
                waited_ms = round((time.monotonic() - started) * 1000)
                raise Busy(path, waited_ms, lock_holder(path)) from error
        time.sleep(delay)


def lock_holder(path: str) -> str | None:
    """The process that holds the write lock, such as ``process 4711 (python3)``; None if the system does not tell.

    It reads Linux's list of locks. Asking the file would mean opening it, and closing that handle would drop all of
    SQLite's locks of this process.
    """
    try:
        inode = os.stat(path + "-shm").st_ino  # noqa: PTH116
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    for line in locks.splitlines():
        pid = _writer(line.split(), inode)
        if pid is not None:
            return f"process {pid} ({_command(pid)})"
    return None


def _writer(fields: list[str], inode: int) -> int | None:
    """The pid in a line such as ``1: POSIX ADVISORY WRITE 4711 fd:00:1234 120 120``, if it is this lock."""
    if len(fields) != 8 or fields[3] != "WRITE" or not fields[5].endswith(f":{inode}"):
        return None
    first, last = int(fields[6]), (1 << 62) if fields[7] == "EOF" else int(fields[7])
    return int(fields[4]) if first <= _WAL_WRITE_LOCK <= last else None


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "of another namespace"

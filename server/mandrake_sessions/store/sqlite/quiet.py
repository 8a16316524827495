"""Whether anybody changes a file, as far as its times, its size and what lies beside it show that."""

from __future__ import annotations

import os
import time
from typing import Final

from attrs import frozen

from mandrake_sessions.store.sqlite.identity import SHM, TICK_NS, WAL

# When each of the files was written to last, its size and its number; None where there is none.
Stamp = tuple[tuple[int, int, int] | None, ...]
_BESIDE: Final = (WAL, SHM, "-journal")


@frozen
class Look:
    """What a file looks like. ``is_open``: somebody has it open, or had when his process was killed. ``is_settled``:
    another change would show."""

    device: int
    inode: int
    size: int
    changed_ns: int
    is_open: bool
    is_settled: bool


def look(path: str) -> Look:
    """Raises OSError."""
    found = os.stat(path)  # noqa: PTH116
    is_open = any(os.path.exists(path + suffix) for suffix in _BESIDE)  # noqa: PTH110
    is_settled = _is_settled(found.st_ctime_ns)
    return Look(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, is_open, is_settled)


def stamp(path: str) -> tuple[Stamp, bool]:
    """What changes with each commit to a database, and whether another commit would show. None of it need be there."""
    found = tuple(_stat(path + suffix) for suffix in ("", WAL))
    newest = max((each[0] for each in found if each is not None), default=0)
    return found, _is_settled(newest)


def _is_settled(changed_ns: int) -> bool:
    """Whether a second change, shortly after the first, would show: the clock of files ticks."""
    return abs(time.time_ns() - changed_ns) > TICK_NS


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

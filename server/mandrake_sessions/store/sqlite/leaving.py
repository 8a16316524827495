"""How servers leave a file together whose -wal or -shm was deleted, so that the last of them completes it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from mandrake_sessions.errors import Busy
from mandrake_sessions.file_locks import fcntl
from mandrake_sessions.store.sqlite.handles import open_handles, own_handle
from mandrake_sessions.store.sqlite.no_checkpoint import SHARED_AT, SHARED_BYTES
from mandrake_sessions.store.sqlite.setup_lock import opening_lock

# A server looks once a second whether its files are in their places, waits until nobody changes them, and closes them.
# One that is stopped for longer, or another program that has the file open, is not waited for.
LEFT_WITHIN_SECONDS: Final = 5.0
# Where the locks of other processes cannot be seen.
UNSEEN_SECONDS: Final = 1.5
_ALONE_WITHIN_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02


@contextmanager
def alone(path: str) -> Iterator[None]:
    """While the block runs, no other process opens the file for writing, or leaves it. After a few seconds of waiting
    it runs all the same."""
    with ExitStack() as held:
        with suppress(Busy):
            held.enter_context(opening_lock(path, _ALONE_WITHIN_SECONDS))
        yield


def await_all_left(path: str, lost: frozenset[str]) -> None:
    """Wait until no other process has the file open, or one has come back: that makes anew what was ``lost``. This
    process has closed it."""
    began = time.monotonic()
    while not any(os.path.exists(path + suffix) for suffix in lost):  # noqa: PTH110
        is_open = _is_open_elsewhere(path)
        waits = LEFT_WITHIN_SECONDS if is_open else UNSEEN_SECONDS
        if is_open is False or time.monotonic() - began > waits:
            return
        time.sleep(_LOOK_SECONDS)


def _is_open_elsewhere(path: str) -> bool | None:
    """Whether another process has a connection to the file: in WAL mode each holds a reader's lock on it. None where
    that cannot be told: there are no locks, or this process has the file open too, and closing another handle would
    drop the locks of its connection."""
    try:
        if fcntl is None or own_handle(os.stat(path), open_handles()) is not None:  # noqa: PTH116
            return None
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, SHARED_BYTES, SHARED_AT)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False

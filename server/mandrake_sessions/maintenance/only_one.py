"""Work on a store that one process alone does at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.file_locks import fcntl
from mandrake_sessions.store.sqlite import lock_files


class DoneByAnother(SessionsError):
    """Another process does it already."""


@contextmanager
def only_one(database: str, work: str, told: str) -> Iterator[None]:
    """Whoever does this work in the block. The others get DoneByAnother with this text; when the process is gone, the
    next one can. Without locks of files (Windows) nobody is held up."""
    if fcntl is None:
        yield
        return
    name = f"{work}.lock"
    handle = lock_files.named_lock(database, name)
    if handle is None:
        raise DoneByAnother(told)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(f"{database}-run{os.sep}{name}")  # noqa: PTH108
        lock_files.remove_if_empty(database)
        os.close(handle)

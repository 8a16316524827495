"""What the operating system says of a file that is not opened for it: to open a database, its -wal or -shm, and close
that handle again would drop SQLite's locks.
"""

from __future__ import annotations

import os


def file_size(path: str) -> int:
    """Bytes; 0 where there is no such file. A -wal may go at any moment, with the last process that closes it."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0

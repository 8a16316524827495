"""The thresholds for ``doctor`` and for the warnings in a server's health."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.store.sqlite.connect import JOURNAL_SIZE_LIMIT

# SQLite empties a -wal when nobody reads from it. At twice the size that SQLite cuts it to, some process has kept a
# read open for long.
WAL_DEBT: Final = 2 * JOURNAL_SIZE_LIMIT
WAL_ADVICE: Final = "close the program that reads from it without a pause"
# Free bytes on the disk.
NEARLY_FULL: Final = 100 * 1024 * 1024
DISK_ADVICE: Final = "make room on the disk"

"""The thresholds and the advice that ``doctor`` and the warnings in a server's health share."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.store.sqlite.connect import JOURNAL_SIZE_LIMIT

# SQLite empties a -wal when nobody reads from it. At twice the size that SQLite cuts it to, some process has kept a
# read open for long.
WAL_DEBT: Final = 2 * JOURNAL_SIZE_LIMIT
WAL_ADVICE: Final = "close the program that reads from it without a pause"
# Of a copy that ``rescue.py`` has made.
RESCUED: Final = "holds what a -wal held that was deleted"
RESCUED_ADVICE: Final = "open it to see what is in it, then restore or delete it"
# Free bytes on the disk.
NEARLY_FULL: Final = 100 * 1024 * 1024
DISK_ADVICE: Final = "make room on the disk"

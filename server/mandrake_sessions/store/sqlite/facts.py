"""What counts as too much or too little, for ``doctor`` and for the health that a server tells."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.store.sqlite.connect import JOURNAL_SIZE_LIMIT

# A -wal is emptied when nobody reads from it; at twice what SQLite cuts it to, somebody has not let go for long.
WAL_DEBT: Final = 2 * JOURNAL_SIZE_LIMIT
WAL_ADVICE: Final = "close who reads from it all the time"
# Bytes that are free on the disk.
NEARLY_FULL: Final = 100 * 1024 * 1024
DISK_ADVICE: Final = "make room on the disk"

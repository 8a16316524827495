"""What the operating system says of a process."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def resident_bytes(pid: int) -> int:
    """Its memory that is in RAM."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True)
    return int(shown.stdout) * 1024


def written_bytes(pid: int) -> tuple[int, int] | None:
    """``wchar`` and ``write_bytes``: what it gave to write calls, pipes included, and the pages that it made dirty.

    None where there is no /proc.
    """
    path = Path(f"/proc/{pid}/io")
    if not path.exists():
        return None
    shown = dict(line.split(": ") for line in path.read_text().splitlines())
    return int(shown["wchar"]), int(shown["write_bytes"])


def cpu_seconds(pid: int) -> float | None:
    """Time that all its threads had a core, to the nanosecond. None where there is no /proc."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9 if threads else None


def cpu_share(pid: int, seconds: float) -> float | None:
    """Percent of one core that it uses while we wait."""
    before, begun = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    after = cpu_seconds(pid)
    if before is None or after is None:
        return None
    return (after - before) / (time.perf_counter() - begun) * 100


def store_bytes(directory: Path) -> tuple[int, int]:
    """The sizes of a workspace's database and of its WAL. Only ``stat``: opening them would drop SQLite's locks."""
    database, wal = directory / ".ws" / "db.sqlite", directory / ".ws" / "db.sqlite-wal"
    return database.stat().st_size, wal.stat().st_size if wal.exists() else 0

"""``import --follow`` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from importing.importing import Place
from mandrake_sessions.errors import SessionsError
from wire import SERVER

PATIENCE = 60
# The program in a Python without ctypes, where nothing tells of changes.
WITHOUT_INOTIFY = [
    sys.executable,
    "-c",
    "import sys; sys.modules['ctypes'] = None; from mandrake_sessions.cli import main; sys.exit(main())",
]


class Follower:
    """It follows from its start on. ``errors``: what it has said on stderr."""

    def __init__(self, place: Place, *arguments: str | Path, program: list[str] | None = None) -> None:
        words = [*(program or SERVER), "import", "--follow", "--database", str(place.database), *map(str, arguments)]
        environment = place.environment
        self.errors = place.workspace / f"errors-{time.monotonic_ns()}"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                words, cwd=place.workspace, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Following"):
                return
        raise AssertionError(self.errors.read_text())

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def following(place: Place, *arguments: str | Path, program: list[str] | None = None) -> Iterator[Follower]:
    """It must be there at the end of the block."""
    follower = Follower(place, *arguments, program=program)
    try:
        yield follower
        assert follower.process.poll() is None
    finally:
        follower.end()
    assert "Traceback" not in follower.errors.read_text()


def until(is_so: Callable[[], bool], what: str = "") -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if is_so():
                return
        except SessionsError:
            # It is not there yet.
            pass
        assert time.monotonic() < end, what or "it never was so"
        time.sleep(0.02)


def add_line(path: Path, record: dict[str, Any] | bytes) -> None:
    """One more line, as programs write it: at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = record if isinstance(record, bytes) else json.dumps(record).encode() + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)

"""Where log records are written: a queue that nobody waits for, and behind it stderr or a file."""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# So many bytes wait for an output that takes none; what comes beyond is dropped.
MAX_WAITING_BYTES = 1024 * 1024
# At the end of the process the last records get so long (seconds), if nobody reads them.
LAST_SECONDS = 0.5
# x.log.1 is the youngest of the old files.
OLD_FILES = 3
# How long a write waits before it looks again, for an output that somebody made non-blocking.
_PATIENCE_MS = 1000


class Output(Protocol):
    """What lines are written to, by one thread. Neither raises; ``write`` may block."""

    def write(self, line: bytes) -> None: ...

    def close(self) -> None: ...


class LogQueue(logging.Handler):
    """Hands records to a thread that writes them, so that whoever logs never waits for a disk or a reader.

    Where the output takes nothing, up to ``MAX_WAITING_BYTES`` wait; later records are dropped, and their number is
    logged once there is room again. ``flush``, which ``logging`` calls at the end of the process, waits up to
    ``LAST_SECONDS``.
    """

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._line(record)
            with self._changed:
                self._put(line)
        except Exception:
            # No memory or no thread: a log that is not written must not harm what is logged.
            self._dropped += 1

    def flush(self) -> None:
        deadline = time.monotonic() + LAST_SECONDS
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._thread is None, deadline - time.monotonic())

    def close(self) -> None:
        """What waits is still written, by the thread."""
        with self._changed:
            self._closed = True
            if self._thread is None:
                self._output.close()
            self._changed.notify_all()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def _put(self, line: bytes) -> None:
        # One record may be longer than the bound; it waits alone.
        if self._closed or (self._waiting and self._waiting + len(line) > MAX_WAITING_BYTES):
            self._dropped += 1
            return
        if self._dropped:
            line = self._line(_dropped_record(self._dropped)) + line
            self._dropped = 0
        self._lines.append(line)
        self._waiting += len(line)
        if self._thread is None:
            self._start()
        self._changed.notify_all()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="mandrake-sessions-log", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No more threads may be started: the next record tries again.
            self._lines.clear()
            self._waiting = 0
            raise
        self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closed)
                if not self._lines:
                    self._output.close()
                    return
                line = self._lines.popleft()
            self._output.write(line)
            with self._changed:
                # It counts as waiting until it is written, so `flush` waits for it too.
                self._waiting -= len(line)
                self._changed.notify_all()


def _dropped_record(count: int) -> logging.LogRecord:
    words = "%d records were dropped before this one, since the log was not read or written fast enough"
    return logging.LogRecord(__package__, logging.WARNING, __file__, 0, words, (count,), None)


class StandardError:
    """The process's stderr. Nothing sets O_NONBLOCK on it: it may be shared."""

    def __init__(self) -> None:
        self._fd = -1
        # None where the process was started without one.
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                self._fd = sys.stderr.fileno()

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            if self._fd >= 0:
                write_patiently(self._fd, line)

    def close(self) -> None:
        """It is not ours to close."""


def write_patiently(fd: int, data: bytes) -> int:
    """Write to a descriptor that may be non-blocking, whoever made it so; gives how much was written before the output
    would take no more (a full disk). Raises OSError where nothing was."""
    written = 0
    while written < len(data):
        try:
            count = os.write(fd, data[written:])
        except BlockingIOError:
            # A descriptor that is not for waiting (a regular file) is never in the way like this.
            select.select([], [fd], [], _PATIENCE_MS / 1000)
            continue
        except OSError:
            if not written:
                raise
            break
        written += count
    return written


class SharedLogFile:
    """A log file that any number of processes append to and rotate; private to its owner where this makes it.

    A record is one write, so records of several processes never mix. The process that finds the file too long moves it
    away under a ``flock`` on that file, which nobody waits for: whoever does not get it writes on. Records are lost
    only with the oldest file, or where the disk takes no more.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        """Raises OSError."""
        # Links are resolved: a rotation is to move the file, not what leads to it.
        self._path = os.path.realpath(os.path.expanduser(path))  # noqa: PTH111
        self._max_bytes = max_bytes
        self._fd = self._opened()
        self._is_torn = False

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            self._make_room(len(line))
        self._append(line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _opened(self) -> int:
        """A descriptor for appending; -1 for a FIFO that nobody reads. Raises OSError."""
        # The open file is ours alone, so O_NONBLOCK changes nothing for others. With it, a FIFO holds nobody up.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            return os.open(self._path, flags, 0o600)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return -1

    def _append(self, line: bytes) -> None:
        """One write; what a full disk has cut off ends before the next record begins."""
        data = b"\n" + line if self._is_torn else line
        with suppress(OSError):
            if self._fd < 0:
                self._fd = self._opened()
            self._is_torn = self._fd >= 0 and write_patiently(self._fd, data) < len(data)

    def _make_room(self, size: int) -> None:
        """Follow the name to the file that it leads to now, and rotate that if the line is too much for it."""
        if self._fd < 0:
            return
        found = self._follow()
        if not stat.S_ISREG(found.st_mode) or not found.st_size or found.st_size + size <= self._max_bytes:
            return
        if fcntl is None:
            self._rotate()
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Another process is at it.
            return
        # Whoever had the lock before may have moved this very file; only the one that the name leads to is moved.
        if self._is_current():
            self._rotate()
        else:
            self._reopen()

    def _follow(self) -> os.stat_result:
        if not self._is_current():
            self._reopen()
        return os.fstat(self._fd)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))  # noqa: PTH116
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """Move each file one further. The last step is the one that lets others begin a new file."""
        names = [self._path, *(f"{self._path}.{number}" for number in range(1, OLD_FILES + 1))]
        for older, younger in zip(names[:0:-1], names[-2::-1], strict=True):
            with suppress(FileNotFoundError):
                os.replace(younger, older)  # noqa: PTH105
        self._reopen()

    def _reopen(self) -> None:
        """Where the name cannot be opened the old file is written on. Raises OSError."""
        fd = self._opened()
        os.close(self._fd)
        self._fd = fd
        self._is_torn = False

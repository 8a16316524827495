"""The outputs of the log: a queue on which no caller waits, and behind it stderr or a file."""

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

# The bytes of records that may wait for the output; further records are dropped.
MAX_WAITING_BYTES = 1024 * 1024
# At the end of the process the last records have so many seconds, if nobody reads them.
LAST_SECONDS = 0.5
# x.log.1 is the youngest of the old files.
OLD_FILES = 3
# The pause before another try to write to an output that somebody made non-blocking.
_PATIENCE_MS = 1000


class Output(Protocol):
    """An output for lines; one thread writes to it. Neither method raises. ``write`` may block."""

    def write(self, line: bytes) -> None: ...

    def close(self) -> None: ...


class LogQueue(logging.Handler):
    """Hands records to a thread that writes them, so that a caller that logs never waits for a disk or a reader.

    While the output is blocked, up to ``MAX_WAITING_BYTES`` of records wait. Later records are dropped, and the queue
    logs their number once there is room again. ``logging`` calls ``flush`` at the end of the process; it waits up to
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
            # No memory or no thread: a lost log record must not harm the caller.
            self._dropped += 1

    def flush(self) -> None:
        deadline = time.monotonic() + LAST_SECONDS
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._thread is None, deadline - time.monotonic())

    def close(self) -> None:
        """Stop accepting records. The thread still writes those that wait."""
        with self._changed:
            self._closed = True
            if self._thread is None:
                self._output.close()
            self._changed.notify_all()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def _put(self, line: bytes) -> None:
        # One record may be longer than the bound; then it waits alone.
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
            # The system starts no more threads: the next record tries again.
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
                # The record counts as waiting until it is written, so `flush` waits for it too.
                self._waiting -= len(line)
                self._changed.notify_all()


def _dropped_record(count: int) -> logging.LogRecord:
    words = "%d records were dropped before this one, since the log was not read or written fast enough"
    return logging.LogRecord(__package__, logging.WARNING, __file__, 0, words, (count,), None)


class StandardError:
    """The process's stderr. It never sets O_NONBLOCK, since other processes may share stderr."""

    def __init__(self) -> None:
        self._fd = -1
        # None if the process was started without stderr.
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                self._fd = sys.stderr.fileno()

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            if self._fd >= 0:
                write_patiently(self._fd, line)

    def close(self) -> None:
        """Do nothing: stderr belongs to the process."""


def write_patiently(fd: int, data: bytes) -> int:
    """Write to a descriptor that somebody may have made non-blocking. Gives the number of bytes written before the
    output accepted no more (a full disk). Raises OSError if it accepted none."""
    written = 0
    while written < len(data):
        try:
            count = os.write(fd, data[written:])
        except BlockingIOError:
            # A regular file raises no BlockingIOError.
            select.select([], [fd], [], _PATIENCE_MS / 1000)
            continue
        except OSError:
            if not written:
                raise
            break
        written += count
    return written


class SharedLogFile:
    """A log file that any number of processes append to and rotate. It is private to its owner if this class creates
    it.

    Each record is one write, so records of several processes never mix. The process that finds the file too long moves
    it under a ``flock`` on that file. Nobody waits for this lock: a process that does not get it continues to write.
    Records are lost only with the oldest file, or when the disk is full.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        """Raises OSError."""
        # Resolve links: a rotation must move the file, not the link.
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
        # This process alone uses this open file, so O_NONBLOCK affects no other process. With it, a FIFO without a
        # reader does not block.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            return os.open(self._path, flags, 0o600)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return -1

    def _append(self, line: bytes) -> None:
        """Write a line in one write. If a full disk cuts it off, the next record still begins on a new line."""
        data = b"\n" + line if self._is_torn else line
        with suppress(OSError):
            if self._fd < 0:
                self._fd = self._opened()
            self._is_torn = self._fd >= 0 and write_patiently(self._fd, data) < len(data)

    def _make_room(self, size: int) -> None:
        """Follow the name to the file that it leads to now. Rotate that file if the line does not fit."""
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
            # Another process is rotating it.
            return
        # The process that had the lock before may have moved this file. Move only the file that the name leads to.
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
        """Rename each file to the next number. After the last step other processes create a new file."""
        names = [self._path, *(f"{self._path}.{number}" for number in range(1, OLD_FILES + 1))]
        for older, younger in zip(names[:0:-1], names[-2::-1], strict=True):
            with suppress(FileNotFoundError):
                os.replace(younger, older)  # noqa: PTH105
        self._reopen()

    def _reopen(self) -> None:
        """Follow the name again; if it cannot be opened, keep writing to the old file. Raises OSError."""
        fd = self._opened()
        os.close(self._fd)
        self._fd = fd
        self._is_torn = False

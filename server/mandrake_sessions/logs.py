"""Where the log goes: stderr or a file, one line a record, and never the content of a conversation above debug level.

Every logger of this package is ``mandrake_sessions.<module>``; a program that embeds ``SessionManager`` configures
``logging.getLogger("mandrake_sessions")`` as it likes, and nothing here is used then.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import traceback
from contextlib import suppress
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PACKAGE = "mandrake_sessions"
LOG_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"
# x.log.1 is the youngest of the old files.
OLD_FILES = 3

# What some reader takes for the end of a line, or a terminal for a command.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def start_logging(level: str, path: str | None, max_bytes: int) -> None:
    """Log to ``path``, or to stderr without one; the file is rotated at ``max_bytes``. Raises OSError."""
    handler = logging.StreamHandler(sys.stderr) if path is None else SharedLogFile(path, max_bytes)
    handler.setFormatter(_OneLine(LOG_FORMAT))
    # A disk that is full must not fill stderr with tracebacks, which quote what was logged.
    logging.raiseExceptions = False
    # Other packages log whole messages below this level.
    logging.basicConfig(level=max(logging.WARNING, _number(level)), handlers=[handler], force=True)
    logging.getLogger(PACKAGE).setLevel(_number(level))


def one_line(text: str) -> str:
    """The text without anything that ends a line or moves a terminal's cursor."""
    return text.translate(_ESCAPES)


class SharedLogFile(logging.Handler):
    """A log file that any number of processes append to and rotate; private to its owner where this makes it.

    A record is one write, so records of several processes never mix. The process that finds the file too long moves it
    away under a ``flock`` on that file, which nobody waits for: whoever does not get it writes on. Records are lost
    only with the oldest file, or where the disk takes no more.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        """Raises OSError."""
        super().__init__()
        # Links are resolved: a rotation is to move the file, not what leads to it.
        self._path = os.path.realpath(os.path.expanduser(path))  # noqa: PTH111
        self._max_bytes = max_bytes
        self._fd = self._opened()
        self._is_torn = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
        except Exception:
            self.handleError(record)
            return
        with suppress(OSError):
            self._make_room(len(line))
        self._write(line)

    def close(self) -> None:
        self.acquire()
        try:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        finally:
            self.release()
        super().close()

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)

    def _write(self, line: bytes) -> None:
        """One write; what a full disk has cut off ends before the next record begins."""
        data = b"\n" + line if self._is_torn else line
        try:
            self._is_torn = os.write(self._fd, data) < len(data)
        except OSError:
            return

    def _make_room(self, size: int) -> None:
        """Follow the name to the file that it leads to now, and rotate that if the line is too much for it."""
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


class _OneLine(logging.Formatter):
    """A record is one line, its traceback too. What an exception says may quote a conversation, and so may whatever
    other packages log: of both only the place is told."""

    def format(self, record: logging.LogRecord) -> str:
        if not record.name.startswith(PACKAGE):
            record = _place_of(record)
        return one_line(super().format(record))

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802
        return "Traceback (most recent call last):\n" + _without_texts(ei[1], ei[2])


def _place_of(record: logging.LogRecord) -> logging.LogRecord:
    found = logging.makeLogRecord(vars(record))
    found.msg, found.args = (
        "%s:%d has logged something, which may quote a conversation",
        (record.funcName, record.lineno),
    )
    return found


def _without_texts(error: BaseException | None, trace: TracebackType | None) -> str:
    """A traceback with the types of its exceptions, and what was said by those that know only files."""
    if error is None:
        return ""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{_without_texts(cause, cause.__traceback__)}\nwhich led to:\n" if cause is not None else ""
    return f"{before}{''.join(traceback.format_tb(trace))}{_named(error)}"


def _named(error: BaseException) -> str:
    kind = type(error)
    # Neither quotes values: ours are bound to statements as parameters.
    knows_files_alone = isinstance(error, OSError) or kind.__module__ == "sqlite3"
    return f"{kind.__module__}.{kind.__qualname__}{f': {error}' if knows_files_alone else ''}"


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]

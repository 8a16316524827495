"""The log: stderr or a file, one line for each record, and no conversation text above debug level.

Every logger of this package is ``mandrake_sessions.<module>``. A program that embeds ``SessionManager`` configures
``logging.getLogger("mandrake_sessions")`` itself and uses nothing of this module.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

from mandrake_sessions.log_output import LogQueue, SharedLogFile, StandardError
from mandrake_sessions.quoting import one_line

PACKAGE = "mandrake_sessions"
LOG_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"


def start_logging(level: str, path: str | None, max_bytes: int) -> None:
    """Log to ``path``, or to stderr without one. The file is rotated at ``max_bytes``. Logging never waits for the
    output: see ``LogQueue``. Raises OSError."""
    handler = LogQueue(StandardError() if path is None else SharedLogFile(path, max_bytes))
    if path is None:
        # An editor shows both stderr and the messages that the server sends it.
        handler.addFilter(_is_untold)
    handler.setFormatter(_OneLine(LOG_FORMAT))
    # A full disk must not fill stderr with tracebacks, which quote the log records.
    logging.raiseExceptions = False
    # Other packages log whole messages below this level.
    logging.basicConfig(level=max(logging.WARNING, _number(level)), handlers=[handler], force=True)
    logging.getLogger(PACKAGE).setLevel(_number(level))


def mark_told(record: logging.LogRecord, told: bool) -> None:
    """Whether the client received the whole record, so that stderr need not have it."""
    record.is_told = told


def log_untold(record: logging.LogRecord) -> None:
    """Write a record to stderr that could not be sent to the client. A log file has it already."""
    mark_told(record, False)
    for handler in logging.getLogger().handlers:
        if _is_untold in handler.filters:
            handler.handle(record)


def _is_untold(record: logging.LogRecord) -> bool:
    return not getattr(record, "is_told", False)


class _OneLine(logging.Formatter):
    """Formats each record as one line, its traceback included. Texts of exceptions and records of other packages may
    quote a conversation: the log has only the place that they come from."""

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
    """A traceback with the types of its exceptions. It has the texts only of exceptions that know nothing but files."""
    if error is None:
        return ""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{_without_texts(cause, cause.__traceback__)}\nwhich led to:\n" if cause is not None else ""
    return f"{before}{''.join(traceback.format_tb(trace))}{_named(error)}"


def _named(error: BaseException) -> str:
    kind = type(error)
    # Neither quotes values: statements bind our values as parameters.
    knows_files_alone = isinstance(error, OSError) or kind.__module__ == "sqlite3"
    return f"{kind.__module__}.{kind.__qualname__}{f': {error}' if knows_files_alone else ''}"


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]

"""Where the log goes: stderr or a file, one line a record, and never the content of a conversation above debug level.

Every logger of this package is ``mandrake_sessions.<module>``; a program that embeds ``SessionManager`` configures
``logging.getLogger("mandrake_sessions")`` as it likes, and nothing here is used then.
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
    """Log to ``path``, or to stderr without one; the file is rotated at ``max_bytes``. Logging never waits for either:
    see ``LogQueue``. Raises OSError."""
    handler = LogQueue(StandardError() if path is None else SharedLogFile(path, max_bytes))
    if path is None:
        # An editor shows both stderr and what it is told.
        handler.addFilter(_is_untold)
    handler.setFormatter(_OneLine(LOG_FORMAT))
    # A disk that is full must not fill stderr with tracebacks, which quote what was logged.
    logging.raiseExceptions = False
    # Other packages log whole messages below this level.
    logging.basicConfig(level=max(logging.WARNING, _number(level)), handlers=[handler], force=True)
    logging.getLogger(PACKAGE).setLevel(_number(level))


def mark_told(record: logging.LogRecord, told: bool) -> None:
    """Whether the client was sent the record itself, all of it, so that stderr need not have it."""
    record.is_told = told


def log_untold(record: logging.LogRecord) -> None:
    """Log on stderr what the client was to be sent, and was not; a file has it already."""
    mark_told(record, False)
    for handler in logging.getLogger().handlers:
        if _is_untold in handler.filters:
            handler.handle(record)


def _is_untold(record: logging.LogRecord) -> bool:
    return not getattr(record, "is_told", False)


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

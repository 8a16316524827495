"""Where the log goes: stderr or a file, one line a record, and never the content of a conversation."""

from __future__ import annotations

import logging
import sys

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def start_logging(level: str, path: str | None) -> None:
    """Log to ``path``, or to stderr without one. Raises OSError."""
    handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_OneLine(LOG_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _OneLine(logging.Formatter):
    """A record is one line, its traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\\n")

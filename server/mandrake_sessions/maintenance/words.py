"""Numbers as text for people, and paths from arguments."""

from __future__ import annotations

from pathlib import Path

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.quoting import shorten
from mandrake_sessions.workspaces import PathUnknown, absolute


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def size_text(size: float) -> str:
    """A number of bytes as text."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def given_path(argument: str, path: str) -> Path:
    """The path that an argument names. Raises InvalidValue if it depends on something that this process does not
    have."""
    try:
        return absolute(path)
    except PathUnknown as error:
        raise InvalidValue(argument, f"{shorten(path)}: {error}; give an absolute path") from None

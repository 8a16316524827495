"""The agent's two tools. They really read the disk, within bounds, whatever the directory holds."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from attrs import frozen

MAX_ENTRIES = 500
MAX_READ_BYTES = 16 * 1024
VERSION_CONTROL = frozenset({".git", ".hg", ".svn"})
MADE_BY_TOOLS = frozenset({".venv", "venv", "node_modules", "__pycache__", ".tox"})
CACHES = frozenset({".mypy_cache", ".ruff_cache", ".pytest_cache"})
SKIPPED_DIRECTORIES = VERSION_CONTROL | MADE_BY_TOOLS | CACHES | {".ws"}


class NotText(ValueError):
    """A file is no text."""


@frozen
class Entry:
    """A file or directory. ``path`` is relative to the workspace and has ``/`` between its parts."""

    path: str
    is_directory: bool
    bytes: int


@frozen
class Listing:
    """``truncated``: there is more than the bound."""

    entries: list[Entry]
    truncated: bool

    @property
    def files(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.is_directory]

    @property
    def directories(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.is_directory]


@frozen
class Document:
    """The beginning of a text file. ``truncated``: there is more of it than ``text``, and ``lines`` counts that."""

    path: str
    text: str
    lines: int
    truncated: bool


def list_directory(workspace: Path, path: str) -> Listing:
    """The contents of a directory and those below, nearest first. It does not follow links. Raises OSError."""
    entries: list[Entry] = []
    waiting = deque([path])
    while waiting:
        directory = waiting.popleft()
        try:
            found = sorted(os.scandir(workspace / directory), key=lambda item: item.name)
        except PermissionError:
            # One unreadable directory is no reason to give up on the others.
            if directory == path:
                raise
            continue
        for item in found:
            if item.name in SKIPPED_DIRECTORIES or item.is_symlink():
                continue
            if len(entries) == MAX_ENTRIES:
                return Listing(entries, truncated=True)
            entry = _entry(directory, item)
            entries.append(entry)
            if entry.is_directory:
                waiting.append(entry.path)
    return Listing(entries, truncated=False)


def read_file(workspace: Path, path: str) -> Document:
    """The beginning of a text file. Raises OSError, and NotText."""
    with (workspace / path).open("rb") as file:
        data = file.read(MAX_READ_BYTES + 1)
    if b"\0" in data:
        raise NotText(f"{path} is not a text file")
    text = data[:MAX_READ_BYTES].decode(errors="replace")
    return Document(path, text, len(text.splitlines()), truncated=len(data) > MAX_READ_BYTES)


def clean(name: str) -> str:
    """A name of the file system as Unicode text, even if its bytes are not UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def _entry(directory: str, item: os.DirEntry[str]) -> Entry:
    path = item.name if directory == "." else f"{directory}/{item.name}"
    is_directory = item.is_dir(follow_symlinks=False)
    try:
        size = 0 if is_directory else item.stat(follow_symlinks=False).st_size
    except OSError:
        # It disappeared meanwhile.
        size = 0
    return Entry(path, is_directory, size)

"""The files of a search index: ``<database>-search/v3-<uuid>.sqlite``, the latest of them counts.

An index is made again under a new name, never in place of another file: SQLite deletes a -wal by its name, so a process
that still has the old one open would take the -wal of the new one away. ``v3`` is the version of its tables and of what
its documents say: an index of an earlier version is made again, one of a later version is left alone. It gets its name
when it has its tables: until then it is ``new-v3-<uuid>.sqlite``, which nobody takes for an index.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from mandrake_sessions.files import whose
from mandrake_sessions.ids import new_id
from mandrake_sessions.owners import give_to_owner, make_directory

VERSION: Final = 3
_NAME = re.compile(r"v(\d+)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.sqlite")
_PROVISIONAL = "new-"
# Whoever made such a file before is gone.
_ABANDONED_SECONDS = 3600.0
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | _NO_LINK


def directory_of(database: str) -> Path:
    return Path(f"{database}-search")


def current_file(database: str) -> Path | None:
    """The index of a store; None where there is none."""
    mine = [name for name in _names(database) if _version(name) == VERSION]
    return directory_of(database) / max(mine) if mine else None


def make_file(database: str) -> Path:
    """A new, empty file, which only the owner of the store may read, under its provisional name. Raises OSError."""
    directory = directory_of(database)
    is_new = not directory.is_dir()
    make_directory(directory)
    handle = os.open(directory, os.O_RDONLY | _DIRECTORY)
    try:
        if is_new:
            give_to_owner(handle, database)
        path = directory / f"{_PROVISIONAL}v{VERSION}-{new_id()}.sqlite"
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _NO_LINK, 0o600)
    finally:
        os.close(handle)
    try:
        give_to_owner(made, database)
    finally:
        os.close(made)
    return path


def publish(path: Path) -> Path:
    """Give the file its own name; nobody has it open. Raises OSError."""
    return path.rename(path.with_name(path.name.removeprefix(_PROVISIONAL)))


def remove_older(database: str, kept: Path) -> None:
    """Delete the other indexes of this version and of earlier ones. Who has one open notices that it is gone."""
    for name in _names(database):
        if _version(name) <= VERSION and name != kept.name:
            remove_index(directory_of(database) / name)
    _remove_abandoned(database)


def remove_all(database: str) -> None:
    """Delete every index that this program knows."""
    for name in _names(database):
        if _version(name) <= VERSION:
            remove_index(directory_of(database) / name)
    _remove_abandoned(database)
    with suppress(OSError):
        directory_of(database).rmdir()


def _remove_abandoned(database: str) -> None:
    """Delete what somebody began to make long ago."""
    for path in map(Path, search_files(database)):
        with suppress(OSError):
            is_provisional = path.name.startswith(_PROVISIONAL) and _NAME.fullmatch(path.name[len(_PROVISIONAL) :])
            if is_provisional and time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                remove_index(path)


def search_files(database: str) -> list[str]:
    """The directory's files, as far as it can be listed."""
    directory = directory_of(database)
    try:
        return [str(directory / name) for name in sorted(os.listdir(directory))]  # noqa: PTH208
    except OSError:
        return []


def obstacle(database: str) -> str | None:
    """What keeps this user from filling the index, and what to do; None where nothing does, as far as can be seen."""
    directory, file = directory_of(database), current_file(database)
    if not os.path.lexists(directory):
        return None
    if not directory.is_dir() or (directory.is_symlink() and file is None):
        return f"{directory} is not a directory; move it away"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return f"{directory} may not be written to ({whose(str(directory))}); delete it, or change its owner or mode"
    if file is None:
        return None
    if not file.is_file():
        return f"{file} is not a file; move it away"
    return (
        None if os.access(file, os.R_OK | os.W_OK) else f"{file} may not be written to ({whose(str(file))}); delete it"
    )


def is_in_place(path: Path, seen: os.stat_result) -> bool:
    """Whether the name still leads to the file that was opened."""
    try:
        return os.path.samestat(path.lstat(), seen)
    except OSError:
        return False


def _names(database: str) -> list[str]:
    try:
        found = os.listdir(directory_of(database))  # noqa: PTH208
    except OSError:
        return []
    return [name for name in found if _NAME.fullmatch(name)]


def _version(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def remove_index(path: Path) -> None:
    """Delete one index, as far as that can be done."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink()

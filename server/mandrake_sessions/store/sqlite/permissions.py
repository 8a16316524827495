"""Who may read a store: only its owner. Finds files with other modes, and what to do about them."""

from __future__ import annotations

import glob
import os
import stat
from contextlib import suppress
from pathlib import Path

from mandrake_sessions.store.sqlite.identity import SHM, SUFFIXES, WAL
from mandrake_sessions.store.sqlite.search_files import search_files

FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_to_others(path: str, *, own_directory: bool) -> dict[str, int]:
    """The files of a store, and the copies beside it, that other users may use, each with its mode; its directory too,
    if that belongs to the store alone."""
    paths = private_files(path)
    if own_directory:
        paths.append(os.path.dirname(path))  # noqa: PTH120
    return {path: mode for path in paths if (mode := mode_for_others(path))}


def private_files(path: str) -> list[str]:
    """The files of the store that exist, with the copies beside it as far as the directory can be listed now."""
    named = [path + suffix for suffix in SUFFIXES] + search_files(path)
    copies: list[Path] = []
    with suppress(OSError):
        copies = sorted(Path(path).parent.glob(f"{glob.escape(os.path.basename(path))}.*.backup"))  # noqa: PTH119
    return [name for name in named if os.path.exists(name)] + [str(copy) for copy in copies]  # noqa: PTH110


def mode_for_others(path: str) -> int:
    """The mode of a file or directory that other users may use; 0 if they may not use it, if it does not exist, and
    where modes mean nothing (Windows)."""
    mode = 0 if os.name == "nt" else _mode(path)
    return mode if mode & _OTHERS else 0


def mode_against_owner(path: str) -> int | None:
    """The mode of a file that keeps even its owner from reading or writing it; None for any other file."""
    mode = _mode(path)
    owner = stat.S_IRUSR | stat.S_IWUSR
    return mode if mode and os.name != "nt" and mode & owner != owner else None


def may_write(path: str) -> bool:
    """Whether this process may write the file, and the -wal beside it."""
    return os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)  # noqa: PTH120


def may_not_share(path: str) -> bool:
    """Whether a database in WAL mode can only be read as one that nobody writes: its -shm neither exists nor can be
    created, so no process can be writing it."""
    return not (os.access(os.path.dirname(path), os.W_OK) or os.path.exists(path + SHM))  # noqa: PTH110, PTH120


def open_to_writing(path: str) -> None:
    """Make the -wal and -shm of a writable file writable too, if they are ours. SQLite created them with the mode that
    the file had then; readers of a read-only file leave them behind."""
    for beside in (path + WAL, path + SHM):
        if _mode(beside) and not os.access(beside, os.W_OK):
            with suppress(PermissionError):
                Path(beside).chmod(FILE_MODE)


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return 0

"""Whose the files are that root makes beside other people's: in a container, or with sudo. They belong to the owner of
the store, who could not use them else. For any other user nothing here does anything.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

# Nobody may lay a link where something was just made, and have what it leads to given away. Windows has none of these.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)
_CHANGES_OWNERS = hasattr(os, "geteuid")


def is_root() -> bool:
    """Whether this process may give files to others."""
    return _CHANGES_OWNERS and os.geteuid() == 0


def give_to_owner(handle: int, like: str) -> None:
    """Give an open file or directory that this process has made to the owner of ``like``; where that is not there, to
    the owner of the directory that it would be in."""
    found = _owner(like) if is_root() else None
    if found is None:
        return
    mine = os.fstat(handle)
    if (mine.st_uid, mine.st_gid) != found:
        # In a container root may not be allowed to.
        with suppress(OSError):
            os.fchown(handle, *found)


def make_directory(path: str | Path, *, parents: bool = False) -> None:
    """Make a private directory if it is not there, with ``parents`` those above it too; each belongs to whom the one
    above it belongs to. Raises OSError."""
    missing = [Path(path)]
    while parents and not missing[-1].is_dir() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for each in reversed(missing):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)
            if is_root():
                _give_directory(each)


def _give_directory(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | _NO_LINK)
    except OSError:
        return
    try:
        if not os.listdir(handle):  # noqa: PTH208
            give_to_owner(handle, str(path.parent))
    finally:
        os.close(handle)


def keep_owner_and_mode(handle: int, before: os.stat_result) -> None:
    """Let a file have the owner and mode of the one whose place it takes. Raises PermissionError where it cannot."""
    mine = os.fstat(handle)
    if _CHANGES_OWNERS and mine.st_uid != before.st_uid:
        os.fchown(handle, before.st_uid, -1)
    if _CHANGES_OWNERS and mine.st_gid != before.st_gid:
        # One of many groups that a file may have; it is worth no failure.
        with suppress(OSError):
            os.fchown(handle, -1, before.st_gid)
    if _CHANGES_OWNERS:
        os.fchmod(handle, stat.S_IMODE(before.st_mode) & 0o777)


def _owner(like: str) -> tuple[int, int] | None:
    for path in (like, os.path.dirname(like) or "."):  # noqa: PTH120
        with suppress(OSError):
            found = os.stat(path)  # noqa: PTH116
            return found.st_uid, found.st_gid
    return None

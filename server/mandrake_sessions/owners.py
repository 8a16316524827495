"""The owner of files that root creates beside other users' files, in a container or with sudo. They get the owner of
the store, who could not use them otherwise. For other users these functions do nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# O_NOFOLLOW: nobody may put a link where a file was just created, to have its target given away. Windows has none of
# these.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)
_CHANGES_OWNERS = hasattr(os, "geteuid")


def is_root() -> bool:
    """Whether this process may change the owner of files."""
    return _CHANGES_OWNERS and os.geteuid() == 0


def may_be_own(owner: int, expected: int | None) -> bool:
    """Whether a file of this owner may be one that this user has made: its own; for root the one of ``expected`` too,
    or anybody's where that is not known."""
    if not _CHANGES_OWNERS:
        return True
    return owner == os.geteuid() or (is_root() and expected in (None, owner))


def give_to_owner(handle: int, like: str) -> None:
    """Give an open file or directory that this process created to the owner of ``like``. If ``like`` does not exist,
    the owner of its directory gets it."""
    found = _owner(like) if is_root() else None
    if found is None:
        return
    mine = os.fstat(handle)
    if (mine.st_uid, mine.st_gid) != found:
        # In a container, root may lack the right.
        with suppress(OSError):
            os.fchown(handle, *found)


def make_directory(path: str | Path, *, parents: bool = False) -> None:
    """Create a private directory if it does not exist, with ``parents`` those above it too. Each gets the owner of the
    directory above it. Raises OSError."""
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


def keep_owner_and_mode(handle: int, before: os.stat_result, allowed: int = 0o777) -> None:
    """Give a file the owner of the file that it replaces, and its mode, without more than ``allowed``. Raises
    PermissionError."""
    mine = os.fstat(handle)
    if _CHANGES_OWNERS and mine.st_uid != before.st_uid:
        os.fchown(handle, before.st_uid, -1)
    if _CHANGES_OWNERS and mine.st_gid != before.st_gid:
        # The group is one of many that a file may have; it is not worth a failure.
        with suppress(OSError):
            os.fchown(handle, -1, before.st_gid)
    if _CHANGES_OWNERS:
        os.fchmod(handle, before.st_mode & allowed)


def _owner(like: str) -> tuple[int, int] | None:
    for path in (like, os.path.dirname(like) or "."):  # noqa: PTH120
        with suppress(OSError):
            found = os.stat(path)  # noqa: PTH116
            return found.st_uid, found.st_gid
    return None

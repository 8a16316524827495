"""Writes a file again where it was: below one directory, through no link, over nothing, as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.files import explain
from mandrake_sessions.unfinished import Unfinished, unfinished

_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)
_DIRECTORY: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
COMPRESSED: Final = ".zst"
# Of the name that a file has until it is whole.
_STEM: Final = "mandrake-sessions"


class NotPlaced(SessionsError):
    """A file cannot be written there."""


@frozen
class Place:
    """A place below a directory. ``names``: of the directories on the way, and of the file."""

    directory: str
    names: tuple[str, ...]

    @property
    def path(self) -> str:
        return os.path.join(self.directory, *self.names)  # noqa: PTH118


def inside_of(directories: Iterable[str], path: str, at: str | None = None) -> Place | None:
    """The place of a path below one of these directories, or the same below ``at``; None where it lies below none of
    them. What was inside a compressed file has a name without the ending."""
    if "\0" in path:
        return None
    path = path.removesuffix(COMPRESSED)
    for directory in directories:
        for own in dict.fromkeys((directory, os.path.realpath(directory))):
            # Not resolved: what the path says has to lie there.
            names = Path(path).parts[len(Path(own).parts) :]
            if path == os.path.join(own, *names) and names and os.pardir not in names:  # noqa: PTH118
                return Place(at or directory, names)
    return None


def write_original(place: Place, pieces: Iterator[bytes]) -> bool:
    """Write a file that is not there. False: it is there, and says the same already. Directories on the way are made.
    Raises NotPlaced; what reading the pieces raises leaves nothing."""
    with _named(place.path), _opened(place) as parent:
        name = place.names[-1]
        there = _at(name, parent)
        if there is not None:
            if stat.S_ISREG(there.st_mode) and _says_the_same(name, parent, pieces):
                return False
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        with parent.unfinished() as made:
            with made.output as output:
                output.writelines(pieces)
                output.flush()
                os.fsync(output.fileno())
            # Not a renaming, which would take the place of a file that came meanwhile.
            parent.give_name(made, name)
    return True


class _Parent:
    """The directory of the file, held open: what is done in it is done there, wherever its path leads meanwhile.
    ``handle``: None where a system cannot do that."""

    def __init__(self, path: str, handle: int | None) -> None:
        self._path = path
        self._handle = handle

    def at(self, name: str) -> str:
        return name if self._handle is not None else os.path.join(self._path, name)  # noqa: PTH118

    def open(self, name: str, flags: int) -> int:
        return os.open(self.at(name), flags, 0o600, dir_fd=self._handle)

    def unfinished(self) -> AbstractContextManager[Unfinished]:
        return unfinished(_STEM, self._path, self._handle)

    def give_name(self, made: Unfinished, name: str) -> None:
        os.link(made.name, self.at(name), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def lstat(self, name: str) -> os.stat_result:
        return os.stat(self.at(name), dir_fd=self._handle, follow_symlinks=False)

    def mkdir(self, name: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(self.at(name), 0o700, dir_fd=self._handle)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)


def _says_the_same(name: str, parent: _Parent, pieces: Iterator[bytes]) -> bool:
    with os.fdopen(parent.open(name, os.O_RDONLY | _NO_LINK | _NO_WAIT), "rb") as file:
        return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)


def _at(name: str, parent: _Parent) -> os.stat_result | None:
    try:
        return parent.lstat(name)
    except FileNotFoundError:
        return None


@contextmanager
def _opened(place: Place) -> Iterator[_Parent]:
    """The directory of the file, reached through no link but the first directory itself."""
    Path(place.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    has_handles = os.open in os.supports_dir_fd and os.link in os.supports_dir_fd
    path = place.directory
    parent = _Parent(path, os.open(path, _DIRECTORY) if has_handles else None)
    try:
        for name in place.names[:-1]:
            parent.mkdir(name)
            path = os.path.join(path, name)  # noqa: PTH118
            if not stat.S_ISDIR(parent.lstat(name).st_mode):
                raise NotPlaced(f"{path} is no directory of its own, but a link or a file")
            following = _Parent(path, parent.open(name, _DIRECTORY | _NO_LINK) if has_handles else None)
            parent.close()
            parent = following
        yield parent
    finally:
        parent.close()


@contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise NotPlaced(f"{path} is there already, and says something else; say with --to where else") from None
    except OSError as error:
        raise NotPlaced(f"{path}: {explain(error, path)}") from error

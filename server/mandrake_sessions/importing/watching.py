"""Hearing of some files, and of those below some directories: by inotify on Linux, else by looking again and again."""

from __future__ import annotations

import logging
import os
import select
import stat
import time
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from mandrake_sessions.inotify import (
    ATTRIBUTES,
    ENDED,
    LOST,
    MADE,
    MODIFIED,
    MOVED_AWAY,
    MOVED_HERE,
    OF_DIRECTORY,
    WRITTEN,
    Happened,
    new_handle,
    read_events,
    watch_directory,
)

logger = logging.getLogger(__name__)

# Of the attributes, the mode: what could not be read may be readable now.
_EVENTS: Final = MADE | MODIFIED | MOVED_HERE | MOVED_AWAY | WRITTEN | ATTRIBUTES
# Without inotify: files that were written to just now are looked at this often, and for so long.
_HOT_PAUSE: Final = 0.1
_HOT_SECONDS: Final = 120.0
# All files are looked at this often at the most, and so that it takes a small part of the time.
_SCAN_PAUSE: Final = 2.0
_SCAN_PART: Final = 400


class Watching(Protocol):
    """The paths of files that were made, written to or moved here since the last call. A file may be named though
    nothing happened to it."""

    def wait(self, seconds: float | None) -> set[str]:
        """Wait until something happens, or for so long; None: as long as it takes."""

    def close(self) -> None: ...


def watch(paths: Sequence[str], *, polls: bool = False) -> Watching:
    """Watch these files, and all that is below these directories; links are not followed but for the paths
    themselves. A path that is not there is waited for. Of a database its -wal is meant too. ``polls``: without inotify.
    """
    handle = None if polls else new_handle()
    return Polling(paths) if handle is None else _Inotify(handle, paths)


class _Inotify:
    def __init__(self, handle: int, wanted: Sequence[str]) -> None:
        self._handle = handle
        self._wanted = wanted
        self._paths: dict[int, str] = {}
        # Directories that are above what is wanted, whose other files do not matter.
        self._above: set[int] = set()
        # What could not be watched is looked at.
        self._rest: Polling | None = None
        self._found: set[str] = set()
        for path in wanted:
            self._begin(path)
        # What is there is no news.
        self._found.clear()

    def wait(self, seconds: float | None) -> set[str]:
        if self._rest is not None:
            seconds = _HOT_PAUSE if seconds is None else min(seconds, _HOT_PAUSE)
        if not self._found:
            select.select([self._handle], [], [], seconds)
        for event in read_events(self._handle):
            self._take(event)
        if self._rest is not None:
            self._found |= self._rest.wait(0)
        found, self._found = self._found, set()
        return found

    def close(self) -> None:
        os.close(self._handle)

    def _take(self, event: Happened) -> None:
        if event.kinds & LOST:
            # Some events came faster than they were read.
            for wanted in self._wanted:
                self._begin(wanted)
            return
        directory = self._paths.get(event.watch)
        if directory is None:
            return
        if event.kinds & ENDED:
            del self._paths[event.watch]
            is_above = event.watch in self._above
            self._above.discard(event.watch)
            for wanted in self._wanted:
                if wanted == directory or (is_above and wanted.startswith(directory + os.sep)):
                    self._begin(wanted)
            return
        path = os.path.join(directory, event.name) if event.name else directory  # noqa: PTH118
        if event.watch in self._above:
            for wanted in self._wanted:
                if path in _files_of(wanted) and not event.kinds & OF_DIRECTORY:
                    self._found.add(path)
                elif wanted == path or wanted.startswith(path + os.sep):
                    self._begin(wanted)
        elif event.kinds & OF_DIRECTORY:
            if event.kinds & (MADE | MOVED_HERE | ATTRIBUTES):
                self._below(path)
        elif event.kinds & ~(MOVED_AWAY | MADE):
            self._found.add(path)

    def _begin(self, wanted: str) -> None:
        """Watch a directory with all that is below; what is none, or not there, in the nearest one that is there."""
        self._below(os.path.realpath(wanted), known_as=wanted)
        self._found.update(path for path in _files_of(wanted) if os.path.isfile(path))  # noqa: PTH113
        above = wanted
        while not os.path.isdir(above) and os.path.dirname(above) != above:  # noqa: PTH112, PTH120
            above = os.path.dirname(above)  # noqa: PTH120
        if above != wanted:
            watch = watch_directory(self._handle, os.path.realpath(above), _EVENTS)
            if watch is not None and watch not in self._paths:
                self._paths[watch] = above
                self._above.add(watch)

    def _below(self, path: str, known_as: str | None = None) -> None:
        """Watch a directory, and those in it. Their files are found: they may have been made before the watch was."""
        waiting: list[tuple[str, str]] = [(path, known_as or path)]
        while waiting:
            real, name = waiting.pop()
            watch = watch_directory(self._handle, real, _EVENTS)
            if watch is None:
                if known_as != name and not os.access(real, os.R_OK):
                    # The directory above tells when that changes.
                    continue
                if os.path.isdir(real) and not os.path.islink(real):  # noqa: PTH112, PTH114
                    self._look_instead(name)
                continue
            self._paths[watch] = name
            self._above.discard(watch)
            for entry in _entries(real):
                inner = f"{name}{os.sep}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, inner))
                else:
                    self._found.add(inner)

    def _look_instead(self, directory: str) -> None:
        if self._rest is None:
            logger.warning("%s cannot be watched, so it is looked at; raise fs.inotify.max_user_watches", directory)
            self._rest = Polling([])
        self._rest.add(directory)


class Polling:
    """Looks at all files now and then, and often at those that were written to just now."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted: list[str] = []
        self._known: dict[str, _Facts] = {}
        self._hot: dict[str, float] = {}
        self._next_scan = 0.0
        for path in wanted:
            self.add(path)

    def add(self, path: str) -> None:
        if path not in self._wanted:
            self._wanted.append(path)
            self._scan()

    def wait(self, seconds: float | None) -> set[str]:
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            found = self._look()
            now = time.monotonic()
            if found or (until is not None and now >= until):
                return found
            pause = min(_HOT_PAUSE if self._hot else _SCAN_PAUSE, max(0.0, self._next_scan - now))
            time.sleep(max(0.01, pause if until is None else min(pause, until - now)))

    def close(self) -> None:
        """Nothing is held."""

    def _look(self) -> set[str]:
        now = time.monotonic()
        found = {path for path in self._hot if self._is_news(path, _facts(path))}
        if now >= self._next_scan:
            found |= self._scan()
        self._hot = {path: since for path, since in self._hot.items() if since > now - _HOT_SECONDS}
        self._hot.update(dict.fromkeys(found, now))
        return found

    def _scan(self) -> set[str]:
        began = time.monotonic()
        paths = {path: _facts(path) for path in _files_below(self._wanted)}
        found = {path for path, facts in paths.items() if self._is_news(path, facts)}
        self._known = {path: facts for path, facts in paths.items() if facts is not None}
        ended = time.monotonic()
        self._next_scan = ended + max(_SCAN_PAUSE, _SCAN_PART * (ended - began))
        return found

    def _is_news(self, path: str, facts: _Facts | None) -> bool:
        if facts is None or self._known.get(path) == facts:
            return False
        self._known[path] = facts
        return True


def _files_of(wanted: str) -> tuple[str, str]:
    """The files of a path that is no directory."""
    return wanted, f"{wanted}-wal"


def _files_below(wanted: Sequence[str]) -> Iterator[str]:
    waiting = [path for path in wanted if os.path.isdir(path)]  # noqa: PTH112
    yield from (path for each in wanted if each not in waiting for path in _files_of(each))
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                yield entry.path


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []


_Facts = tuple[int, int, int, int]


def _facts(path: str) -> _Facts | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    is_file = stat.S_ISREG(found.st_mode)
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode) if is_file else None

"""What a reader is: the interface that one implements for each program whose conversations are brought in.

A reader is one module of ``readers/``, or comes from another package, by an entry point of the group
``mandrake_sessions.readers`` that names a function without arguments which gives the reader.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from attrs import frozen

from mandrake_sessions.importing.ahead import in_its_time, is_ahead
from mandrake_sessions.importing.events import Broken, Event, Position
from mandrake_sessions.importing.lines import Line, SourceUnreadable, Tail, opened
from mandrake_sessions.importing.names import session_id_of
from mandrake_sessions.importing.values import moment_of
from mandrake_sessions.quoting import shown


@frozen
class Source:
    """A conversation somewhere on the disk. ``key``: a name that stays with it when its file is moved or compressed;
    one of ``reader``. ``external_id``: the program's own name for the conversation. ``parent``: the external id of the
    one that it came from, where that can be seen without reading it. ``title``: where the program keeps it elsewhere.
    ``session_id``: the id of a session of a store like this one. ``beside``: the paths of small files that belong to
    the conversation too; None where the bytes of ``path`` are not kept, since it holds more than this conversation.
    ``kept_as``: the name under which it is kept; not empty where a conversation may have several such files.
    ``tail``: for ``each_line``, while the file is followed. A reader that does not pass it on is read again each time.
    """

    reader: str
    agent: str
    path: str
    key: str
    external_id: str
    size: int
    mtime_ns: int
    file_id: str
    parent: str | None = None
    title: str | None = None
    session_id: str | None = None
    beside: tuple[str, ...] | None = None
    kept_as: str = ""
    tail: Tail | None = None


def session_of(source: Source) -> str:
    """The id of the session that it becomes."""
    return source.session_id or session_id_of(source.agent, source.external_id)


def storable(path: str) -> str:
    """A path as it can be stored: its bytes need not be UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()


class Reader(Protocol):
    """``name``: one word, which the command line takes. ``agent``: the word that its sessions have.

    A reader may have a method ``places(home, environment)``, which gives the directories, or files, where its program
    keeps conversations: there ``restore-transcript`` writes them again, and ``import --follow`` hears of changes. Of a
    reader without it those files alone are followed that were there in the beginning. It may have a method
    ``forget()``, which is called before sources are looked for again: what it remembers of files may be old.
    """

    @property
    def name(self) -> str: ...
    @property
    def agent(self) -> str: ...
    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        """What this user has. A directory that is not there, or cannot be read, has nothing."""

    def sources_at(self, path: str) -> Iterator[Source]:
        """What a file or directory holds that this reader can read; nothing where it is another program's."""

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        """The events from a position on: the start, or one of a ``Mark`` that an earlier reading gave. All that may
        still change when the source grows can be read again from the last ``Mark``.

        Raises OSError, SourceUnreadable.
        """


def events_of(line: Line, handle: Iterator[Event]) -> Iterator[Event]:
    """The events of a record. One that is not what the reader knows is broken, and the rest goes on. A ``timestamp``
    that is no time is told of."""
    stamp = line.object.get("timestamp")
    if stamp is not None and moment_of(stamp) is None:
        why = f"the time {shown(stamp)} cannot be read; it was not taken over"
        yield Broken(line.number, line.start, why, is_left_out=False)
    try:
        for event in handle:
            if is_ahead(event):
                yield from in_its_time(event, line)
            else:
                yield event
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        yield Broken(line.number, line.start, f"is another record than its type says ({type(error).__name__})")


def files_below(directory: str, endings: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """The regular files below a directory whose names end so, by name. Links are not followed but for the directory
    itself, so nothing is met twice; what cannot be read is left out."""
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif entry.name.endswith(endings) and entry.is_file(follow_symlinks=False):
                yield entry


def _is_directory(path: str) -> bool:
    """Also where a link leads to one; a loop leads nowhere."""
    return os.path.isdir(path)  # noqa: PTH112


# Links with other names are of no matter.
_TRANSCRIPTS = (".jsonl", ".jsonl.zst", ".json")


def unreadable_below(place: str) -> Iterator[OSError]:
    """Why a directory, and those below it, cannot be listed, or a file not be read; nothing of what is not there. Links
    are followed as ``files_below`` does. Opens no file: to close a database would drop SQLite's locks."""
    waiting = [place]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as found:
                for entry in sorted(found, key=lambda entry: entry.name):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_symlink() and (_is_directory(entry.path) or entry.name.endswith(_TRANSCRIPTS)):
                        yield OSError(
                            errno.ELOOP, "it is a link, which is not followed; name what it leads to", entry.path
                        )
        except NotADirectoryError:
            if not os.access(path, os.R_OK):
                yield PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        except FileNotFoundError:
            pass
        except OSError as error:
            yield error


def file_facts(path: str) -> dict[str, int | str] | None:
    """``size``, ``mtime_ns`` and ``file_id`` of a regular file that is no link; None of anything else."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "file_id": f"{found.st_dev}:{found.st_ino}"}


# A round of which its source does not say that it has ended has ended when nobody has written for so long.
REST_SECONDS: Final = 60.0
# A source that nobody has written to for so long: its program is gone, whatever it waited for.
LEFT_SECONDS: Final = 3600


def age_of(source: Source) -> float:
    """The seconds since somebody has written to it."""
    return max(0.0, (time.time_ns() - source.mtime_ns) / 1e9)


def is_at_rest(source: Source) -> bool:
    """Whether nobody has written to it for so long that a round which it does not end has ended."""
    return age_of(source) >= REST_SECONDS


def is_left(source: Source) -> bool | None:
    """Whether nobody writes to a source any more. None: of what a database or a file of many conversations says, nobody
    knows when it was written last."""
    if source.beside is None:
        return None
    return age_of(source) > LEFT_SECONDS


def beginning(path: str, count: int) -> bytes:
    """The first bytes of a regular file; none of one that cannot be read."""
    try:
        with opened(path) as file:
            return file.read(count)
    except (OSError, SourceUnreadable):
        return b""


def parents_first(sources: Iterable[Source]) -> list[Source]:
    """Each after the one that it came from, as far as that is among them; else the oldest file first."""
    ordered = sorted(sources, key=lambda source: (source.mtime_ns, source.path))
    by_name = {(source.agent, source.external_id): source for source in ordered}
    placed: dict[int, Source] = {}
    for source in ordered:
        line: list[Source] = []
        each: Source | None = source
        while each is not None and id(each) not in placed and each not in line:
            line.append(each)
            each = by_name.get((each.agent, each.parent)) if each.parent else None
        placed.update((id(one), one) for one in reversed(line))
    return list(placed.values())

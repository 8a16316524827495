"""The private files in which events wait for a store that cannot be written.

Each lies beside its store, or in the user's own directory where nothing can be written there, and is named for the
store: ``acp-waiting-STORE-TIME-ID.jsonl``. A line is an event. Its writer holds a ``flock`` on it; one that nobody
holds was left behind, and whoever opens the store next takes it up. What is in it is not trusted: it has to belong to
this user and be private, and lines that are no events are left out.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

from attrs import asdict, frozen

from mandrake_sessions.acp.events import Event, from_json, to_json
from mandrake_sessions.errors import StorageFailure
from mandrake_sessions.file_locks import fcntl, open_to_lock, try_lock
from mandrake_sessions.ids import now_ms
from mandrake_sessions.importing.assembling import cleaned
from mandrake_sessions.json_codec import JsonDecoder, JsonEncoder
from mandrake_sessions.owners import make_directory, may_be_own
from mandrake_sessions.transport.descriptors import put_whole
from mandrake_sessions.workspaces import system_database

logger = logging.getLogger(__name__)

PREFIX: Final = "acp-waiting-"
_MADE: Final = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# A line of a file that we have written is shorter: the longest message has 64 MiB, and JSON may make six of a byte.
_LONGEST_LINE: Final = 512 * 1024 * 1024
_EVENT_BYTES: Final = 400
_ENCODER: Final = JsonEncoder(separators=(",", ":"))
_DECODER: Final = JsonDecoder()


@frozen
class Lost:
    """So many events, with so many bytes of text, were not kept; ``round`` and ``turn``: of one of these, else None."""

    session: str
    round: str | None = None
    turn: str | None = None
    events: int = 0
    bytes: int = 0


@frozen
class Entry:
    """An event that waits. ``start``: of a text, the characters of its turn before it. ``size``: about how many bytes
    it takes."""

    event: Event | Lost
    start: int | None
    size: int


class WaitingFile:
    """``position``: where what was not done begins. ``size``: of all that was written."""

    def __init__(self, path: str, file: IO[bytes]) -> None:
        self.path = path
        self._file = file
        self.position = 0
        self.size = os.fstat(file.fileno()).st_size

    @property
    def is_read(self) -> bool:
        return self.position >= self.size

    def write(self, entry: Entry, room: int) -> bool:
        """Add one; False: it does not fit into the room, or cannot be written, and nothing was."""
        try:
            line = _line(entry)
        except (ValueError, TypeError, RecursionError) as error:
            logger.warning("an event cannot wait in %s and is left out: %s", self.path, error)
            return False
        if len(line) > room:
            return False
        try:
            put_whole(self._file.fileno(), line, self.size)
        except OSError as error:
            logger.info("%s: %s", self.path, error)
            with suppress(OSError):
                self._file.truncate(self.size)
            return False
        self.size += len(line)
        return True

    def read(self, most: int) -> tuple[list[Entry], int]:
        """Entries from ``position`` on, of about so many bytes or one, and where they end. Raises OSError."""
        data = self._lines(most)
        entries: list[Entry] = []
        for line in data.split(b"\n"):
            if not line.strip():
                continue
            if (entry := _entry(line)) is not None:
                entries.append(entry)
            else:
                logger.warning("%s: a line of %d bytes is no event and is left out", self.path, len(line))
        # It is shorter than it was where nothing can be read.
        return entries, self.position + len(data) if data else self.size

    def _lines(self, most: int) -> bytes:
        """The whole lines among so many bytes; or one that is longer; or the rest of the file."""
        pieces, length = [], 0
        while length < _LONGEST_LINE:
            wanted = min(most, self.size - self.position - length)
            piece = os.pread(self._file.fileno(), wanted, self.position + length) if wanted > 0 else b""
            if not piece:
                break
            pieces.append(piece)
            length += len(piece)
            if self.position + length < self.size and (end := piece.rfind(b"\n") + 1):
                pieces[-1] = piece[:end]
                break
        return b"".join(pieces)

    def remove(self) -> None:
        with suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108
        self.close()

    def close(self) -> None:
        """It stays, and others may take it up."""
        with suppress(OSError):
            self._file.close()


def make_waiting_file(store: str) -> WaitingFile:
    """A new one for the store at this path. Raises OSError."""
    failed: OSError | None = None
    for directory in _directories(store):
        path = str(directory / f"{_stem(store)}{now_ms():013}-{os.urandom(6).hex()}.jsonl")
        try:
            make_directory(directory)
            file = os.fdopen(os.open(path, _MADE, 0o600), "w+b", buffering=0)
        except OSError as error:
            failed = error
            continue
        try:
            # A disk may be so full that nothing goes into a file that can be made.
            file.write(b"\n")
            if fcntl is not None:
                try_lock(file.fileno())
            return WaitingFile(path, file)
        except OSError as error:
            failed = error
            file.close()
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
    raise failed or OSError("there is no directory to make it in")


def left_behind(store: str) -> Iterator[WaitingFile]:
    """The files that wait for the store at this path and that nobody has open, the oldest first; each is held while it
    is used."""
    names = re.compile(re.escape(_stem(store)) + r"[0-9]{13}-[0-9a-f]{12}\.jsonl")
    found = []
    for directory in _directories(store):
        with suppress(OSError):
            found += [directory / name for name in os.listdir(directory) if names.fullmatch(name)]  # noqa: PTH208
    for path in sorted(found, key=lambda path: path.name):
        with suppress(OSError):
            if (file := _taken(path)) is not None:
                yield file


def _taken(path: Path) -> WaitingFile | None:
    handle = open_to_lock(path)
    try:
        about = os.fstat(handle)
        is_ours = stat.S_ISREG(about.st_mode) and may_be_own(about.st_uid, None) and about.st_nlink == 1
        if not is_ours or about.st_mode & 0o077:
            logger.warning("%s is left alone: it is not private, or belongs to somebody else", path)
        elif try_lock(handle) and os.path.samestat(os.stat(path, follow_symlinks=False), about):  # noqa: PTH116
            file, handle = os.fdopen(handle, "r+b"), -1
            return WaitingFile(str(path), file)
    finally:
        if handle >= 0:
            os.close(handle)
    return None


def _directories(store: str) -> list[Path]:
    found = [Path(store).parent]
    with suppress(StorageFailure):
        found.append(system_database().parent)
    return list(dict.fromkeys(found))


def _stem(store: str) -> str:
    digest = sha256(os.fsencode(os.path.realpath(store))).hexdigest()[:16]
    return f"{PREFIX}{digest}-"


def _line(entry: Entry) -> bytes:
    """Raises TypeError, ValueError, RecursionError."""
    event = entry.event
    value = ["Lost", asdict(event)] if isinstance(event, Lost) else to_json(event)
    try:
        text = _ENCODER.encode([entry.start, value])
    except (TypeError, ValueError, RecursionError):
        text = _ENCODER.encode([entry.start, cleaned(value)])
    return text.encode() + b"\n"


def _entry(line: bytes) -> Entry | None:
    """None: it is no event."""
    try:
        start, value = _DECODER.decode(line.decode())
        event = Lost(**value[1]) if value[0] == "Lost" else from_json(value)
        is_whole = all(_is_typed(name, each) for name, each in asdict(event, recurse=False).items())
        if is_whole and (start is None or type(start) is int):
            return Entry(event, start, len(line) + _EVENT_BYTES)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        pass
    return None


def _is_typed(name: str, value: Any) -> bool:
    """Whether what everything depends on is of its type; the store checks the rest."""
    if name in ("session", "agent", "kind", "text"):
        return isinstance(value, str)
    if name in ("round", "turn"):
        return value is None or (isinstance(value, str) and str(UUID(value)) == value)
    if name in ("metadata", "fields", "usage"):
        return isinstance(value, dict)
    if name in ("at", "events", "bytes"):
        return type(value) is int and value >= 0
    return True

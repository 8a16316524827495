"""A disk, made again from a trace: as the operating system had it at some moment, or as a power cut there leaves it.

The model of the disk, which is what POSIX promises and no more:

- What was written or truncated before the last sync of its file that was done is there. Of what came after it, anything
  may be there: nothing, everything, a beginning with the last write torn, or any set of 512-byte sectors, whatever the
  order in which they were written. A hole reads as zeros.
- A name that was made or deleted is certain after the next sync of its directory. Before that each of these changes may
  have happened or not, by itself. A file whose name is gone is gone with all its data, synced or not.

SQLite syncs the directory with the first sync of a new journal or -wal, and with deletions where it asks for that; the
trace says when.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from faults.injector import DELETE, HEADER, OPEN, SYNC, SYNC_DIRECTORY, TRUNCATE, WRITE

SECTOR = 512
Fate = Literal["nothing", "everything", "torn", "sectors"]
FATES: tuple[Fate, ...] = ("nothing", "everything", "torn", "sectors")


@dataclass(frozen=True)
class Record:
    """One operation. ``end``: the length of the trace with it."""

    end: int
    kind: int
    name: str
    number: int
    data: bytes


def read_trace(path: Path) -> list[Record]:
    """All records that are there as a whole."""
    return list(_records(path.read_bytes())) if path.exists() else []


def _records(trace: bytes) -> Iterator[Record]:
    position = 0
    while position + HEADER.size <= len(trace):
        kind, name_length, number, length = HEADER.unpack_from(trace, position)
        name_end = position + HEADER.size + name_length
        end = name_end + length
        if end > len(trace):
            return
        yield Record(end, kind, trace[position + HEADER.size : name_end].decode(), number, trace[name_end:end])
        position = end


@dataclass(eq=False)
class _Inode:
    """A file's bytes: as they are seen, as they are safe, and what was done since they were made safe."""

    seen: bytearray = field(default_factory=bytearray)
    safe: bytearray = field(default_factory=bytearray)
    pending: list[Record] = field(default_factory=list)

    def do(self, record: Record) -> None:
        _apply(self.seen, record)
        self.pending.append(record)

    def sync(self) -> None:
        for record in self.pending:
            _apply(self.safe, record)
        self.pending.clear()


class Disk:
    """The files of one directory, from what they were at the beginning."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self._names = {name: _Inode(bytearray(data), bytearray(data)) for name, data in (files or {}).items()}
        self._safe_names = dict(self._names)
        self._pending_names: list[tuple[str, _Inode | None]] = []

    def do(self, records: Iterable[Record]) -> None:
        for record in records:
            self._do(record)

    def _do(self, record: Record) -> None:
        if record.kind == SYNC_DIRECTORY:
            self._safe_names = dict(self._names)
            self._pending_names.clear()
        elif record.kind == DELETE:
            self._names.pop(record.name, None)
            self._pending_names.append((record.name, None))
        elif record.kind == SYNC:
            self._inode(record.name).sync()
        elif record.kind != OPEN:
            self._inode(record.name).do(record)
        else:
            self._inode(record.name)

    def _inode(self, name: str) -> _Inode:
        """The file of a name, made now if there is none: a database is made empty before SQLite opens it."""
        found = self._names.get(name)
        if found is None:
            found = self._names[name] = _Inode()
            self._pending_names.append((name, found))
        return found

    def killed(self, torn: Record | None = None) -> dict[str, bytes]:
        """What is left when the process is killed now: everything, and the first half of one more write."""
        files = {name: bytes(inode.seen) for name, inode in self._names.items()}
        if torn is not None and torn.kind == WRITE:
            content = bytearray(files.get(torn.name, b""))
            _apply(content, _beginning(torn, len(torn.data) // 2))
            files[torn.name] = bytes(content)
        return files

    def power_cut(self, fate: Fate, chance: random.Random) -> dict[str, bytes]:
        """What may be left when the power fails now."""
        names = dict(self._safe_names)
        for name, inode in self._pending_names:
            if fate == "everything" or (fate in ("torn", "sectors") and chance.random() < 0.5):
                names.pop(name, None)
                if inode is not None:
                    names[name] = inode
        return {name: _after_power_cut(inode, fate, chance) for name, inode in names.items()}


def _after_power_cut(inode: _Inode, fate: Fate, chance: random.Random) -> bytes:
    content = bytearray(inode.safe)
    for record in _survivors(inode.pending, fate, chance):
        _apply(content, record)
    return bytes(content)


def _survivors(pending: list[Record], fate: Fate, chance: random.Random) -> Iterator[Record]:
    if fate == "everything":
        yield from pending
    elif fate == "torn" and pending:
        last = chance.randrange(len(pending))
        yield from pending[:last]
        sectors = list(_sectors(pending[last]))
        yield from sectors[: chance.randrange(len(sectors) + 1)]
    elif fate == "sectors":
        share = chance.choice((0.1, 0.5, 0.9, 0.99))
        yield from (part for record in pending for part in _sectors(record) if chance.random() < share)


def _sectors(record: Record) -> Iterator[Record]:
    """A write in parts that no sector's bound goes through; anything else as it is."""
    if record.kind != WRITE:
        yield record
        return
    start, end = record.number, record.number + len(record.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield Record(record.end, WRITE, record.name, start, record.data[start - record.number : stop - record.number])
        start = stop


def _beginning(record: Record, size: int) -> Record:
    return Record(record.end, record.kind, record.name, record.number, record.data[:size])


def _apply(content: bytearray, record: Record) -> None:
    if record.kind == TRUNCATE:
        del content[record.number :]
        content.extend(bytes(record.number - len(content)))
        return
    content.extend(bytes(max(0, record.number - len(content))))
    content[record.number : record.number + len(record.data)] = record.data

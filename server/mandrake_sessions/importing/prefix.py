"""What stands before a position of a file: whether it is what was read, and how many lines there are."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import Any, Final

from mandrake_sessions.importing.lines import opened
from mandrake_sessions.importing.reading import Source

_HEAD: Final = 4096
_TAIL: Final = 65536


def checksum(path: str, position: int) -> str | None:
    """Of the bytes before a position: the first few and the last few of them, so that it costs the same in a large
    file. None where there are fewer bytes. Raises OSError, SourceUnreadable."""
    if not position:
        # A database is read from its start each time, and must not be opened beside the library that reads it.
        return ""
    digest = hashlib.blake2b(digest_size=16)
    with closing(opened(path)) as file:
        head = file.read(min(_HEAD, position))
        digest.update(head)
        rest = position - len(head)
        if len(head) < min(_HEAD, position):
            return None
        if rest > _TAIL:
            _skip_to(file, position - _TAIL, rest - _TAIL)
            rest = _TAIL
        tail = file.read(rest)
        digest.update(tail)
        return digest.hexdigest() if len(tail) == rest else None


def checksum_of(source: Source, position: int) -> str:
    """That of a source of which all before the position was read. Raises SourceUnreadable."""
    try:
        return checksum(source.path, position) or ""
    except OSError:
        # The file is gone, and what was read of it is here.
        return ""


def lines_before(path: str, position: int) -> int:
    """How many lines end before a position. Raises OSError, SourceUnreadable."""
    count = 0
    with closing(opened(path)) as file:
        while position > 0 and (piece := file.read(min(position, 1024 * 1024))):
            position -= len(piece)
            count += piece.count(b"\n")
    return count


def _skip_to(file: Any, place: int, count: int) -> None:
    if file.seekable():
        file.seek(place)
        return
    while count > 0 and (piece := file.read(min(count, 1024 * 1024))):
        count -= len(piece)

"""Whether a file still begins with what is kept of it: its checksum covers the beginning and the end alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import IO

from mandrake_sessions.errors import NotFound, StorageFailure, StorageReason
from mandrake_sessions.importing.lines import ENDINGS, opened
from mandrake_sessions.importing.reading import Source
from mandrake_sessions.operations.imports import StoredSource
from mandrake_sessions.operations.originals import KeptFile, Originals


def is_as_kept(
    originals: Originals,
    session_id: str | None,
    source: Source,
    known: StoredSource | KeptFile,
    *,
    trusts_growth: bool,
) -> bool:
    """Whether it is, as far as is known. ``known``: the file as it was when it was read last, or kept.
    ``trusts_growth``: what has grown since, and is the same file, was only added to; a follower cannot read all of a
    file for each line. Raises OSError, SourceUnreadable."""
    has_grown = source.file_id == known.file_id and source.size != known.size
    if session_id is None or source.beside is None or (has_grown and trusts_growth):
        return True
    are_lines = source.path.endswith(ENDINGS)
    # Of a file that is written as a whole, what stands before the last round stays.
    most = known.position if isinstance(known, StoredSource) and has_grown and not are_lines else sys.maxsize
    try:
        kept = [each for each in originals.originals(session_id) if each.name == source.kept_as]
        pieces: Iterable[bytes] = chain.from_iterable(map(originals.pieces, kept))
        with closing(opened(source.path)) as file:
            return _begins_with(file, _whole_lines(pieces) if has_grown and are_lines else pieces, most)
    except NotFound:
        return True
    except StorageFailure as error:
        if error.reason is not StorageReason.CORRUPT:
            raise
        # What is damaged says nothing of the file.
        return True


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """All but half a line at the end, which was not read yet, and may be written anew."""
    last = b""
    for piece in pieces:
        if last:
            yield last
        last = piece
    yield last[: last.rfind(b"\n") + 1]


def _begins_with(file: IO[bytes], pieces: Iterable[bytes], most: int) -> bool:
    """Whether a file begins with these, as far as the first ``most`` bytes say."""
    for piece in pieces:
        compared = piece[:most]
        if file.read(len(compared)) != compared:
            return False
        most -= len(compared)
    return True

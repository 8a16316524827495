"""Whether a file still begins with what is kept of it: its checksum covers the beginning and the end alone."""

from __future__ import annotations

from contextlib import closing

from mandrake_sessions.errors import NotFound, StorageFailure, StorageReason
from mandrake_sessions.importing.lines import opened
from mandrake_sessions.importing.reading import Source
from mandrake_sessions.operations.originals import Originals


def is_as_kept(
    originals: Originals, session_id: str | None, source: Source, file_id: str | None, size: int | None
) -> bool:
    """Whether it is, as far as is known. ``file_id`` and ``size``: those of the file when it was read last. What has
    grown since, and is the same file, was only added to. Raises OSError, SourceUnreadable."""
    if session_id is None or source.beside is None or (source.file_id == file_id and source.size != size):
        return True
    try:
        kept = [each for each in originals.originals(session_id) if each.name == source.kept_as]
        with closing(opened(source.path)) as file:
            return all(file.read(len(piece)) == piece for each in kept for piece in originals.pieces(each))
    except NotFound:
        return True
    except StorageFailure as error:
        if error.reason is not StorageReason.CORRUPT:
            raise
        # What is damaged says nothing of the file.
        return True

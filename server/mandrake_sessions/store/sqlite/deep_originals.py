"""The rule of the deep check about the files that conversations were brought in from, and the mend of what it finds."""

from __future__ import annotations

from collections.abc import Iterator

from mandrake_sessions.store.sql.originals import Block, unpacked
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.problems import Mend, Problem
from mandrake_sessions.store.sqlite.schema import columns_of

_BLOCKS = "SELECT b.file_pk, b.pk, b.start, b.size, b.bytes FROM original_block b ORDER BY b.file_pk, b.start"


def originals(connection: StoreConnection) -> Iterator[Problem]:
    """Each file can be written again, byte for byte, as far as it is kept."""
    files = 0
    first = ""
    for file_pk, _, why in _damaged(connection):
        files += 1
        first = first or f"file {file_pk}: a block {why}"
    if files:
        text = f"originals: {files} of the files that sessions were brought in from cannot be written again; {first}"
        yield Problem("originals", files, text, Mend.ORIGINALS)


def mend_originals(connection: StoreConnection) -> None:
    """Keep each file up to the first block that is damaged. An import goes on from there, if its source still is."""
    for file_pk, start, _ in list(_damaged(connection)):
        connection.execute("DELETE FROM original_block WHERE file_pk = ? AND start >= ?", (file_pk, start))
        connection.execute(
            "UPDATE original_file SET file_id = NULL, size = NULL, mtime_ns = NULL WHERE pk = ?", (file_pk,)
        )


def _damaged(connection: StoreConnection) -> Iterator[tuple[int, int, str]]:
    """The files with a damaged block: where the first one begins, and what is wrong with it."""
    if not columns_of(connection, "original_block"):
        # An older schema.
        return
    known, end = None, 0
    for file_pk, _, start, size, stored in connection.execute(_BLOCKS):
        if file_pk != known:
            known, end = file_pk, 0
        if end < 0:
            continue
        try:
            if start != end:
                raise ValueError(f"begins at {start}, where {end} bytes are kept before it")
            unpacked(Block(start, size, stored))
            end += size
        except ValueError as error:
            yield file_pk, start, str(error)
            end = -1

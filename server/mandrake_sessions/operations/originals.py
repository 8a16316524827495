"""The files that conversations were brought in from, kept byte for byte beside the sessions that they became."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.store.sql import originals, sessions
from mandrake_sessions.store.sql.originals import BLOCK_BYTES, Block, KeptFile, packed, unpacked

__all__ = ["BLOCK_BYTES", "Block", "KeptFile", "Originals", "blocks_of", "packed", "unpacked"]


def blocks_of(content: bytes) -> list[Block]:
    """A whole file as it is kept."""
    return [packed(start, content[start : start + BLOCK_BYTES]) for start in range(0, len(content), BLOCK_BYTES)]


@frozen
class Original:
    """A file that can be written again. ``session_id``: whose it is; ``name``: empty for the transcript, else that of a
    file beside it; ``path``: where it was; ``size``: of what is kept; ``is_whole``: whether that is all of it."""

    session_id: str
    reader: str
    name: str
    path: str
    size: int
    is_whole: bool
    file_pk: int


class Originals(Operations):
    """All of it raises NotOpen, Busy and StorageFailure. What writes does so in the transaction that runs, if any."""

    def session_pk(self, session_id: str) -> int:
        """Raises NotFound."""
        with self._read() as sql:
            return sessions.get_session(sql, session_id, lenient=True).pk

    def kept(self, session_pk: int, name: str) -> KeptFile | None:
        with self._read() as sql:
            return originals.find_file(sql, session_pk, name)

    def last_block(self, file_pk: int) -> Block | None:
        with self._read() as sql:
            return originals.last_block(sql, file_pk)

    def open(self, session_pk: int, reader: str, name: str, path: str) -> int:
        """Begin to keep a file, or go on; gives what the other calls take."""
        with self._write() as tx:
            return originals.open_file(tx, session_pk, reader, name, path)

    def cut(self, file_pk: int) -> None:
        """Forget what is kept of a file: it was written again."""
        with self._write() as tx:
            originals.cut_file(tx, file_pk)

    def put(self, file_pk: int, blocks: Sequence[Block]) -> None:
        with self._write() as tx:
            originals.put_blocks(tx, file_pk, blocks)

    def close(self, file_pk: int, file_id: str, size: int, mtime_ns: int) -> None:
        """All of a file is kept: the one that these say."""
        with self._write() as tx:
            originals.close_file(tx, file_pk, file_id, size, mtime_ns)

    def originals(self, session_id: str) -> list[Original]:
        """What is kept of a session, the transcript first. Raises NotFound."""
        with self._read() as sql:
            pk = sessions.get_session(sql, session_id, lenient=True).pk
            return [
                Original(session_id, file.reader, file.name, file.path, file.end, file.size is not None, file.pk)
                for file in originals.files_of(sql, pk)
            ]

    def subagents(self, session_id: str) -> list[str]:
        """The sessions of its subagents."""
        with self._read() as sql:
            return sessions.subagents_of(sql, session_id)

    def pieces(self, original: Original) -> Iterator[bytes]:
        """The bytes of a file, in order. Raises StorageFailure where one is missing or damaged."""
        end = 0
        with self._read() as sql:
            for block in originals.each_block(sql, original.file_pk):
                try:
                    if block.start != end:
                        raise ValueError(f"begins at {block.start}, and the one before ends at {end}")
                    yield unpacked(block)
                except ValueError as error:
                    raise StorageFailure(
                        StorageReason.CORRUPT, f"what is kept of {original.path} is damaged: a block {error}", ""
                    ) from None
                end += block.size

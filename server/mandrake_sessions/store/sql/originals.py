"""SQL of the files that conversations were brought in from, kept byte for byte (``migrations/0006``)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mandrake_sessions.store.interface import Sql, Transaction

# Larger blocks take a little less room. The last one is written again while a file grows, so it should not be large.
BLOCK_BYTES: Final = 64 * 1024
# Level 1 packs twice as fast as level 4, into a seventh more.
_LEVEL: Final = 1
_FILE: Final = "f.pk, f.reader, f.file_name, f.path, f.file_id, f.size, f.mtime_ns"
# The last block holds the end.
_LAST_END: Final = "SELECT b.start + b.size FROM original_block b WHERE b.file_pk = f.pk ORDER BY b.start DESC LIMIT 1"
_END: Final = f"coalesce(({_LAST_END}), 0)"


class KeptFile(NamedTuple):
    """A file that is kept. ``file_id``, ``size`` and ``mtime_ns``: see the migration; ``end``: how many bytes of it are
    kept."""

    pk: int
    reader: str
    name: str
    path: str
    file_id: str | None
    size: int | None
    mtime_ns: int | None
    end: int


class Block(NamedTuple):
    """A piece of a file. ``start`` and ``size``: its bytes; ``packed``: these, compressed."""

    start: int
    size: int
    packed: bytes


def packed(start: int, piece: bytes) -> Block:
    """A piece of a file as it is kept."""
    return Block(start, len(piece), zlib.compress(piece, _LEVEL))


def unpacked(block: Block) -> bytes:
    """The bytes of a block. Raises ValueError where it holds no such bytes."""
    work = zlib.decompressobj()
    try:
        # A block from somewhere else may say that it holds little, and hold much.
        piece = work.decompress(block.packed, BLOCK_BYTES + 1)
    except (zlib.error, TypeError) as error:
        raise ValueError(f"cannot be unpacked ({error})") from None
    if len(piece) != block.size or not work.eof:
        raise ValueError("holds another number of bytes than it says")
    return piece


def find_file(sql: Sql, session_pk: int, name: str) -> KeptFile | None:
    row = sql.execute(
        f"SELECT {_FILE}, {_END} FROM original_file f WHERE f.session_pk = ? AND f.file_name = ?", (session_pk, name)
    ).fetchone()
    return None if row is None else KeptFile._make(row)


def files_of(sql: Sql, session_pk: int) -> list[KeptFile]:
    """The transcript first."""
    rows = sql.execute(
        f"SELECT {_FILE}, {_END} FROM original_file f WHERE f.session_pk = ? ORDER BY f.file_name", (session_pk,)
    )
    return [KeptFile._make(row) for row in rows]


def last_block(sql: Sql, file_pk: int) -> Block | None:
    row = sql.execute(
        "SELECT start, size, bytes FROM original_block WHERE file_pk = ? ORDER BY start DESC LIMIT 1", (file_pk,)
    ).fetchone()
    return None if row is None else Block._make(row)


def each_block(sql: Sql, file_pk: int) -> Iterator[Block]:
    """In order, each read when it is asked for."""
    rows = sql.execute("SELECT start, size, bytes FROM original_block WHERE file_pk = ? ORDER BY start", (file_pk,))
    return map(Block._make, rows)


def open_file(tx: Transaction, session_pk: int, reader: str, name: str, path: str) -> int:
    """The file of that name, of which not all is kept now; gives its pk."""
    tx.sql.execute(
        "INSERT INTO original_file (session_pk, reader, file_name, path) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (session_pk, file_name) DO UPDATE SET reader = excluded.reader, path = excluded.path,"
        " file_id = NULL, size = NULL, mtime_ns = NULL",
        (session_pk, reader, name, path),
    )
    statement = "SELECT pk FROM original_file WHERE session_pk = ? AND file_name = ?"
    return int(tx.sql.execute(statement, (session_pk, name)).fetchone()[0])


def close_file(tx: Transaction, file_pk: int, file_id: str, size: int, mtime_ns: int) -> None:
    """All of it is kept, as it is now."""
    tx.sql.execute(
        "UPDATE original_file SET file_id = ?, size = ?, mtime_ns = ? WHERE pk = ?", (file_id, size, mtime_ns, file_pk)
    )


def put_blocks(tx: Transaction, file_pk: int, blocks: Sequence[Block]) -> None:
    """Each in the place of the one that begins there, if there is one."""
    tx.sql.executemany(
        "INSERT INTO original_block (file_pk, start, size, bytes) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (file_pk, start) DO UPDATE SET size = excluded.size, bytes = excluded.bytes",
        [(file_pk, *block) for block in blocks],
    )


def cut_file(tx: Transaction, file_pk: int) -> None:
    """Nothing of it is kept."""
    tx.sql.execute("DELETE FROM original_block WHERE file_pk = ?", (file_pk,))


def remove_some(tx: Transaction, session_pk: int, most: int) -> bool:
    """Delete a few blocks of a session; whether there may be more."""
    statement = (
        "DELETE FROM original_block WHERE pk IN (SELECT b.pk FROM original_file f"
        " JOIN original_block b ON b.file_pk = f.pk WHERE f.session_pk = ? LIMIT ?)"
    )
    return tx.sql.execute(statement, (session_pk, most)).rowcount == most

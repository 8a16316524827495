"""Appending to turns that stream, as fast as it can be done durably.

What an append has to know of its turn is kept in memory between transactions, for as long as nobody else has written
to the file (``PRAGMA data_version`` tells) and nothing but appends was written here. So a piece costs one INSERT, and
the pieces of a burst share one ``executemany``.
"""

from __future__ import annotations

from collections.abc import Mapping
from sqlite3 import Connection
from typing import Any

from attrs import define

from mandrake_sessions.errors import NotFound
from mandrake_sessions.model import Change, ChangeKind, TurnStatus
from mandrake_sessions.store.texts import FOLD_BYTES, FOLD_PIECES, fold, joined
from mandrake_sessions.store.transaction import Transaction

# Streams that are remembered; a process rarely has more than a few.
MAX_STREAMS = 1000

_SELECT = """
SELECT t.pk, t.status, coalesce(a.chunk + 1, t.chunk_count), coalesce(a.seq, t.seq),
       coalesce(a.current_tokens, t.current_tokens), coalesce(a.output_tokens, t.output_tokens),
       coalesce(a.content_bytes, t.content_bytes), coalesce(a.raw_response_bytes, t.raw_response_bytes),
       t.folded_chunks, t.folded_bytes, t.lease, s.id, r.id, p.id, t."index"
FROM turn t
JOIN session s ON s.pk = t.session_pk
JOIN round r ON r.pk = t.round_pk
JOIN response p ON p.pk = t.round_pk
LEFT JOIN feed a ON t.status = 'streaming' AND a.seq = (
    SELECT f.seq FROM feed f WHERE f.turn_pk = t.pk AND f.chunk >= t.chunk_count ORDER BY f.chunk DESC LIMIT 1)
WHERE t.id = ?
"""
_INSERT = (
    "INSERT INTO feed (seq, at, kind, turn_pk, chunk, current_tokens, output_tokens, content_bytes,"
    " raw_response_bytes, content, raw_response) VALUES (?, ?, 'appended', ?, ?, ?, ?, ?, ?, ?, ?)"
)


@define
class Stream:
    """A turn as an append sees it. ``pieces`` are rows that are not inserted yet."""

    turn_id: str
    pk: int
    status: str
    chunk_count: int
    seq: int
    current_tokens: int
    output_tokens: int
    content_bytes: int
    raw_response_bytes: int
    folded_chunks: int
    folded_bytes: int
    lease: str | None
    session_id: str
    round_id: str
    response_id: str
    index: int

    @property
    def is_fold_due(self) -> bool:
        unfolded_bytes = self.content_bytes + self.raw_response_bytes - self.folded_bytes
        return self.chunk_count - self.folded_chunks >= FOLD_PIECES or unfolded_bytes >= FOLD_BYTES


def stream_of(tx: Transaction, turn_id: str) -> Stream:
    """The stream of a turn, remembered or read. Raises NotFound."""
    streams: dict[str, Stream] = tx.streams
    found = streams.get(turn_id)
    if found is None:
        found = _read(tx.connection, turn_id)
        if len(streams) >= MAX_STREAMS:
            streams.clear()
        streams[turn_id] = found
    return found


class PieceWriter:
    """Takes the pieces of one transaction; ``flush`` inserts them, in order, at the latest when it ends.

    For listeners of this process, neighbouring pieces of one turn become one change, under the seq of the last.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._rows: list[tuple[Any, ...]] = []
        self._told: Stream | None = None
        self._texts: list[str | None] = []
        self._raw_texts: list[str | None] = []

    def add(self, stream: Stream, piece: Mapping[str, Any], content_bytes: int, raw_response_bytes: int) -> None:
        """The next piece of a turn, and the lengths of its two texts with it."""
        stream.current_tokens = piece.get("current_tokens", stream.current_tokens)
        stream.output_tokens = piece.get("output_tokens", stream.output_tokens)
        stream.content_bytes, stream.raw_response_bytes = content_bytes, raw_response_bytes
        content, raw_response = piece.get("content"), piece.get("raw_response")
        if stream.lease is not None and stream.lease != (own := self._tx.own_lease_id()):
            # The turn belongs to whoever last appended to it.
            stream.lease = own
            self._tx.execute("UPDATE turn SET lease = ? WHERE pk = ?", (own, stream.pk))
        chunk, stream.chunk_count = stream.chunk_count, stream.chunk_count + 1
        seq = stream.seq = self._tx.next_seq()
        self._rows.append(
            (
                seq,
                self._tx.now,
                stream.pk,
                chunk,
                stream.current_tokens,
                stream.output_tokens,
                content_bytes,
                raw_response_bytes,
                content,
                raw_response,
            )
        )
        if self._told is not stream:
            self._tell()
            self._told = stream
        self._texts.append(content)
        self._raw_texts.append(raw_response)
        if stream.is_fold_due:
            self.flush()
            fold_stream(self._tx, stream)

    def flush(self) -> None:
        """Insert what was taken."""
        self._tell()
        rows, self._rows = self._rows, []
        if len(rows) == 1:
            self._tx.execute(_INSERT, rows[0])
        elif rows:
            self._tx.connection.executemany(_INSERT, rows)

    def _tell(self) -> None:
        stream, self._told = self._told, None
        if stream is not None:
            first_chunk = stream.chunk_count - len(self._texts)
            self._tx.changes.append(_change(stream, first_chunk, joined(self._texts), joined(self._raw_texts)))
            self._texts, self._raw_texts = [], []


def fold_stream(tx: Transaction, stream: Stream) -> None:
    """Fold the pieces of a stream that are not folded yet."""
    total = stream.content_bytes + stream.raw_response_bytes
    fold(tx, stream.pk, stream.folded_chunks, stream.chunk_count, total)
    stream.folded_chunks, stream.folded_bytes = stream.chunk_count, total


def _read(connection: Connection, turn_id: str) -> Stream:
    row = connection.execute(_SELECT, (turn_id,)).fetchone()
    if row is None:
        raise NotFound("turn", turn_id)
    return Stream(turn_id, *row)


def _change(stream: Stream, first_chunk: int, content: str | None, raw_response: str | None) -> Change:
    return Change(
        seq=stream.seq,
        kind=ChangeKind.TURN_APPENDED,
        session_id=stream.session_id,
        round_id=stream.round_id,
        response_id=stream.response_id,
        turn_id=stream.turn_id,
        index=stream.index,
        status=TurnStatus.STREAMING,
        first_chunk=first_chunk,
        last_chunk=stream.chunk_count - 1,
        content=content,
        raw_response=raw_response,
        current_tokens=stream.current_tokens,
        output_tokens=stream.output_tokens,
    )

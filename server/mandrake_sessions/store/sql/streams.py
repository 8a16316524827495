"""Appending to turns that stream, as fast as it can be done durably.

What an append has to know of its turn is kept in memory between transactions, for as long as nobody else has written
to the file (``PRAGMA data_version`` tells) and nothing but appends was written here. So a piece costs one INSERT, and
the pieces of a burst share one ``executemany``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from attrs import define, evolve

from mandrake_sessions.errors import NotFound
from mandrake_sessions.model import Change, ChangeKind, TurnStatus
from mandrake_sessions.store.interface import Dialect, Sql, Transaction
from mandrake_sessions.store.sql.columns import Column, decode_anything
from mandrake_sessions.store.sql.rows import update
from mandrake_sessions.store.sql.selection import Selection, field_names
from mandrake_sessions.store.sql.standing import LAST_PIECE, MOVED_BY_PIECES, TURN_NOW
from mandrake_sessions.store.sql.texts import fold, is_fold_due, joined
from mandrake_sessions.store.sql.turns import get_turn
from mandrake_sessions.store.sql.values import decode_text

# Streams that are remembered; a process rarely has more than a few.
MAX_STREAMS = 1000

_INSERT = (
    "INSERT INTO feed (content, raw_response, at, kind, turn_pk, chunk, current_tokens, output_tokens, content_bytes,"
    " raw_response_bytes, seq) VALUES (?, ?, ?, 'appended', ?, ?, ?, ?, ?, ?, ?)"
)


@define
class Stream:
    """A turn as an append sees it."""

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
        return is_fold_due(self.chunk_count - self.folded_chunks, unfolded_bytes)

    def standing(self) -> dict[str, Any]:
        """What pieces have moved, as columns of the turn's row."""
        return {name: getattr(self, name) for name in MOVED_BY_PIECES}


_SELECTION = Selection(
    "turn",
    {
        **TURN_NOW,
        "turn_id": evolve(TURN_NOW["id"], decode=decode_anything),
        "session_id": Column("session_id", "s.id", decode_text),
        "round_id": Column("round_id", "r.id", decode_text),
        "response_id": Column("response_id", "p.id", decode_text),
        "lease": evolve(TURN_NOW["lease"], decode=decode_anything),
    },
    field_names(Stream),
)


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

    def stream(self, turn_id: str) -> Stream:
        """The stream of a turn, remembered or read. Raises NotFound."""
        streams: dict[str, Stream] = self._tx.streams
        found = streams.get(turn_id)
        if found is None:
            if len(streams) >= MAX_STREAMS:
                # What is forgotten may be read again at once, so the file has to hold its pieces.
                self.flush()
                streams.clear()
            found = streams[turn_id] = read_stream(self._tx.sql, turn_id)
        return found

    def add(self, stream: Stream, piece: Mapping[str, Any], content_bytes: int, raw_response_bytes: int) -> None:
        """The next piece of a turn, and the lengths of its two texts with it."""
        # First what may fail for this piece alone: the stream is remembered as it stands.
        if stream.lease is not None and stream.lease != (own := self._tx.own_lease_id()):
            # The turn belongs to whoever last appended to it.
            stream.lease = own
            self._tx.sql.execute("UPDATE turn SET lease = ? WHERE pk = ?", (own, stream.pk))
        seq = self._tx.next_seq()
        stream.seq = seq
        stream.current_tokens = piece.get("current_tokens", stream.current_tokens)
        stream.output_tokens = piece.get("output_tokens", stream.output_tokens)
        stream.content_bytes, stream.raw_response_bytes = content_bytes, raw_response_bytes
        content, raw_response = piece.get("content"), piece.get("raw_response")
        chunk, stream.chunk_count = stream.chunk_count, stream.chunk_count + 1
        self._rows.append(
            (
                content,
                raw_response,
                self._tx.clock,
                stream.pk,
                chunk,
                stream.current_tokens,
                stream.output_tokens,
                content_bytes,
                raw_response_bytes,
                seq,
            )
        )
        if self._tx.changes is not None:
            self._note(stream, content, raw_response)
        if stream.is_fold_due:
            self.flush()
            _fold(self._tx, stream)
        elif chunk == stream.folded_chunks:
            # The row then says that there are pieces, so that a feed that lost them all does not go unnoticed.
            update(self._tx, "turn", stream.pk, stream.standing())

    def flush(self) -> None:
        """Insert what was taken."""
        if self._told is not None:
            self._tell()
        rows, self._rows = self._rows, []
        if len(rows) == 1:
            self._tx.sql.execute(_INSERT, rows[0])
        elif rows:
            self._tx.sql.executemany(_INSERT, rows)
        if rows:
            # Of many, the statement holds the last.
            self._tx.sql.release_large(_INSERT, rows[-1])

    def _note(self, stream: Stream, content: str | None, raw_response: str | None) -> None:
        if self._told is not stream:
            if self._told is not None:
                self._tell()
            self._told = stream
        self._texts.append(content)
        self._raw_texts.append(raw_response)

    def _tell(self) -> None:
        stream, self._told = self._told, None
        if stream is not None and self._tx.changes is not None:
            first_chunk = stream.chunk_count - len(self._texts)
            self._tx.changes.append(_change(stream, first_chunk, joined(self._texts), joined(self._raw_texts)))
            self._texts, self._raw_texts = [], []


def _fold(tx: Transaction, stream: Stream) -> None:
    fold(tx, stream.pk, stream.folded_chunks, stream.standing())
    stream.folded_chunks = stream.chunk_count
    stream.folded_bytes = stream.content_bytes + stream.raw_response_bytes


def read_stream(sql: Sql, turn_id: str) -> Stream:
    """Raises NotFound, or Unreadable."""
    row = sql.execute(_select(sql.dialect), (turn_id,)).fetchone()
    if row is None:
        # It says what of the turn is not there.
        get_turn(sql, turn_id)
        raise NotFound("turn", turn_id)
    _SELECTION.decode(turn_id, row)
    return Stream(*row)


@cache
def _select(dialect: Dialect) -> str:
    return f"""
    SELECT {_SELECTION.sql(dialect)}
    FROM turn t
    JOIN session s ON s.pk = t.session_pk
    JOIN round r ON r.pk = t.round_pk
    JOIN response p ON p.pk = t.round_pk
    {LAST_PIECE}
    WHERE t.id = ?
    """


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

"""The text of turns: an append-only log, folded in bounded steps.

A piece is one row of the feed. Every ``FOLD_PIECES`` pieces (or ``FOLD_BYTES``) the append that completes them copies
them into one row of ``text``, as does the end of the turn; so an append costs the same however long the turn is, no
fold holds the lock for long, and reading a turn touches few rows. Pieces stay in the feed for those who follow it.

A turn's row accounts for everything that is folded, and pieces in the feed account for the rest. So every fold also
writes the turn's standing (``chunk_count``, tokens, lengths, ``seq``) into its row: the feed may lose any piece that is
folded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from attrs import frozen

from mandrake_sessions.store.interface import Dialect, Sql, Transaction
from mandrake_sessions.store.sql.rows import insert, update
from mandrake_sessions.store.sql.selection import Selection
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.value import Value

FOLD_PIECES = 1024
FOLD_BYTES = 256 * 1024
# A long text is read in slices of so many bytes.
SLICE_BYTES = 256 * 1024


@frozen(eq=False, repr=False)
class TextPlace(Value):
    """Where a turn's text stands: rows of ``text`` from ``content_pk`` and ``raw_response_pk`` on, then the pieces
    from ``folded_chunks`` on."""

    turn_pk: int
    folded_chunks: int
    content_pk: int
    raw_response_pk: int


class _Run(NamedTuple):
    """Some text of a turn, as it came."""

    turn_pk: int
    pk: int
    content: str | None
    raw_response: str | None


class Piece(NamedTuple):
    """What was appended at ``seq``; None where it had no such text."""

    seq: int
    content: str | None
    raw_response: str | None

    @property
    def texts(self) -> dict[str, str | None]:
        return {"content": self.content, "raw_response": self.raw_response}


_PIECE = Selection.as_stored(Piece, "f")


def find_piece(sql: Sql, turn_pk: int, chunk: int) -> Piece | None:
    """The piece of that ordinal; None where the feed no longer has it."""
    row = sql.execute(f"{_select_pieces(sql.dialect)} AND f.chunk = ?", (turn_pk, chunk)).fetchone()
    return None if row is None else Piece._make(row)


@cache
def _select_pieces(dialect: Dialect) -> str:
    """The pieces of one turn."""
    return f"SELECT {_PIECE.sql(dialect)} FROM feed f WHERE f.turn_pk = ?"


def insert_text(tx: Transaction, turn_pk: int, seq: int, content: str | None, raw_response: str | None) -> None:
    """Initial or replaced text, at the seq of the change that brought it."""
    insert(tx, "text", {"content": content, "raw_response": raw_response, "turn_pk": turn_pk, "pk": seq})


def fold(tx: Transaction, turn_pk: int, folded_chunks: int, standing: Mapping[str, Any]) -> None:
    """Copy the pieces from ``folded_chunks`` on into one row, and write into the turn's row how it stands.

    ``standing``: the columns ``seq``, ``chunk_count``, ``current_tokens``, ``output_tokens``, ``content_bytes`` and
    ``raw_response_bytes``, all pieces included.
    """
    columns = dict(standing)
    if folded_chunks < standing["chunk_count"]:
        statement = f"{_select_pieces(tx.sql.dialect)} AND f.chunk >= ? ORDER BY f.chunk"
        pieces = [Piece._make(row) for row in tx.sql.execute(statement, (turn_pk, folded_chunks))]
        if pieces:
            content = joined(piece.content for piece in pieces)
            raw_response = joined(piece.raw_response for piece in pieces)
            insert_text(tx, turn_pk, pieces[-1].seq, content, raw_response)
        columns["folded_chunks"] = standing["chunk_count"]
        columns["folded_bytes"] = standing["content_bytes"] + standing["raw_response_bytes"]
    update(tx, "turn", turn_pk, columns)


def is_fold_due(pieces: int, size: int) -> bool:
    """Whether so many unfolded pieces, of so many bytes together, are to be folded now."""
    return pieces >= FOLD_PIECES or size >= FOLD_BYTES


def joined(texts: Iterable[str | None]) -> str | None:
    """None where no piece had any."""
    present = [text for text in texts if text is not None]
    if len(present) == 1 and isinstance(present[0], str):
        return present[0]
    return together(present) if present else None


def together(texts: Iterable[str]) -> str:
    """The texts as one. Raises OddValue where one of them is not UTF-8."""
    try:
        return "".join(texts)
    except TypeError:
        raise OddValue("has a piece that is not UTF-8 text") from None


def texts_of(sql: Sql, places: Sequence[TextPlace], *, raw: bool) -> list[tuple[str, str]]:
    """``(content, raw_response)`` of many turns, in two statements; without ``raw`` the latter is empty."""
    runs: dict[int, list[_Run]] = defaultdict(list)
    keys = sql.dialect.numbers(place.turn_pk for place in places)
    folded = sql.dialect.number_pairs((place.turn_pk, place.folded_chunks) for place in places)
    for statement, value in ((_folded_runs(sql.dialect, raw), keys), (_pieces(sql.dialect, raw), folded)):
        for run in map(_Run._make, sql.execute(statement, (value,))):
            runs[run.turn_pk].append(run)
    return [_text(place, runs[place.turn_pk]) for place in places]


@cache
def _folded_runs(dialect: Dialect, raw: bool) -> str:
    return (
        f"SELECT {_run_columns('x', 'pk', raw=raw)} FROM text x WHERE {dialect.among('x.turn_pk')}"
        " ORDER BY x.turn_pk, x.pk"
    )


@cache
def _pieces(dialect: Dialect, raw: bool) -> str:
    """The pieces that are not folded. SQLite carries out a CROSS JOIN in the order in which it is written: from each
    turn to its pieces, by the index."""
    return (
        f"SELECT {_run_columns('f', 'seq', raw=raw)} FROM {dialect.pairs('place', 'turn_pk', 'folded')}"
        " CROSS JOIN feed AS f WHERE f.turn_pk = place.turn_pk AND f.chunk >= place.folded"
        " ORDER BY f.turn_pk, f.chunk"
    )


def _run_columns(alias: str, pk: str, *, raw: bool) -> str:
    """The list of a SELECT that gives ``_Run``; ``pk``: the column of that table that says where the run stands."""
    others = {"pk": f"{alias}.{pk}"} if raw else {"pk": f"{alias}.{pk}", "raw_response": "NULL"}
    return ", ".join(others.get(name, f"{alias}.{name}") for name in _Run._fields)


def each_slice(sql: Sql, place: TextPlace, column: str) -> Iterator[str]:
    """The text of one turn in slices of a bounded length, each read when it is asked for; ``column``: ``content`` or
    ``raw_response``."""
    first = place.content_pk if column == "content" else place.raw_response_pk
    for statement, values in (
        ("FROM text WHERE turn_pk = ? AND pk >= ? ORDER BY pk", (place.turn_pk, first)),
        (
            "FROM feed WHERE turn_pk = ? AND seq >= ? AND chunk >= ? ORDER BY chunk",
            (place.turn_pk, first, place.folded_chunks),
        ),
    ):
        # As bytes, since one character beyond Latin-1 makes a text of Python's four times as large.
        for (stored,) in sql.execute(f"SELECT {sql.dialect.as_bytes(column)} {statement}", values):
            if stored:
                yield from _slices(stored)


def _slices(stored: bytes) -> Iterator[str]:
    start = 0
    while start < len(stored):
        end = min(start + SLICE_BYTES, len(stored))
        # Not in the middle of a character.
        while start < end < len(stored) and stored[end] & 0xC0 == 0x80:
            end -= 1
        try:
            yield stored[start:end].decode()
        except UnicodeDecodeError as error:
            raise OddValue("a text is not UTF-8") from error
        start = end


def _text(place: TextPlace, runs: list[_Run]) -> tuple[str, str]:
    content = together(run.content for run in runs if run.content is not None and run.pk >= place.content_pk)
    raw = together(run.raw_response for run in runs if run.raw_response is not None and run.pk >= place.raw_response_pk)
    return content, raw

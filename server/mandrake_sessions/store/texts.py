"""The text of turns: an append-only log, folded in bounded steps.

A piece is one row of the feed. Every ``FOLD_PIECES`` pieces (or ``FOLD_BYTES``) the append that completes them copies
them into one row of ``text``, as does the end of the turn; so an append costs the same however long the turn is, no
fold holds the lock for long, and reading a turn touches few rows. Pieces stay in the feed for those who follow it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from sqlite3 import Connection

from attrs import frozen

from mandrake_sessions.store.rows import insert
from mandrake_sessions.store.transaction import Transaction

FOLD_PIECES = 1024
FOLD_BYTES = 256 * 1024


@frozen
class TextPlace:
    """Where a turn's text stands: rows of ``text`` from ``content_pk`` and ``raw_response_pk`` on, then the pieces
    from ``folded_chunks`` on."""

    turn_pk: int
    folded_chunks: int
    content_pk: int
    raw_response_pk: int


@frozen
class _Run:
    """Some text of a turn, as it came."""

    pk: int
    content: str | None
    raw_response: str | None


def insert_text(tx: Transaction, turn_pk: int, seq: int, content: str | None, raw_response: str | None) -> None:
    """Initial or replaced text, at the seq of the change that brought it."""
    insert(tx, "text", {"pk": seq, "turn_pk": turn_pk, "content": content, "raw_response": raw_response})


def fold(tx: Transaction, turn_pk: int, folded_chunks: int, chunk_count: int, total_bytes: int) -> None:
    """Copy the pieces from ``folded_chunks`` on into one row.

    ``chunk_count`` pieces there are in all, and ``total_bytes`` of text, both kinds together.
    """
    if folded_chunks == chunk_count:
        return
    rows = tx.execute(
        "SELECT seq, content, raw_response FROM feed WHERE turn_pk = ? AND chunk >= ? ORDER BY chunk",
        (turn_pk, folded_chunks),
    ).fetchall()
    insert_text(tx, turn_pk, rows[-1][0], joined(row[1] for row in rows), joined(row[2] for row in rows))
    tx.execute("UPDATE turn SET folded_chunks = ?, folded_bytes = ? WHERE pk = ?", (chunk_count, total_bytes, turn_pk))


def joined(texts: Iterable[str | None]) -> str | None:
    """None where no piece had any."""
    present = [text for text in texts if text is not None]
    return "".join(present) if present else None


def texts_of(connection: Connection, places: Sequence[TextPlace], *, raw: bool) -> list[tuple[str, str]]:
    """``(content, raw_response)`` of many turns, in two statements; without ``raw`` the latter is empty."""
    keys = json.dumps([place.turn_pk for place in places])
    run_raw, piece_raw = ("raw_response", "f.raw_response") if raw else ("NULL", "NULL")
    runs: dict[int, list[_Run]] = defaultdict(list)
    for turn_pk, *run in connection.execute(
        f"SELECT turn_pk, pk, content, {run_raw} FROM text"
        " WHERE turn_pk IN (SELECT value FROM json_each(?)) ORDER BY turn_pk, pk",
        (keys,),
    ):
        runs[turn_pk].append(_Run(*run))
    folded = json.dumps([[place.turn_pk, place.folded_chunks] for place in places])
    for turn_pk, *run in connection.execute(
        f"SELECT f.turn_pk, f.seq, f.content, {piece_raw} FROM json_each(?) AS place CROSS JOIN feed AS f"
        " ON f.turn_pk = json_extract(place.value, '$[0]') AND f.chunk >= json_extract(place.value, '$[1]')"
        " ORDER BY f.turn_pk, f.chunk",
        (folded,),
    ):
        runs[turn_pk].append(_Run(*run))
    return [_text(place, runs[place.turn_pk]) for place in places]


def _text(place: TextPlace, runs: list[_Run]) -> tuple[str, str]:
    content = "".join(run.content for run in runs if run.content is not None and run.pk >= place.content_pk)
    raw = "".join(run.raw_response for run in runs if run.raw_response is not None and run.pk >= place.raw_response_pk)
    return content, raw

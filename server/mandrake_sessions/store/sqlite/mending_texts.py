"""Mends the counts and positions of the texts of turns."""

from __future__ import annotations

from typing import Any

from mandrake_sessions.store.sql.values import MAX_NUMBER
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.deep_rules import broken_turns


def mend_texts(connection: StoreConnection) -> None:
    for pk in broken_turns(connection):
        _mend(connection, pk)


def _mend(connection: StoreConnection, pk: int) -> None:
    """Fold the remaining pieces, set where the texts begin, and count them."""
    (last_text,) = connection.execute("SELECT coalesce(max(pk), 0) FROM text WHERE turn_pk = ?", (pk,)).fetchone()
    pieces = connection.execute(
        "SELECT seq, chunk, content, raw_response FROM feed WHERE turn_pk = ? AND chunk IS NOT NULL ORDER BY chunk",
        (pk,),
    ).fetchall()
    (chunk_count,) = connection.execute("SELECT chunk_count FROM turn WHERE pk = ?", (pk,)).fetchone()
    unfolded = [piece for piece in pieces if piece[0] > last_text]
    if unfolded:
        connection.execute(
            "INSERT INTO text (pk, turn_pk, content, raw_response) VALUES (?, ?, ?, ?)",
            (max(piece[0] for piece in unfolded), pk, _joined(unfolded, 2), _joined(unfolded, 3)),
        )
    # No ordinal is used twice, even if its piece is missing.
    count = max([chunk_count, 0, *(piece[1] + 1 for piece in pieces if piece[1] < MAX_NUMBER)])
    connection.execute("UPDATE turn SET chunk_count = ?, folded_chunks = ? WHERE pk = ?", (count, count, pk))
    for column in ("content", "raw_response"):
        _find_beginning(connection, pk, column)
        connection.execute(
            f"UPDATE turn SET {column}_bytes = coalesce((SELECT sum(length(CAST(x.{column} AS BLOB))) FROM text x"
            f" WHERE x.turn_pk = turn.pk AND x.pk >= turn.{column}_pk), 0) WHERE pk = ?",
            (pk,),
        )
    connection.execute(
        "UPDATE turn SET folded_bytes = content_bytes + raw_response_bytes,"
        " seq = max(seq, coalesce((SELECT max(pk) FROM text WHERE turn_pk = turn.pk), 0)) WHERE pk = ?",
        (pk,),
    )


def _find_beginning(connection: StoreConnection, pk: int, column: str) -> None:
    """If the row names no text: the last replacement that the feed has, else the whole text."""
    connection.execute(
        f"UPDATE turn SET {column}_pk = coalesce((SELECT max(x.pk) FROM text x JOIN feed f ON f.seq = x.pk"
        f" WHERE x.turn_pk = turn.pk AND x.{column} IS NOT NULL AND f.kind IN ('created', 'updated')), turn.pk)"
        f" WHERE pk = ? AND {column}_pk <> pk"
        f" AND NOT EXISTS (SELECT 1 FROM text x WHERE x.pk = turn.{column}_pk AND x.turn_pk = turn.pk)",
        (pk,),
    )


def _joined(pieces: list[Any], position: int) -> str | None:
    texts = [piece[position] for piece in pieces if piece[position] is not None]
    readable = [text.decode(errors="replace") if isinstance(text, bytes) else text for text in texts]
    return "".join(readable) if readable else None

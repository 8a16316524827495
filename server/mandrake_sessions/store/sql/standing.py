"""How a turn stands: its row with its last piece laid over it.

While a turn streams, its last piece in the feed says what the appends since its last fold or other change have moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from attrs import evolve

from mandrake_sessions.store.interface import Dialect
from mandrake_sessions.store.sql.columns import TURN, Column, columns_from

# What pieces move.
MOVED_BY_PIECES: Final = (
    "seq", "chunk_count", "current_tokens", "output_tokens", "content_bytes", "raw_response_bytes",
)  # fmt: skip

# Joins the last piece `a` to the row `t`.
LAST_PIECE: Final = """
LEFT JOIN feed a ON t.status = 'streaming' AND a.seq = (
    SELECT f.seq FROM feed f WHERE f.turn_pk = t.pk AND f.chunk >= t.chunk_count ORDER BY f.chunk DESC LIMIT 1)
"""


def _standing(name: str) -> str | Callable[[Dialect], str]:
    if name == "chunk_count":
        return lambda dialect: dialect.greatest("coalesce(a.chunk + 1, t.chunk_count)", "t.folded_chunks")
    piece_or_row = f"coalesce(a.{name}, t.{name})"
    return partial(_length, name, piece_or_row) if name.endswith("_bytes") else piece_or_row


def _length(name: str, piece_or_row: str, dialect: Dialect) -> str:
    """Release 0.3.0 folded pieces without writing the standing, and could prune the last of them: of such a turn the
    text that is there says how long it is."""
    text = name.removesuffix("_bytes")
    return (
        f"CASE WHEN a.seq IS NULL AND t.folded_chunks > t.chunk_count THEN ("
        f"SELECT coalesce(sum({dialect.byte_length(f'x.{text}')}), 0) FROM text x"
        f" WHERE x.turn_pk = t.pk AND x.pk >= t.{text}_pk) ELSE {piece_or_row} END"
    )


# The columns of a turn as it stands, for `FROM turn t` with LAST_PIECE.
TURN_NOW: Final[Mapping[str, Column]] = {
    name: evolve(column, sql=_standing(name)) if name in MOVED_BY_PIECES else column
    for name, column in columns_from("t", TURN).items()
}

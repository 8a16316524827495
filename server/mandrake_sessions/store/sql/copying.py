"""SQL of copies: the rounds of a session with all that hangs from them, read in one state of the store and written into
another session, a few rows at a time (see ``hidden.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from attrs import define, frozen

from mandrake_sessions.ids import new_id
from mandrake_sessions.model import ResponseStatus, TurnStatus, Usage
from mandrake_sessions.store.interface import Sql, Transaction
from mandrake_sessions.store.sql import rounds, sessions, turns
from mandrake_sessions.store.sql.columns import TURN
from mandrake_sessions.store.sql.leases import NO_LEASE
from mandrake_sessions.store.sql.rows import insert, row_bytes
from mandrake_sessions.store.sql.selection import field_names
from mandrake_sessions.store.sql.texts import SLICE_BYTES, each_slice, insert_text, texts_of
from mandrake_sessions.store.sql.tool_calls import stored_tool_calls
from mandrake_sessions.store.sql.turns import StoredTurn
from mandrake_sessions.store.sql.values import byte_length

# A turn whose texts are longer is copied in slices.
LONG_BYTES = SLICE_BYTES
# Turns that are read together: so many, or about so many bytes.
_READ_TURNS = 200
_READ_BYTES = 1024 * 1024
# About the bytes of a row and of its places in indexes, beside its texts.
_ROW_BYTES = 300

_OF_SESSION = ("agent", "source", "cwd", "title", "description", "metadata")
# What a copied turn has of its own.
_OF_TURN = tuple(
    name
    for name in TURN
    if name
    not in {
        "pk", "id", "seq", "session_pk", "round_pk", "folded_chunks", "folded_bytes", "content_pk", "raw_response_pk",
        "content_bytes", "raw_response_bytes", "create_hash",
    }
)  # fmt: skip


@define
class Copy:
    """A session that is being written, and how its row stands after what was written so far. ``id``: the one that it
    has until it is shown. ``round_pk`` and ``turn_pk``: the copies that the next parts hang from."""

    pk: int
    id: str
    active_at: int
    preview: str | None = None
    round_count: int = 0
    next_round_index: int = 0
    round_pk: int = 0
    turn_pk: int = 0

    def moved(self, *moments: int | None) -> None:
        """When the copied conversation moved."""
        self.active_at = max(self.active_at, *(moment or 0 for moment in moments))


class Part(Protocol):
    """A few rows of a copy, in memory. ``weight``: about how many bytes they take."""

    @property
    def weight(self) -> int: ...
    def write(self, tx: Transaction, copy: Copy) -> None:
        """Insert them after the parts before."""


@frozen
class _RoundPart:
    """A round with its request and its response."""

    round: Mapping[str, Any]
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    usage: Mapping[str, Any] | None

    @property
    def weight(self) -> int:
        return 3 * _ROW_BYTES + sum(row_bytes(tuple(row.values())) for row in (self.round, self.request, self.response))

    def write(self, tx: Transaction, copy: Copy) -> None:
        pk = tx.next_seq()
        insert(tx, "round", {**self.round, "id": new_id(), "session_pk": copy.pk, "pk": pk})
        insert(tx, "request", {**self.request, "id": new_id(), "pk": pk})
        insert(tx, "response", {**self.response, "id": new_id(), "pk": pk})
        if self.usage is not None:
            insert(tx, "response_usage", {**self.usage, "pk": pk})
        if not copy.round_count:
            copy.preview = sessions.preview_of(self.request["content"])
        copy.round_pk = pk
        copy.round_count += 1
        copy.next_round_index = self.round["index"] + 1
        copy.moved(self.round["created_at"], self.response["end_time"])


@frozen
class _TurnPart:
    """A turn with its texts, or with the first of them: none, where they are long."""

    row: Mapping[str, Any]
    content: str
    raw_response: str

    @property
    def weight(self) -> int:
        texts = byte_length(self.content) + byte_length(self.raw_response)
        return _ROW_BYTES + row_bytes(tuple(self.row.values())) + texts

    def write(self, tx: Transaction, copy: Copy) -> None:
        pk = tx.next_seq()
        sizes = turns.sizes(byte_length(self.content), byte_length(self.raw_response))
        places = dict.fromkeys(("content_pk", "raw_response_pk", "seq", "pk"), pk)
        where = {"session_pk": copy.pk, "round_pk": copy.round_pk}
        insert(tx, "turn", {**self.row, "id": new_id(), **where, **sizes, **places})
        if self.content or self.raw_response:
            insert_text(tx, pk, pk, self.content, self.raw_response)
        copy.turn_pk = pk
        copy.moved(self.row["stream_start_time"], self.row["stream_end_time"])


@frozen
class _SlicePart:
    """The next slice of one of the texts of a turn; ``column``: ``content`` or ``raw_response``."""

    column: str
    text: str

    @property
    def weight(self) -> int:
        return byte_length(self.text)

    def write(self, tx: Transaction, copy: Copy) -> None:
        texts: dict[str, str | None] = {"content": None, "raw_response": None, self.column: self.text}
        insert_text(tx, copy.turn_pk, tx.next_seq(), texts["content"], texts["raw_response"])
        size = self.weight
        tx.sql.execute(
            f"UPDATE turn SET {self.column}_bytes = {self.column}_bytes + ?, folded_bytes = folded_bytes + ?"
            " WHERE pk = ?",
            (size, size, copy.turn_pk),
        )


@frozen
class _CallPart:
    """A tool call."""

    row: Mapping[str, Any]

    @property
    def weight(self) -> int:
        return _ROW_BYTES + row_bytes(tuple(self.row.values()))

    def write(self, tx: Transaction, copy: Copy) -> None:
        insert(tx, "tool_call", {**self.row, "turn_pk": copy.turn_pk})


def each_part(sql: Sql, session_pk: int, through: int | None, at: int) -> Iterator[Part]:
    """The rounds of a session up to and with the one of the index ``through``, each with its turns, read while they are
    asked for. What cannot be read is left out, and noted. ``at``: when what still streams is interrupted."""
    statement = "SELECT DISTINCT round_pk FROM turn WHERE session_pk = ? AND status = 'streaming'"
    streaming = {round_pk for (round_pk,) in sql.execute(statement, (session_pk,))}
    for row in rounds.list_rounds(sql, session_pk, None, None):
        if through is not None and row.index > through:
            return
        yield _round_part(sql, row, at, is_streaming=row.pk in streaming)
        yield from _turn_parts(sql, row.pk, at)


def copied_columns(sql: Sql, pk: int) -> dict[str, Any]:
    """The columns that a copy has of its session, as they are stored."""
    listed = ", ".join(f'"{name}"' for name in _OF_SESSION)
    values = sql.execute(f"SELECT {listed} FROM session WHERE pk = ?", (pk,)).fetchone()
    return dict(zip(_OF_SESSION, values, strict=True))


def _round_part(sql: Sql, row: rounds.RoundRow, at: int, *, is_streaming: bool) -> _RoundPart:
    stored = row.columns
    (next_turn_index,) = sql.execute("SELECT next_turn_index FROM response WHERE pk = ?", (row.pk,)).fetchone()
    response = {
        **{name: stored[name] for name in ("status", "stop_reason", "end_time")},
        "created_at": stored["response_created_at"],
        "updated_at": stored["response_updated_at"],
        "next_turn_index": next_turn_index,
    }
    if is_streaming and stored["status"] in rounds.NOT_ENDED:
        end_time = max(at, stored["response_created_at"])
        response |= {"status": ResponseStatus.INTERRUPTED.value, "end_time": end_time, "updated_at": end_time}
    return _RoundPart(
        {
            **{name: stored[name] for name in ("index", "origin", "metadata", "created_at", "updated_at")},
            "copied_from_id": stored["copied_from_id"] or stored["id"],
        },
        {
            **{name: stored[name] for name in ("content", "blocks")},
            "created_at": stored["request_created_at"],
            "updated_at": stored["request_updated_at"],
        },
        response,
        {name: stored[f"usage_{name}"] for name in field_names(Usage)} if stored["usage_pk"] is not None else None,
    )


def _turn_parts(sql: Sql, round_pk: int, at: int) -> Iterator[Part]:
    few: list[StoredTurn] = []
    size = 0
    for turn in turns.list_turns(sql, round_pk):
        length = turn.content_bytes + turn.raw_response_bytes
        weight = turn.weight + length
        is_long = length > LONG_BYTES
        if is_long or size + weight > _READ_BYTES or len(few) == _READ_TURNS:
            yield from _short_turns(sql, few, at)
            few, size = [], 0
        if is_long:
            yield from _long_turn(sql, turn, at)
        else:
            few.append(turn)
            size += weight
    yield from _short_turns(sql, few, at)


def _short_turns(sql: Sql, few: list[StoredTurn], at: int) -> Iterator[Part]:
    texts = texts_of(sql, [turn.text for turn in few], raw=True) if few else []
    for turn, (content, raw_response) in zip(few, texts, strict=True):
        yield _TurnPart(_turn_row(turn, at), content, raw_response)
        yield from map(_CallPart, stored_tool_calls(sql, turn.pk))


def _long_turn(sql: Sql, turn: StoredTurn, at: int) -> Iterator[Part]:
    yield _TurnPart(_turn_row(turn, at), "", "")
    for column in ("content", "raw_response"):
        for text in each_slice(sql, turn.text, column):
            yield _SlicePart(column, text)
    yield from map(_CallPart, stored_tool_calls(sql, turn.pk))


def _turn_row(turn: StoredTurn, at: int) -> dict[str, Any]:
    row = {name: turn.status_word if name == "status" else getattr(turn, name) for name in _OF_TURN}
    if turn.status is TurnStatus.STREAMING:
        end_time = turn.end_time(at)
        row |= {
            "status": TurnStatus.INTERRUPTED.value,
            "stream_end_time": end_time,
            "updated_at": max(at, turn.created_at),
        }
    # Nobody streams the copy, and nobody has made it detached. All of its text is in place then.
    return {**row, "lease": NO_LEASE, "folded_chunks": turn.chunk_count}

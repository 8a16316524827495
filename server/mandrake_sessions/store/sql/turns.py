"""SQL of turns, without their text (see ``texts.py``). Every read of a turn gives it as it stands (``standing.py``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from attrs import evolve

from mandrake_sessions.brief import LONG_CALLS, LONG_TURN, check_length
from mandrake_sessions.currencies import DEFAULT_CURRENCY
from mandrake_sessions.ids import new_id
from mandrake_sessions.model import ToolCall, Turn, TurnStatus
from mandrake_sessions.store.interface import Dialect, Row, Sql, Transaction
from mandrake_sessions.store.sql.columns import Column, decode_anything
from mandrake_sessions.store.sql.readable import readable, readable_page
from mandrake_sessions.store.sql.rounds import StoredRound, take_turn_index
from mandrake_sessions.store.sql.rows import insert, or_not_found, row_bytes, update
from mandrake_sessions.store.sql.selection import Selection, field_names, picker, unreadable
from mandrake_sessions.store.sql.standing import LAST_PIECE, MOVED_BY_PIECES, TURN_NOW
from mandrake_sessions.store.sql.texts import TextPlace, each_slice, fold, insert_text, texts_of
from mandrake_sessions.store.sql.tool_calls import (
    approximate_bytes,
    each_tool_call,
    insert_tool_calls,
    tool_call_bytes,
    tool_calls_of,
)
from mandrake_sessions.store.sql.values import (
    COST_UNITS,
    MAX_INTEGER,
    byte_length,
    decode_object,
    decode_text,
    decode_word,
)

# The names of the fields, and numbers.
_FRAME_BYTES = 700
# So many turns, or about so many bytes of them, are read together: a turn at a time takes three statements, and all of
# them at once as much memory as there is text.
_READ_TURNS = 200
_READ_BYTES = 1024 * 1024


class StoredTurn(NamedTuple):
    """A turn's row as it stands, its columns as they are stored.

    ``content_bytes`` and ``raw_response_bytes`` are the lengths of its texts in UTF-8, ``folded_bytes`` how much text,
    both kinds together, was there at the last fold.
    """

    pk: int
    session_pk: int
    round_pk: int
    folded_chunks: int
    content_pk: int
    raw_response_pk: int
    content_bytes: int
    raw_response_bytes: int
    lease: str | None
    create_hash: bytes | None
    id: str
    seq: int
    response_id: str
    index: int  # type: ignore[assignment]  # In place of the method of tuples, which nobody calls.
    kind: str
    tool_call_id: str | None
    status_word: str
    error: str | None
    model: str | None
    stream_start_time: int
    stream_end_time: int | None
    current_tokens: int
    expected_tokens: int | None
    input_tokens: int
    output_tokens: int
    thought_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    input_cost: int
    output_cost: int
    cost: int | None
    currency: str
    chunk_count: int
    metadata: str
    updated_at: int
    created_at: int
    folded_bytes: int

    @property
    def status(self) -> TurnStatus:
        return decode_word(TurnStatus, self.status_word)

    @property
    def text(self) -> TextPlace:
        """Where its texts stand."""
        return TextPlace(
            turn_pk=self.pk,
            folded_chunks=self.folded_chunks,
            content_pk=self.content_pk,
            raw_response_pk=self.raw_response_pk,
        )

    def end_time(self, now: int) -> int:
        """When it ends, if it does so now: never before it began, though the clock may have been set back."""
        return max(now, self.stream_start_time)

    @property
    def weight(self) -> int:
        """About how many bytes the turn takes in an answer, without its texts and tool calls."""
        return _FRAME_BYTES + row_bytes(self)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that a caller may change, by their names."""
        return dict(zip(_MOVABLE, _movable(self), strict=True))

    def standing(self) -> dict[str, Any]:
        """What pieces have moved, as columns: every change but an append writes it into the row."""
        moved = {name: getattr(self, name) for name in MOVED_BY_PIECES}
        for name, value in moved.items():
            if value > MAX_INTEGER:
                # What the ordinal of a piece gives that was the largest there is.
                raise unreadable("turn", self.id, f"its {name} is {value}, more than SQLite can hold")
        return moved


_SELECTION = Selection(
    "turn",
    {
        **TURN_NOW,
        "status_word": TURN_NOW["status"],
        "response_id": Column("response_id", "p.id", decode_text),
        # A lease that is none is nobody's; where it is used it is checked.
        "lease": evolve(TURN_NOW["lease"], decode=decode_anything),
    },
    StoredTurn._fields,
)
_INDEX = _SELECTION.position("index")
# The columns of a turn that a change may move, by the names of Turn; what `differences` compares.
_MOVABLE = (
    "kind", "tool_call_id", "status", "error", "model", "stream_start_time", "stream_end_time", "current_tokens",
    "expected_tokens", "input_tokens", "output_tokens", "thought_tokens", "cache_read_tokens", "cache_write_tokens",
    "input_cost", "output_cost", "cost", "currency", "chunk_count", "metadata", "updated_at",
)  # fmt: skip
_movable = picker(_SELECTION.names, ["status_word" if name == "status" else name for name in _MOVABLE])
# What a Turn has beside the columns, or in place of one of the same name.
_COSTS = ("input_cost", "output_cost", "cost")
_NOT_STORED = ("tool_calls", "status", "metadata", *_COSTS, "content", "raw_response")
_DEFAULTS = {
    "id": None,
    "kind": "message",
    "status": TurnStatus.STREAMING.value,
    "metadata": "{}",
    "current_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_cost": 0,
    "output_cost": 0,
    "currency": DEFAULT_CURRENCY,
}
_values_of_turn = picker((*_SELECTION.names, *_NOT_STORED), field_names(Turn))


def insert_turn(
    tx: Transaction, of: StoredRound, columns: Mapping[str, Any], create_hash: bytes | None, *, lease: str | None
) -> StoredTurn:
    """A new turn of a round's response at the next seq, with its tool calls and its text, which are among ``columns``.
    ``lease``: that of the process which streams it."""
    index = take_turn_index(tx, of.pk)
    place = {"session_pk": of.session_pk, "round_pk": of.pk, "index": index}
    return turn_by_pk(tx.sql, insert_rows(tx, {**columns, "lease": lease}, place, create_hash, now=tx.now))


def insert_rows(
    tx: Transaction, columns: Mapping[str, Any], place: Mapping[str, int], create_hash: bytes | None, *, now: int
) -> int:
    """The rows of a new turn at the next seq, which it gives. ``place``: its session, round and index. ``now``: when it
    is changed last, or its creation, if that is later."""
    pk = tx.next_seq()
    given = dict(columns)
    calls, content, raw_response = (given.pop(name, "") for name in ("tool_calls", "content", "raw_response"))
    created_at = columns.get("created_at", now)
    row = {
        **_DEFAULTS,
        "stream_start_time": created_at,
        **given,
        **sizes(byte_length(content), byte_length(raw_response)),
        "pk": pk,
        "seq": pk,
        **place,
        "content_pk": pk,
        "raw_response_pk": pk,
        "create_hash": create_hash,
        "created_at": created_at,
        "updated_at": max(created_at, now),
    }
    row["id"] = row["id"] or new_id()
    insert(tx, "turn", row)
    if content or raw_response:
        insert_text(tx, pk, pk, content, raw_response)
    insert_tool_calls(tx, pk, calls)
    return pk


def find_turn(sql: Sql, turn_id: str) -> StoredTurn | None:
    return _one(sql, "WHERE t.id = ?", turn_id)


def get_turn(sql: Sql, turn_id: str, *, lenient: bool = False) -> StoredTurn:
    """``lenient``: also where its row cannot be read, for callers that delete or overwrite it.

    Raises:
        NotFound: there is none.
        Unreadable: it is not what this program could have stored, or its response is not there.
    """
    return or_not_found(_one(sql, "WHERE t.id = ?", turn_id, lenient=lenient), "turn", turn_id)


def turn_by_pk(sql: Sql, pk: int) -> StoredTurn:
    """Raises NotFound."""
    return or_not_found(_one(sql, "WHERE t.pk = ?", pk), "turn", str(pk))


def update_turn(
    tx: Transaction,
    stored: StoredTurn,
    columns: Mapping[str, Any],
    seq: int,
    *,
    new_texts: Mapping[str, str] | None = None,
    taken_up: bool = False,
) -> StoredTurn:
    """Set columns, and what pieces have moved; gives the turn as it stands then. ``new_texts``: those that replace its
    texts, by name. ``taken_up``: this process streams it from now on."""
    row = {**stored.standing(), **columns, "seq": seq}
    if new_texts:
        insert_text(tx, stored.pk, seq, new_texts.get("content"), new_texts.get("raw_response"))
        lengths = {"content": stored.content_bytes, "raw_response": stored.raw_response_bytes}
        row |= sizes(**lengths | {name: byte_length(text) for name, text in new_texts.items()})
        row |= {f"{name}_pk": seq for name in new_texts}
    if taken_up:
        row["lease"] = tx.own_lease_id()
    update(tx, "turn", stored.pk, row)
    return turn_by_pk(tx.sql, stored.pk)


def fold_turn(tx: Transaction, stored: StoredTurn) -> None:
    """Copy its pieces that are not folded yet into one text."""
    fold(tx, stored.pk, stored.folded_chunks, stored.standing())


def sizes(content: int, raw_response: int) -> dict[str, int]:
    """The columns that say how many bytes the texts of a turn have, all of them folded."""
    return {"content_bytes": content, "raw_response_bytes": raw_response, "folded_bytes": content + raw_response}


def differences(before: StoredTurn, after: StoredTurn) -> dict[str, Any]:
    """The fields that differ, by the names of Turn, as they are now; ``updated_at`` always."""
    old = before.columns
    changed = {name: value for name, value in after.columns.items() if value != old[name] or name == "updated_at"}
    if "metadata" in changed:
        changed["metadata"] = decode_object(changed["metadata"])
    return changed | {name: _cost(changed[name]) for name in _COSTS if name in changed}


def delete_turn(tx: Transaction, pk: int) -> None:
    """Delete the row; its tool calls and text go with it."""
    tx.sql.execute("DELETE FROM turn WHERE pk = ?", (pk,))


def list_turns(sql: Sql, round_pk: int, after: int | None = None, limit: int | None = None) -> Iterator[StoredTurn]:
    """The turns of a response by index, those beyond ``after``; each read when it is asked for, and left out if it
    cannot be read."""

    def fetch(beyond: int, count: int | None) -> Iterable[Row]:
        rest = 'WHERE t.round_pk = ? AND t."index" > ? ORDER BY t."index" LIMIT ?'
        return sql.execute(_select(sql.dialect, rest), (round_pk, beyond, count))

    return readable_page(sql, fetch, lambda row: row[_INDEX], -1 if after is None else after, limit, _stored)


def latest_turn(sql: Sql, round_pk: int) -> StoredTurn | None:
    return _one(sql, 'WHERE t.round_pk = ? ORDER BY t."index" DESC LIMIT 1', round_pk)


def is_streaming(sql: Sql, round_pk: int) -> bool:
    """Whether a turn of a response streams now."""
    row = sql.execute("SELECT 1 FROM turn WHERE round_pk = ? AND status = 'streaming' LIMIT 1", (round_pk,)).fetchone()
    return row is not None


def turn_bytes(sql: Sql, round_pks: Iterable[int], *, text: bool, raw: bool) -> dict[int, int]:
    """About how many bytes the turns of each round take in an answer, but for pieces that are not folded yet. No
    text is read for that."""
    texts = "0" if not text else "t.content_bytes + t.raw_response_bytes" if raw else "t.content_bytes"
    wanted = (sql.dialect.numbers(round_pks),)
    weights: dict[int, int] = defaultdict(int)
    for statement in (_bytes_of_rounds(sql.dialect, texts), _call_bytes_of_rounds(sql.dialect)):
        for round_pk, size in sql.execute(statement, wanted):
            weights[round_pk] += int(size)
    return weights


def turns_of_rounds(sql: Sql, round_pks: Iterable[int]) -> Iterator[StoredTurn]:
    """The turns of many rounds in one statement, by round and index; each read when it is asked for."""
    rows = sql.execute(_of_rounds(sql.dialect), (sql.dialect.numbers(round_pks),))
    return readable(sql, rows, _stored)


def streaming_turns(sql: Sql, session_pk: int | None = None) -> Iterator[StoredTurn]:
    """The turns that stream now, of one session or of all, oldest first; each read when it is asked for, and left out
    if it cannot be read."""
    condition, values = ("", ()) if session_pk is None else ("AND t.session_pk = ?", (session_pk,))
    rest = f"WHERE t.status = 'streaming' {condition} ORDER BY t.pk"
    return readable(sql, sql.execute(_select(sql.dialect, rest), values), _stored)


def turn_pks_of_session(sql: Sql, session_pk: int) -> list[int]:
    return [pk for (pk,) in sql.execute("SELECT pk FROM turn WHERE session_pk = ?", (session_pk,))]


def turn_pks_of_round(sql: Sql, round_pk: int) -> list[int]:
    return [pk for (pk,) in sql.execute("SELECT pk FROM turn WHERE round_pk = ?", (round_pk,))]


def load_turns(sql: Sql, stored: list[StoredTurn], *, text: bool = True, raw: bool = True) -> list[Turn]:
    """The entities, tool calls and (where asked for) texts included, in a fixed number of statements."""
    calls = tool_calls_of(sql, [turn.pk for turn in stored])
    if not text:
        return [_turn(turn, calls.get(turn.pk, [])) for turn in stored]
    texts = texts_of(sql, [turn.text for turn in stored], raw=raw)
    return [
        _turn(turn, calls.get(turn.pk, []), content, raw_response if raw else None)
        for turn, (content, raw_response) in zip(stored, texts, strict=True)
    ]


def weighed(sql: Sql, found: Iterable[StoredTurn], *, text: bool, raw: bool) -> Iterator[tuple[StoredTurn, int]]:
    """Each turn with about how many bytes it takes in an answer, a few read ahead at a time."""
    for some in _few(found):
        calls = tool_call_bytes(sql, [turn.pk for turn in some])
        check_length(sum(calls.values()), LONG_CALLS)
        for turn in some:
            texts = (turn.content_bytes + (turn.raw_response_bytes if raw else 0)) if text else 0
            yield turn, turn.weight + calls.get(turn.pk, 0) + texts


def each_turn(sql: Sql, found: Iterable[StoredTurn], *, text: bool = True, raw: bool = True) -> Iterator[Turn]:
    """What ``load_turns`` gives, read while it is asked for: about 1 MiB at a time, or one turn. Of a turn
    that is longer than that, the tool calls are an iterator too, and the texts are iterators of slices, to be taken
    before the next turn is."""
    together: list[StoredTurn] = []
    size = 0
    for turn, weight in weighed(sql, found, text=text, raw=raw):
        check_length(weight, LONG_TURN)
        if together and (size + weight > _READ_BYTES or len(together) == _READ_TURNS):
            yield from load_turns(sql, together, text=text, raw=raw)
            together, size = [], 0
        if weight > _READ_BYTES:
            yield _long_turn(sql, turn, text=text, raw=raw)
            continue
        together.append(turn)
        size += weight
    yield from load_turns(sql, together, text=text, raw=raw)


def load_turn(sql: Sql, stored: StoredTurn, *, text: bool = True) -> Turn:
    """One of them, with both texts or with none."""
    check_length(stored.content_bytes + stored.raw_response_bytes if text else 0, LONG_TURN)
    return load_turns(sql, [stored], text=text)[0]


def _long_turn(sql: Sql, stored: StoredTurn, *, text: bool, raw: bool) -> Turn:
    calls: Any = each_tool_call(sql, stored.pk)
    if not text:
        return _turn(stored, calls)
    content: Any = each_slice(sql, stored.text, "content")
    raw_response: Any = each_slice(sql, stored.text, "raw_response")
    return _turn(stored, calls, content, raw_response if raw else None)


def _few(found: Iterable[StoredTurn]) -> Iterator[list[StoredTurn]]:
    few: list[StoredTurn] = []
    size = 0
    for turn in found:
        few.append(turn)
        size += turn.weight
        if size > _READ_BYTES or len(few) == _READ_TURNS:
            yield few
            few, size = [], 0
    if few:
        yield few


def _cost(units: int | None) -> float | None:
    """A stored cost as a number of its currency."""
    return None if units is None else units / COST_UNITS


@cache
def _select(dialect: Dialect, rest: str) -> str:
    return f"""
    SELECT {_SELECTION.sql(dialect)}
    FROM turn t
    LEFT JOIN response p ON p.pk = t.round_pk
    {LAST_PIECE}
    {rest}
    """


@cache
def _of_rounds(dialect: Dialect) -> str:
    return _select(dialect, f'WHERE {dialect.among("t.round_pk")} ORDER BY t.round_pk, t."index"')


@cache
def _bytes_of_rounds(dialect: Dialect, texts: str) -> str:
    """``texts``: the length of a turn's texts."""
    return (
        f"SELECT t.round_pk, sum({_FRAME_BYTES} + {dialect.byte_length('t.metadata')} + {texts}) FROM turn t"
        f" WHERE {dialect.among('t.round_pk')} GROUP BY t.round_pk"
    )


@cache
def _call_bytes_of_rounds(dialect: Dialect) -> str:
    return (
        f"SELECT t.round_pk, sum({approximate_bytes(dialect)}) FROM turn t JOIN tool_call c ON c.turn_pk = t.pk"
        f" WHERE {dialect.among('t.round_pk')} GROUP BY t.round_pk"
    )


def _one(sql: Sql, where: str, value: str | int, *, lenient: bool = False) -> StoredTurn | None:
    row = sql.execute(_select(sql.dialect, where), (value,)).fetchone()
    return None if row is None else _stored(row, lenient=lenient)


def _stored(row: Row, *, lenient: bool = False) -> StoredTurn:
    stored = StoredTurn._make(row)
    if not lenient:
        _SELECTION.decode(stored.id, row)
    return stored


def _turn(
    stored: StoredTurn, calls: list[ToolCall], content: str | None = None, raw_response: str | None = None
) -> Turn:
    not_stored = {
        "tool_calls": calls,
        "status": stored.status,
        "metadata": decode_object(stored.metadata),
        "input_cost": _cost(stored.input_cost),
        "output_cost": _cost(stored.output_cost),
        "cost": _cost(stored.cost),
        "content": content,
        "raw_response": raw_response,
    }
    return Turn(*_values_of_turn((*stored, *map(not_stored.__getitem__, _NOT_STORED))))

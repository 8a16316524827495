"""SQL of turns, without their text (see ``texts.py``).

While a turn streams, its last piece in the feed says what the appends since its last fold or other change have moved;
every read of a turn lays that over its row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from sqlite3 import Connection
from typing import Any

from attrs import evolve, frozen

from mandrake_sessions.errors import NotFound
from mandrake_sessions.ids import new_id
from mandrake_sessions.model import ToolCall, Turn, TurnStatus
from mandrake_sessions.store.brief import LONG_CALLS, LONG_TURN, check_length
from mandrake_sessions.store.columns import TURN
from mandrake_sessions.store.oddities import readable, readable_page
from mandrake_sessions.store.readable import Fields, unreadable
from mandrake_sessions.store.rows import insert, row_bytes, update
from mandrake_sessions.store.texts import (
    CHUNK_COUNT,
    CONTENT_BYTES,
    LAST_PIECE,
    RAW_RESPONSE_BYTES,
    TextPlace,
    each_slice,
    texts_of,
)
from mandrake_sessions.store.tool_calls import TOOL_CALL_BYTES, each_tool_call, tool_call_bytes, tool_calls_of
from mandrake_sessions.store.transaction import Row, Transaction
from mandrake_sessions.store.values import MAX_INTEGER, decode_object, decode_text, decode_word

# The columns of a turn that a change may move, by the names of Turn; what `differences` compares.
_MOVABLE = (
    "kind", "status", "error", "model", "stream_start_time", "stream_end_time", "current_tokens", "expected_tokens",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "input_cost", "output_cost",
    "chunk_count", "metadata", "updated_at",
)  # fmt: skip

_SELECT = f"""
SELECT t.pk, t.session_pk, t.round_pk, t.folded_chunks, t.content_pk, t.raw_response_pk,
       {CONTENT_BYTES}, {RAW_RESPONSE_BYTES},
       t.lease, t.create_hash,
       t.id, coalesce(a.seq, t.seq), p.id, t."index",
       t.kind, t.status, t.error, t.model, t.stream_start_time, t.stream_end_time,
       coalesce(a.current_tokens, t.current_tokens), t.expected_tokens, t.input_tokens,
       coalesce(a.output_tokens, t.output_tokens), t.cache_read_tokens, t.cache_write_tokens,
       t.input_cost, t.output_cost, {CHUNK_COUNT}, t.metadata, t.updated_at, t.created_at,
       t.folded_bytes
FROM turn t
LEFT JOIN response p ON p.pk = t.round_pk
{LAST_PIECE}
"""
_FIRST_MOVABLE = 14
_FIELDS = Fields(
    "turn",
    # A lease that is none is nobody's; where it is used it is checked.
    {**TURN, "response_id": decode_text, "lease": lambda stored: stored},
    (
        "pk", "session_pk", "round_pk", "folded_chunks", "content_pk", "raw_response_pk", "content_bytes",
        "raw_response_bytes", "lease", "create_hash", "id", "seq", "response_id", "index", *_MOVABLE, "created_at",
        "folded_bytes",
    ),
)  # fmt: skip
# The names of the fields, and numbers.
_FRAME_BYTES = 700
# So many turns, or about so many bytes of them, are read together: a turn at a time takes three statements, and all of
# them at once as much memory as there is text.
_READ_TURNS = 200
_READ_BYTES = 1024 * 1024


@frozen
class StoredTurn:
    """A turn's row as it stands, pieces laid over it, with what only the store needs.

    ``content_bytes`` and ``raw_response_bytes`` are the lengths of its texts in UTF-8.
    """

    pk: int
    session_pk: int
    round_pk: int
    text: TextPlace
    content_bytes: int
    raw_response_bytes: int
    lease: str | None
    create_hash: bytes | None
    row: Row

    @property
    def id(self) -> str:
        return str(self.row[10])

    @property
    def seq(self) -> int:
        return int(self.row[11])

    @property
    def index(self) -> int:
        return int(self.row[13])

    @property
    def status(self) -> TurnStatus:
        return decode_word(TurnStatus, self.row[15])

    @property
    def chunk_count(self) -> int:
        return int(self.row[28])

    @property
    def current_tokens(self) -> int:
        return int(self.row[20])

    @property
    def output_tokens(self) -> int:
        return int(self.row[23])

    def end_time(self, now: int) -> int:
        """When it ends, if it does so now: never before it began, though the clock may have been set back."""
        return max(now, int(self.row[18]))

    @property
    def weight(self) -> int:
        """About how many bytes the turn takes in an answer, without its texts and tool calls."""
        return _FRAME_BYTES + row_bytes(self.row)

    @property
    def folded_bytes(self) -> int:
        """How much text, both kinds together, was there at the last fold."""
        return int(self.row[32])

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that a caller may change, as they are stored."""
        return dict(zip(_MOVABLE, self.row[_FIRST_MOVABLE:], strict=False))

    def standing(self) -> dict[str, Any]:
        """What pieces have moved, as columns: every change but an append writes it into the row."""
        moved = {
            "seq": self.seq,
            "chunk_count": self.chunk_count,
            "current_tokens": self.current_tokens,
            "output_tokens": self.output_tokens,
            "content_bytes": self.content_bytes,
            "raw_response_bytes": self.raw_response_bytes,
        }
        for name, value in moved.items():
            if value > MAX_INTEGER:
                # What the ordinal of a piece gives that was the largest there is.
                raise unreadable("turn", self.id, f"its {name} is {value}, more than SQLite can hold")
        return moved


def insert_turn(
    tx: Transaction, session_pk: int, round_pk: int, index: int, columns: Mapping[str, Any], create_hash: bytes | None
) -> StoredTurn:
    """A new turn at the next seq, with no text yet; its text begins at that seq."""
    pk = tx.next_seq()
    row = {
        "id": None,
        "kind": "message",
        "status": TurnStatus.STREAMING.value,
        "metadata": "{}",
        "current_tokens": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "input_cost": 0.0,
        "output_cost": 0.0,
        **columns,
        "pk": pk,
        "seq": pk,
        "session_pk": session_pk,
        "round_pk": round_pk,
        "index": index,
        "stream_start_time": tx.now,
        "content_pk": pk,
        "raw_response_pk": pk,
        "create_hash": create_hash,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    row["id"] = row["id"] or new_id()
    insert(tx, "turn", row)
    return turn_by_pk(tx.connection, pk)


def find_turn(connection: Connection, turn_id: str) -> StoredTurn | None:
    return _one(connection, "WHERE t.id = ?", turn_id)


def get_turn(connection: Connection, turn_id: str, *, anyhow: bool = False) -> StoredTurn:
    """``anyhow``: though its row cannot be read for what it is, for who deletes it or writes it anew.

    Raises:
        NotFound: there is none.
        Unreadable: it is not what this program could have stored, or its response is not there.
    """
    found = _one(connection, "WHERE t.id = ?", turn_id, anyhow=anyhow)
    if found is None:
        raise NotFound("turn", turn_id)
    return found


def turn_by_pk(connection: Connection, pk: int) -> StoredTurn:
    """Raises NotFound."""
    found = _one(connection, "WHERE t.pk = ?", pk)
    if found is None:
        raise NotFound("turn", str(pk))
    return found


def update_turn(tx: Transaction, stored: StoredTurn, columns: Mapping[str, Any], seq: int) -> StoredTurn:
    """Set columns, and what pieces have moved; gives the turn as it stands then."""
    update(tx, "turn", stored.pk, {**stored.standing(), **columns, "seq": seq})
    return turn_by_pk(tx.connection, stored.pk)


def differences(before: StoredTurn, after: StoredTurn) -> dict[str, Any]:
    """The fields that differ, by the names of Turn, as they are now; ``updated_at`` always."""
    old = before.columns
    changed = {name: value for name, value in after.columns.items() if value != old[name] or name == "updated_at"}
    if "metadata" in changed:
        changed["metadata"] = decode_object(changed["metadata"])
    return changed


def delete_turn(tx: Transaction, pk: int) -> None:
    """Delete the row; its tool calls and text go with it."""
    tx.execute("DELETE FROM turn WHERE pk = ?", (pk,))


def list_turns(connection: Connection, round_pk: int, after: int | None, limit: int) -> Iterator[StoredTurn]:
    """The turns of a response by index, those beyond ``after``; each read when it is asked for, and left out if it
    cannot be read."""

    def fetch(beyond: int, count: int) -> Iterable[Row]:
        return connection.execute(
            f'{_SELECT} WHERE t.round_pk = ? AND t."index" > ? ORDER BY t."index" LIMIT ?', (round_pk, beyond, count)
        )

    return readable_page(connection, fetch, lambda row: row[13], -1 if after is None else after, limit, _stored)


def latest_turn(connection: Connection, round_pk: int) -> StoredTurn | None:
    return _one(connection, 'WHERE t.round_pk = ? ORDER BY t."index" DESC LIMIT 1', round_pk)


def is_streaming(connection: Connection, round_pk: int) -> bool:
    """Whether a turn of a response streams now."""
    row = connection.execute(
        "SELECT 1 FROM turn WHERE round_pk = ? AND status = 'streaming' LIMIT 1", (round_pk,)
    ).fetchone()
    return row is not None


def turn_bytes(connection: Connection, round_pks: Iterable[int], *, text: bool, raw: bool) -> dict[int, int]:
    """About how many bytes the turns of each round take in an answer, but for pieces that are not folded yet. No
    text is read for that."""
    texts = "0" if not text else "t.content_bytes + t.raw_response_bytes" if raw else "t.content_bytes"
    wanted = json.dumps(list(round_pks))
    heads = connection.execute(
        f"SELECT t.round_pk, sum({_FRAME_BYTES} + length(CAST(t.metadata AS BLOB)) + {texts}) FROM turn t"
        " WHERE t.round_pk IN (SELECT value FROM json_each(?)) GROUP BY t.round_pk",
        (wanted,),
    )
    weights = {round_pk: int(size) for round_pk, size in heads}
    calls = connection.execute(
        f"SELECT t.round_pk, sum({TOOL_CALL_BYTES}) FROM turn t JOIN tool_call c ON c.turn_pk = t.pk"
        " WHERE t.round_pk IN (SELECT value FROM json_each(?)) GROUP BY t.round_pk",
        (wanted,),
    )
    for round_pk, size in calls:
        weights[round_pk] = weights.get(round_pk, 0) + int(size)
    return weights


def turns_of_rounds(connection: Connection, round_pks: Iterable[int]) -> Iterator[StoredTurn]:
    """The turns of many rounds in one statement, by round and index; each read when it is asked for."""
    rows = connection.execute(
        f'{_SELECT} WHERE t.round_pk IN (SELECT value FROM json_each(?)) ORDER BY t.round_pk, t."index"',
        (json.dumps(list(round_pks)),),
    )
    return readable(connection, rows, _stored)


def streaming_turns(connection: Connection, session_pk: int | None = None) -> Iterator[StoredTurn]:
    """The turns that stream now, of one session or of all, oldest first; each read when it is asked for, and left out
    if it cannot be read."""
    condition, values = ("", ()) if session_pk is None else ("AND t.session_pk = ?", (session_pk,))
    rows = connection.execute(f"{_SELECT} WHERE t.status = 'streaming' {condition} ORDER BY t.pk", values)
    return readable(connection, rows, _stored)


def turn_pks_of(connection: Connection, column: str, pk: int) -> list[int]:
    """The pks of a session's (``session_pk``) or a round's (``round_pk``) turns."""
    return [row[0] for row in connection.execute(f"SELECT pk FROM turn WHERE {column} = ?", (pk,))]


def load_turns(connection: Connection, stored: list[StoredTurn], *, text: bool = True, raw: bool = True) -> list[Turn]:
    """The entities, tool calls and (where asked for) texts included, in a fixed number of statements."""
    calls = tool_calls_of(connection, [turn.pk for turn in stored])
    turns = [_turn(turn.row, calls.get(turn.pk, [])) for turn in stored]
    if not text:
        return turns
    texts = texts_of(connection, [turn.text for turn in stored], raw=raw)
    return [
        evolve(turn, content=content, raw_response=raw_response if raw else None)
        for turn, (content, raw_response) in zip(turns, texts, strict=True)
    ]


def weighed(
    connection: Connection, found: Iterable[StoredTurn], *, text: bool, raw: bool
) -> Iterator[tuple[StoredTurn, int]]:
    """Each turn with about how many bytes it takes in an answer, a few read ahead at a time."""
    for some in _few(found):
        calls = tool_call_bytes(connection, [turn.pk for turn in some])
        check_length(sum(calls.values()), LONG_CALLS)
        for turn in some:
            texts = (turn.content_bytes + (turn.raw_response_bytes if raw else 0)) if text else 0
            yield turn, turn.weight + calls.get(turn.pk, 0) + texts


def each_turn(
    connection: Connection, found: Iterable[StoredTurn], *, text: bool = True, raw: bool = True
) -> Iterator[Turn]:
    """What ``load_turns`` gives, read while it is asked for: about 1 MiB at a time, or one turn. Of a turn
    that is longer than that, the tool calls are an iterator too, and the texts are iterators of slices, to be taken
    before the next turn is."""
    together: list[StoredTurn] = []
    size = 0
    for turn, weight in weighed(connection, found, text=text, raw=raw):
        check_length(weight, LONG_TURN)
        if together and (size + weight > _READ_BYTES or len(together) == _READ_TURNS):
            yield from load_turns(connection, together, text=text, raw=raw)
            together, size = [], 0
        if weight > _READ_BYTES:
            yield _long_turn(connection, turn, text=text, raw=raw)
            continue
        together.append(turn)
        size += weight
    yield from load_turns(connection, together, text=text, raw=raw)


def load_turn(connection: Connection, stored: StoredTurn, *, text: bool = True) -> Turn:
    """One of them, with both texts or with none."""
    check_length(stored.content_bytes + stored.raw_response_bytes if text else 0, LONG_TURN)
    return load_turns(connection, [stored], text=text)[0]


def _long_turn(connection: Connection, stored: StoredTurn, *, text: bool, raw: bool) -> Turn:
    calls: Any = each_tool_call(connection, stored.pk)
    turn = _turn(stored.row, calls)
    if not text:
        return turn
    slices: list[Any] = [each_slice(connection, stored.text, column) for column in ("content", "raw_response")]
    return evolve(turn, content=slices[0], raw_response=slices[1] if raw else None)


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


def _one(connection: Connection, where: str, value: str | int, *, anyhow: bool = False) -> StoredTurn | None:
    row = connection.execute(_SELECT + where, (value,)).fetchone()
    return None if row is None else _stored(row, anyhow=anyhow)


def _stored(row: Row, *, anyhow: bool = False) -> StoredTurn:
    if not anyhow:
        _FIELDS.decode(row[10], row)
    values: list[Any] = [*row[:3], TextPlace(row[0], *row[3:6]), *row[6:10], row]
    return StoredTurn(*values)


def _turn(row: Row, calls: list[ToolCall]) -> Turn:
    values: list[Any] = [
        *row[10:15],
        calls,
        decode_word(TurnStatus, row[15]),
        *row[16:29],
        decode_object(row[29]),
        row[31],
        row[30],
    ]
    return Turn(*values)

"""SQL of the change feed: recording changes inside a transaction, reading committed ones after it.

A row of a turn has its ``turn_pk`` and no ``session_pk``; a row of a session or round, and of a turn that is gone, has
its ``session_pk``. So an append touches one index only, and what a deletion must take is always one look-up away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from attrs import asdict, evolve

from mandrake_sessions.errors import FeedPruned
from mandrake_sessions.json_codec import JsonEncoder
from mandrake_sessions.model import Change, ChangeKind, ToolCall, Turn
from mandrake_sessions.store.interface import Dialect, Sql, Transaction
from mandrake_sessions.store.sql.change_rows import SELECT_ROWS, Row, read_change, texts
from mandrake_sessions.store.sql.readable import note
from mandrake_sessions.store.sql.rounds import StoredRound
from mandrake_sessions.store.sql.rows import delete, insert
from mandrake_sessions.store.sql.selection import unreadable
from mandrake_sessions.store.sql.turns import StoredTurn
from mandrake_sessions.store.sql.values import Decoder, OddValue, decode_json, decode_number, decode_uuid

_ABOVE = "WHERE f.seq > ? ORDER BY f.seq LIMIT ?"

# What stands in place of its name in a store that is not there yet.
NO_STORE_ID = "00000000-0000-0000-0000-000000000000"

_encoder = JsonEncoder(ensure_ascii=False, separators=(",", ":"))

# So much text is read at once: what is read has to be held.
READ_BYTES = 1024 * 1024
# Deleting a tool call rewrites the row of the feed that it stands in, so a row holds few.
CALLS_AT_CREATION = 100


def record_turn_created(tx: Transaction, stored: StoredTurn, turn: Turn) -> int:
    """``turn`` without its texts: those stand in ``text`` under the same seq. Gives the seq of the last change that is
    recorded: tool calls beyond the first ``CALLS_AT_CREATION`` follow as changes of their own."""
    first, rest = turn.tool_calls[:CALLS_AT_CREATION], turn.tool_calls[CALLS_AT_CREATION:]
    data = asdict(evolve(turn, tool_calls=first))
    del data["content"], data["raw_response"]
    _record(tx, stored.pk, ChangeKind.TURN_CREATED, data, turn_pk=stored.pk)
    for call in rest:
        record_turn_updated(tx, tx.next_seq(), stored, {"updated_at": turn.updated_at}, call)
    return tx.seq


def record_turn_updated(
    tx: Transaction, seq: int, stored: StoredTurn, changes: Mapping[str, Any], tool_call: ToolCall | None = None
) -> None:
    """``changes`` without texts; a replaced text stands in ``text`` under the same seq."""
    data = dict(changes)
    if tool_call is not None:
        data["tool_calls"] = [asdict(tool_call)]
    _record(tx, seq, ChangeKind.TURN_UPDATED, {"status": stored.status, "changes": data}, turn_pk=stored.pk)


def record_tool_call_deleted(
    tx: Transaction, seq: int, stored: StoredTurn, call_id: str, changes: Mapping[str, Any]
) -> None:
    """Also takes the call out of what the feed tells of the turn's past. ``changes``: what moved in the turn."""
    _forget_tool_call(tx, stored.pk, call_id)
    data = {"status": stored.status, "tool_call_id": call_id, "changes": dict(changes)}
    _record(tx, seq, ChangeKind.TOOL_CALL_DELETED, data, turn_pk=stored.pk)


def record_session_change(tx: Transaction, seq: int, kind: ChangeKind, session_pk: int) -> None:
    _record(tx, seq, kind, None, session_pk=session_pk)


def record_round_change(tx: Transaction, seq: int, kind: ChangeKind, stored: StoredRound) -> None:
    """A change to a round that is there, to its request or its response."""
    if kind is ChangeKind.REQUEST_UPDATED:
        # The word for it before 0.3.1, whose programs must still be able to read the feed. `change_rows.py` tells them
        # apart.
        kind = ChangeKind.SESSION_UPDATED
    _record(tx, seq, kind, None, session_pk=stored.session_pk, round_pk=stored.pk)


def record_session_deleted(tx: Transaction, seq: int, session_pk: int, session_id: str) -> None:
    _record(tx, seq, ChangeKind.SESSION_DELETED, {"session_id": session_id}, session_pk=session_pk)


def record_round_deleted(tx: Transaction, seq: int, stored: StoredRound) -> None:
    # Programs of before 0.3.1 read a whole round here. Its metadata is the client's content, and is gone.
    gone = asdict(stored.detail.round) | {"metadata": {}}
    data = {"session_id": stored.detail.round.session_id, "round": gone}
    _record(tx, seq, ChangeKind.ROUND_DELETED, data, session_pk=stored.session_pk)


def record_turn_deleted(tx: Transaction, seq: int, stored: StoredTurn, detail: StoredRound) -> None:
    data = {
        "session_id": detail.detail.round.session_id,
        "round_id": detail.detail.round.id,
        "response_id": detail.detail.response.id,
        "turn_id": stored.id,
        "index": stored.index,
        "status": stored.status,
    }
    _record(tx, seq, ChangeKind.TURN_DELETED, data, session_pk=stored.session_pk, round_pk=stored.round_pk)


def forget_turns(tx: Transaction, turn_pks: Iterable[int]) -> None:
    """Delete all that the feed holds of these turns."""
    delete(tx, "feed", "turn_pk", turn_pks)


def forget_round(tx: Transaction, stored: StoredRound) -> None:
    """Delete what the feed holds of a round beside its turns."""
    tx.sql.execute("DELETE FROM feed WHERE session_pk = ? AND round_pk = ?", (stored.session_pk, stored.pk))


def forget_session(tx: Transaction, session_pk: int) -> None:
    """Delete what the feed holds of a session beside its turns."""
    delete(tx, "feed", "session_pk", [session_pk])


def read_changes(sql: Sql, after: int, limit: int) -> list[Change]:
    """The committed changes with a seq above ``after``, in order: ``limit`` at the most, or about ``READ_BYTES``."""
    found: list[Change] = []
    size = 0
    for row in map(Row._make, sql.execute(SELECT_ROWS + _ABOVE, (after, limit))):
        try:
            change, weight = read_change(sql, row)
        except OddValue as error:
            if not found:
                raise _not_readable(sql, after, row.seq, error) from None
            # What comes before it is given; the next reading begins at it.
            break
        found.append(change)
        size += sum(map(len, filter(None, texts(row)))) + weight
        if size > READ_BYTES:
            break
    return found


def unreadable_changes(sql: Sql) -> Iterator[tuple[int, str]]:
    """The rows of the feed, but for pieces, that could not be sent to a subscriber: the seq of each, and why."""
    for row in map(Row._make, sql.execute(f"{SELECT_ROWS} WHERE f.kind <> 'appended' ORDER BY f.seq")):
        try:
            read_change(sql, row)
        except OddValue as error:
            yield row.seq, str(error)


def read_again(sql: Sql, seq: str) -> None:
    """Raises OddValue where the change still cannot be read."""
    for row in sql.execute(f"{SELECT_ROWS} WHERE f.seq = ?", (int(seq),)):
        read_change(sql, Row._make(row))


def _not_readable(sql: Sql, after: int, seq: int, why: OddValue) -> FeedPruned:
    """From here on it is as if the feed were pruned up to this change, so that nothing is missed in silence."""
    note(sql, unreadable("change", str(seq), str(why)))
    if sql.oddities is not None:
        sql.oddities.pruned_seq = max(sql.oddities.pruned_seq, seq)
    return FeedPruned(after)


def store_id(sql: Sql) -> str | None:
    """The name of this file's history; another one means that seqs remembered from before mean nothing here. None: the
    store is not there yet (see ``absent.py``). Raises Unreadable."""
    found: str = _of_store(sql, "store_id", decode_uuid)
    return None if found == NO_STORE_ID else found


def pruned_seq(sql: Sql) -> int:
    """The last change that is no longer kept, or that this process could not read; 0 while all are. Raises
    Unreadable."""
    found: int = _of_store(sql, "pruned_seq", decode_number)
    return found if sql.oddities is None else max(found, sql.oddities.pruned_seq)


def last_kept(sql: Sql) -> int:
    """The newest change that the feed holds, or need not hold (see ``copying.py``); 0 where there is none."""
    return max(newest_row(sql), int(_of_store(sql, "copied_seq", decode_number)))


def newest_row(sql: Sql) -> int:
    """The newest change that the feed holds; 0 where it is empty."""
    (seq,) = sql.execute("SELECT coalesce(max(seq), 0) FROM feed").fetchone()
    return int(seq)


def _of_store(sql: Sql, column: str, decode: Decoder) -> Any:
    row = sql.execute(f"SELECT {column} FROM store LIMIT 1").fetchone()
    if row is None:
        raise unreadable("store", sql.path, "the row that says which store it is, is gone")
    try:
        return decode(row[0])
    except OddValue as error:
        raise unreadable("store", sql.path, f"its {column} {error}") from None


def _record(
    tx: Transaction,
    seq: int,
    kind: ChangeKind,
    data: Mapping[str, Any] | None,
    *,
    session_pk: int | None = None,
    round_pk: int | None = None,
    turn_pk: int | None = None,
) -> None:
    row = {"session_pk": session_pk, "round_pk": round_pk, "turn_pk": turn_pk}
    encoded = None if data is None else _encode(data)
    insert(tx, "feed", {"data": encoded, "seq": seq, "at": tx.clock, "kind": kind.value, **row})


_SET_DATA = "UPDATE feed SET data = ? WHERE seq = ?"


@cache
def _updates_of_call(dialect: Dialect) -> str:
    """The index ``feed_by_tool_call`` is on this very expression: the id of the call that an update brought."""
    call_of_update = dialect.json_at("data", "changes", "tool_calls", 0, "id")
    return f"SELECT seq, data FROM feed WHERE turn_pk = ? AND kind = 'updated' AND {call_of_update} = ?"


@cache
def _creation_with_call(dialect: Dialect) -> str:
    """The change that created a turn has the turn's own pk as its seq."""
    names_call = dialect.contains("data")
    return f"SELECT seq, data FROM feed WHERE seq = ? AND turn_pk = ? AND kind = 'created' AND {names_call}"


def _forget_tool_call(tx: Transaction, turn_pk: int, call_id: str) -> None:
    """It costs the same however many calls the turn has."""
    dialect = tx.sql.dialect
    rows = tx.sql.execute(_updates_of_call(dialect), (turn_pk, dialect.json_value(call_id))).fetchall()
    name = _encoder.encode(call_id)
    rows += tx.sql.execute(_creation_with_call(dialect), (turn_pk, turn_pk, name))
    for seq, encoded in rows:
        data = decode_json(encoded)
        holder = data.get("changes", data)
        kept = [call for call in holder.get("tool_calls", ()) if call["id"] != call_id]
        if len(kept) < len(holder.get("tool_calls", ())):
            holder["tool_calls"] = kept
            values = (_encode(data), seq)
            tx.sql.execute(_SET_DATA, values)
            tx.sql.release_large(_SET_DATA, values)


def _encode(data: Mapping[str, Any]) -> str:
    return _encoder.encode(data)

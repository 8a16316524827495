"""SQL of rounds, requests and responses, which come and go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Any

from attrs import frozen

from mandrake_sessions.ids import new_id
from mandrake_sessions.model import Order, Origin, Request, Response, ResponseStatus, Round, RoundDetail, Usage
from mandrake_sessions.store.interface import Dialect, Row, Sql, Transaction
from mandrake_sessions.store.sql.columns import REQUEST, RESPONSE, RESPONSE_USAGE, ROUND, Column, columns_from
from mandrake_sessions.store.sql.readable import readable_page
from mandrake_sessions.store.sql.rows import differs, insert, or_not_found, row_bytes, update
from mandrake_sessions.store.sql.selection import Selection, field_names, picker
from mandrake_sessions.store.sql.values import decode_seq, decode_text, optional
from mandrake_sessions.value import Value

# The names of the fields, and numbers.
_FRAME_BYTES = 800

# The columns of a request and a response that a round has too.
_OF_REQUEST = {"id": "request_id", "created_at": "request_created_at", "updated_at": "request_updated_at"}
_OF_RESPONSE = {"id": "response_id", "created_at": "response_created_at", "updated_at": "response_updated_at"}


_OF_ALL = {"round_id": "id"} | _OF_RESPONSE

# The statuses of a response that the agent has not ended.
NOT_ENDED = frozenset({ResponseStatus.OPEN, ResponseStatus.REQUIRES_ACTION})


def _columns() -> dict[str, Column]:
    request, response = columns_from("q", REQUEST), columns_from("p", RESPONSE)
    return {
        **{_OF_REQUEST.get(name, name): column for name, column in request.items()},
        **{_OF_RESPONSE.get(name, name): column for name, column in response.items()},
        **{f"usage_{name}": column for name, column in columns_from("u", RESPONSE_USAGE).items()},
        # NULL where the agent said nothing.
        "usage_pk": Column("usage_pk", "u.pk", optional(decode_seq)),
        **columns_from("r", ROUND),
        # NULL where the row is not there.
        "session_id": Column("session_id", "s.id", decode_text),
        "request_id": Column("request_id", "q.id", decode_text),
        "response_id": Column("response_id", "p.id", decode_text),
    }


_SELECTION = Selection(
    "round",
    _columns(),
    (
        *field_names(Round),
        "content", "blocks", "request_created_at", "request_updated_at",
        "status", "stop_reason", "end_time", "response_created_at", "response_updated_at",
        "usage_pk", *(f"usage_{name}" for name in field_names(Usage)),
    ),
    beside=("pk", "session_pk", "create_hash"),
)  # fmt: skip
_ID = _SELECTION.position("id")
_INDEX = _SELECTION.position("index")
_PK = _SELECTION.position("pk")
_SESSION_PK = _SELECTION.position("session_pk")
_CREATE_HASH = _SELECTION.position("create_hash")
_round = _SELECTION.picker(Round)
_request = _SELECTION.picker(Request, round_id="id", **_OF_REQUEST)
_USAGE_PK = _SELECTION.position("usage_pk")
_usage = _SELECTION.picker(Usage, **{name: f"usage_{name}" for name in field_names(Usage)})
_response = picker((*_SELECTION.names, "usage"), [_OF_ALL.get(name, name) for name in field_names(Response)])


class Part(StrEnum):
    """What a round is made of, by the names of the entities."""

    ROUND = "round"
    REQUEST = "request"
    RESPONSE = "response"


@frozen(eq=False, repr=False)
class StoredRound(Value):
    """A round, its request and its response, with what only the store needs; ``weight``: about how many bytes they
    take in an answer."""

    pk: int
    session_pk: int
    create_hash: bytes | None
    weight: int
    detail: RoundDetail


@frozen(eq=False, repr=False)
class RoundRow(Value):
    """A round's row with its request and response, its JSON not decoded yet, which may take many times as much
    memory."""

    row: Row

    @property
    def pk(self) -> int:
        return int(self.row[_PK])

    @property
    def index(self) -> int:
        return int(self.row[_INDEX])

    @property
    def columns(self) -> dict[str, Any]:
        """Its values as they are stored; those of its parts by the names that ``_columns`` gives them."""
        return dict(zip(_SELECTION.names, self.row, strict=True))

    @property
    def weight(self) -> int:
        """About how many bytes they take in an answer."""
        return _FRAME_BYTES + row_bytes(self.row)

    @property
    def detail(self) -> RoundDetail:
        """Fresh entities each time."""
        return _stored(self.row).detail


def insert_round(
    tx: Transaction, session_pk: int, index: int, columns: Mapping[str, Any], create_hash: bytes | None
) -> StoredRound:
    """A new round with its request and its response, at the next seq."""
    return round_by_pk(tx.sql, insert_rows(tx, session_pk, index, columns, create_hash, now=tx.now))


def insert_rows(
    tx: Transaction,
    session_pk: int,
    index: int,
    columns: Mapping[str, Any],
    create_hash: bytes | None,
    *,
    now: int,
) -> int:
    """The rows of a new round, its request and its response, at the next seq, which it gives. ``now``: when they are
    changed last, or their creation, if that is later."""
    pk = tx.next_seq()
    created_at = columns.get("created_at", now)
    times = {"pk": pk, "created_at": created_at, "updated_at": max(created_at, now)}
    insert(
        tx,
        "round",
        {
            **times,
            "id": columns.get("id") or new_id(),
            "session_pk": session_pk,
            "index": index,
            "origin": columns.get("origin", Origin.USER.value),
            "copied_from_id": columns.get("copied_from_id"),
            "metadata": columns.get("metadata", "{}"),
            "create_hash": create_hash,
        },
    )
    request = {"content": columns["content"], "blocks": columns.get("blocks")}
    insert(tx, "request", {**request, **times, "id": columns.get("request_id") or new_id()})
    response = {"id": columns.get("response_id") or new_id(), "status": ResponseStatus.OPEN.value}
    insert(tx, "response", {**times, **response})
    return pk


def find_round(sql: Sql, round_id: str) -> StoredRound | None:
    return _one(sql, "WHERE r.id = ?", round_id)


def get_round(sql: Sql, round_id: str, *, lenient: bool = False) -> StoredRound:
    """``lenient``: None stands for a value that cannot be read, for callers that delete or overwrite it.

    Raises:
        NotFound: there is none.
        Unreadable: it, its request or its response is not what this program could have stored, or is not there.
    """
    return or_not_found(_one(sql, "WHERE r.id = ?", round_id, lenient=lenient), "round", round_id)


def get_round_of_request(sql: Sql, request_id: str, *, lenient: bool = False) -> StoredRound:
    """Raises what ``get_round`` does."""
    return or_not_found(_one(sql, "WHERE q.id = ?", request_id, lenient=lenient), "request", request_id)


def get_round_of_response(sql: Sql, response_id: str, *, lenient: bool = False) -> StoredRound:
    """Raises what ``get_round`` does."""
    return or_not_found(_one(sql, "WHERE p.id = ?", response_id, lenient=lenient), "response", response_id)


def round_by_pk(sql: Sql, pk: int, *, lenient: bool = False) -> StoredRound:
    """Raises what ``get_round`` does."""
    return or_not_found(_one(sql, "WHERE r.pk = ?", pk, lenient=lenient), "round", str(pk))


def id_in_use(sql: Sql, part: Part, entity_id: str) -> bool:
    return sql.execute(f"SELECT 1 FROM {part} WHERE id = ?", (entity_id,)).fetchone() is not None


def part_differs(sql: Sql, stored: StoredRound, part: Part, columns: Mapping[str, Any]) -> bool:
    """Whether a part of the round holds anything else than these columns."""
    return differs(sql, part, stored.pk, columns)


def update_part(tx: Transaction, stored: StoredRound, part: Part, columns: Mapping[str, Any]) -> None:
    """Set columns of a part of the round; its ``updated_at`` moves."""
    update(tx, part, stored.pk, {**columns, "updated_at": tx.now})


def replace_usage(tx: Transaction, stored: StoredRound, columns: Mapping[str, Any] | None) -> None:
    """What the agent said of the whole response, all its columns; None: nothing."""
    tx.sql.execute("DELETE FROM response_usage WHERE pk = ?", (stored.pk,))
    if columns is not None:
        insert(tx, "response_usage", {"pk": stored.pk, **columns})


def usage_differs(sql: Sql, stored: StoredRound, columns: Mapping[str, Any] | None) -> bool:
    """Whether anything else is stored."""
    there = sql.execute("SELECT 1 FROM response_usage WHERE pk = ?", (stored.pk,)).fetchone() is not None
    if columns is None or not there:
        return there or columns is not None
    return differs(sql, "response_usage", stored.pk, columns)


def list_rounds(
    sql: Sql, session_pk: int, after: int | None, limit: int | None, order: Order = "asc"
) -> Iterator[RoundRow]:
    """By index, those beyond ``after`` in that order; each read when it is asked for, and left out if it cannot be
    read."""

    def fetch(beyond: int | None, count: int | None) -> Iterable[Row]:
        condition, values, direction = _beyond(beyond, order)
        rest = f'WHERE r.session_pk = ? {condition} ORDER BY r."index" {direction} LIMIT ?'
        return sql.execute(_select(sql.dialect, rest), (session_pk, *values, count))

    return readable_page(sql, fetch, lambda row: row[_INDEX], after, limit, _readable_row)


def following_rounds(sql: Sql, stored: StoredRound) -> list[int]:
    """The pks of the rounds after this one."""
    rows = sql.execute(
        'SELECT pk FROM round WHERE session_pk = ? AND "index" > ? ORDER BY "index"',
        (stored.session_pk, stored.detail.round.index),
    )
    return [row[0] for row in rows]


def take_turn_index(tx: Transaction, round_pk: int) -> int:
    """The next turn's index, counted in the response's row, so that a deleted one is never given again."""
    (index,) = tx.sql.execute(
        "UPDATE response SET next_turn_index = next_turn_index + 1 WHERE pk = ? RETURNING next_turn_index - 1",
        (round_pk,),
    ).fetchone()
    return int(index)


def delete_round(tx: Transaction, pk: int) -> None:
    """Delete the row; all that hangs from it goes with it."""
    tx.sql.execute("DELETE FROM round WHERE pk = ?", (pk,))


def _beyond(after: int | None, order: Order) -> tuple[str, tuple[int, ...], str]:
    """The condition and the direction of a page that begins beyond an index."""
    beyond, direction = (">", "ASC") if order == "asc" else ("<", "DESC")
    return ("", (), direction) if after is None else (f'AND r."index" {beyond} ?', (after,), direction)


@cache
def _select(dialect: Dialect, rest: str) -> str:
    return f"""
    SELECT {_SELECTION.sql(dialect)}
    FROM round r
    LEFT JOIN session s ON s.pk = r.session_pk
    LEFT JOIN request q ON q.pk = r.pk
    LEFT JOIN response p ON p.pk = r.pk
    LEFT JOIN response_usage u ON u.pk = r.pk
    {rest}
    """


def _one(sql: Sql, where: str, value: str | int, *, lenient: bool = False) -> StoredRound | None:
    row = sql.execute(_select(sql.dialect, where), (value,)).fetchone()
    return None if row is None else _stored(row, lenient=lenient)


def _stored(row: Row, *, lenient: bool = False) -> StoredRound:
    values = _SELECTION.decode_leniently(row) if lenient else _SELECTION.decode(row[_ID], row)
    usage = None if values[_USAGE_PK] is None else Usage(*_usage(values))
    response = Response(*_response((*values, *row[len(values) :], usage)))
    detail = RoundDetail(Round(*_round(values)), Request(*_request(values)), response)
    return StoredRound(row[_PK], row[_SESSION_PK], row[_CREATE_HASH], _FRAME_BYTES + row_bytes(row), detail)


def _readable_row(row: Row) -> RoundRow:
    """Raises Unreadable; what is decoded for that is not kept."""
    _SELECTION.decode(row[_ID], row)
    return RoundRow(row)

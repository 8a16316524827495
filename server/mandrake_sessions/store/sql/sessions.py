"""SQL of sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from attrs import frozen

from mandrake_sessions.ids import new_id
from mandrake_sessions.model import Session
from mandrake_sessions.store.interface import Dialect, Row, Sql, Transaction
from mandrake_sessions.store.sql.columns import SESSION, Column, columns_from
from mandrake_sessions.store.sql.readable import readable_page
from mandrake_sessions.store.sql.rows import differs, fetch_one, insert, or_not_found, row_bytes, update
from mandrake_sessions.store.sql.selection import Selection, field_names

PREVIEW_LENGTH = 200
# The names of the fields, and numbers.
_FRAME_BYTES = 400

_STREAMING = "EXISTS (SELECT 1 FROM turn t WHERE t.session_pk = s.pk AND t.status = 'streaming')"
_SELECTION = Selection(
    "session",
    {**columns_from("s", SESSION), "streaming": Column("streaming", _STREAMING, bool)},
    field_names(Session),
    beside=("pk", "create_hash"),
)
_ID = _SELECTION.position("id")
_SEQ = _SELECTION.position("seq")
_PK = _SELECTION.position("pk")
_CREATE_HASH = _SELECTION.position("create_hash")


@frozen
class StoredSession:
    """A session with what only the store needs; ``weight``: about how many bytes it takes in an answer."""

    pk: int
    create_hash: bytes | None
    weight: int
    session: Session


@frozen
class SessionRow:
    """A session's row, its JSON not decoded yet, which may take many times as much memory."""

    row: Row

    @property
    def seq(self) -> int:
        return int(self.row[_SEQ])

    @property
    def weight(self) -> int:
        """About how many bytes it takes in an answer."""
        return _FRAME_BYTES + row_bytes(self.row)

    @property
    def session(self) -> Session:
        """A fresh entity each time."""
        return _stored(self.row).session


@frozen
class SessionFilter:
    """Which sessions a list holds; None: whatever. ``query`` is casefolded already."""

    archived: bool | None = False
    query: str | None = None
    parent_id: str | None = None
    streaming: bool | None = None


def insert_session(tx: Transaction, columns: Mapping[str, Any], create_hash: bytes | None) -> StoredSession:
    """A new session, at the next seq."""
    seq = tx.next_seq()
    defaults = {"id": None, "metadata": "{}"}
    row = {
        **defaults,
        **columns,
        "pk": seq,
        "seq": seq,
        "create_hash": create_hash,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    row["id"] = row["id"] or new_id()
    insert(tx, "session", row)
    return session_by_pk(tx.sql, seq)


def find_session(sql: Sql, session_id: str) -> StoredSession | None:
    return _one(sql, "WHERE s.id = ?", session_id)


def find_session_by_external_id(sql: Sql, external_id: str) -> StoredSession | None:
    row = fetch_one(sql, _select(sql.dialect, "WHERE s.external_id = ? LIMIT ?"), (external_id, 1))
    return None if row is None else _stored(row)


def holder_of_external_id(sql: Sql, external_id: str) -> tuple[int, str] | None:
    """The pk and the id of the session that has it, whatever else that session holds."""
    row: tuple[int, str] | None = fetch_one(
        sql, "SELECT pk, id FROM session WHERE external_id = ? LIMIT ?", (external_id, 1)
    )
    return row


def get_session(sql: Sql, session_id: str, *, lenient: bool = False) -> StoredSession:
    """``lenient``: None stands for a value that cannot be read, for callers that delete or overwrite it.

    Raises:
        NotFound: there is none.
        Unreadable: it is not what this program could have stored.
    """
    return or_not_found(_one(sql, "WHERE s.id = ?", session_id, lenient=lenient), "session", session_id)


def session_by_pk(sql: Sql, pk: int) -> StoredSession:
    """Raises NotFound."""
    return or_not_found(_one(sql, "WHERE s.pk = ?", pk), "session", str(pk))


def session_differs(sql: Sql, pk: int, columns: Mapping[str, Any]) -> bool:
    """Whether a session holds anything else than these columns."""
    return differs(sql, "session", pk, columns)


def update_session(tx: Transaction, pk: int, columns: Mapping[str, Any], seq: int) -> None:
    """Set columns; ``seq`` and ``updated_at`` move with every change in the session but appends."""
    update(tx, "session", pk, {**columns, "seq": seq, "updated_at": tx.now})


def delete_session(tx: Transaction, pk: int) -> None:
    """Delete the row; all that hangs from it goes with it."""
    tx.sql.execute("DELETE FROM session WHERE pk = ?", (pk,))


def take_round_index(tx: Transaction, session_pk: int, preview: str) -> int:
    """The next round's index, counted in the session's row, so that a deleted one is never given again."""
    (index,) = tx.sql.execute(
        "UPDATE session SET next_round_index = next_round_index + 1, round_count = round_count + 1,"
        " preview = coalesce(preview, ?) WHERE pk = ? RETURNING next_round_index - 1",
        (preview, session_pk),
    ).fetchone()
    return int(index)


def count_rounds(sql: Sql, session_pk: int) -> int:
    """How many rounds there are, whatever the session says."""
    (count,) = sql.execute("SELECT count(*) FROM round WHERE session_pk = ?", (session_pk,)).fetchone()
    return int(count)


def recount_rounds(tx: Transaction, session_pk: int) -> None:
    """Set what follows from the rounds that there are: their count, and the preview."""
    tx.sql.execute(
        "UPDATE session SET round_count = (SELECT count(*) FROM round WHERE session_pk = session.pk), preview = ?"
        " WHERE pk = ?",
        (first_preview(tx.sql, session_pk), session_pk),
    )


def first_preview(sql: Sql, session_pk: int) -> str | None:
    """The beginning of the session's first request; None where there is none."""
    # SQLite's substr() of a text ends at a NUL; of bytes it does not. A character has four bytes at the most.
    first = sql.execute(
        f"SELECT substr({sql.dialect.as_bytes('q.content')}, 1, ?) FROM round r JOIN request q ON q.pk = r.pk"
        ' WHERE r.session_pk = ? ORDER BY r."index" LIMIT 1',
        (PREVIEW_LENGTH * 4, session_pk),
    ).fetchone()
    # SQLite's substr() of no bytes is NULL.
    return None if first is None else preview_of(bytes(first[0] or b"").decode(errors="ignore"))


def preview_of(content: str) -> str:
    """The beginning of a request, as lists show it."""
    return content[:PREVIEW_LENGTH]


def list_sessions(sql: Sql, wanted: SessionFilter, before_seq: int | None, limit: int) -> Iterator[SessionRow]:
    """Last changed first, those changed before ``before_seq``; each read when it is asked for, and left out if it
    cannot be read. One range of one index, but for ``query``."""
    conditions, values = _conditions(sql.dialect, wanted)
    if wanted.query is not None:
        sql.release_later(wanted.query)

    def fetch(before: int | None, count: int | None) -> Iterable[Row]:
        bounds = [] if before is None else [before]
        where = " AND ".join([*conditions, *("s.seq < ?" for _ in bounds)]) or "true"
        statement = _select(sql.dialect, f"WHERE {where} ORDER BY s.seq DESC LIMIT ?")
        return sql.execute(statement, (*values, *bounds, count))

    return readable_page(sql, fetch, lambda row: row[_SEQ], before_seq, limit, _readable_row)


def _conditions(dialect: Dialect, wanted: SessionFilter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if wanted.archived is not None:
        conditions.append("(s.archived_at IS NOT NULL) = ?")
        values.append(wanted.archived)
    if wanted.parent_id is not None:
        conditions.append("s.parent_id = ?")
        values.append(wanted.parent_id)
    if wanted.streaming is not None:
        among = "IN" if wanted.streaming else "NOT IN"
        conditions.append(f"s.pk {among} (SELECT session_pk FROM turn WHERE status = 'streaming')")
    if wanted.query is not None:
        parts = [dialect.contains_folded(f"s.{column}") for column in ("title", "description", "preview")]
        conditions.append(f"({' OR '.join(parts)})")
        values += [wanted.query] * 3
    return conditions, values


@cache
def _select(dialect: Dialect, rest: str) -> str:
    return f"SELECT {_SELECTION.sql(dialect)} FROM session s {rest}"


def _one(sql: Sql, where: str, value: str | int, *, lenient: bool = False) -> StoredSession | None:
    row = sql.execute(_select(sql.dialect, where), (value,)).fetchone()
    return None if row is None else _stored(row, lenient=lenient)


def _stored(row: Row, *, lenient: bool = False) -> StoredSession:
    values = _SELECTION.decode_leniently(row) if lenient else _SELECTION.decode(row[_ID], row)
    return StoredSession(row[_PK], row[_CREATE_HASH], _FRAME_BYTES + row_bytes(row), Session(*values))


def _readable_row(row: Row) -> SessionRow:
    """Raises Unreadable; what is decoded for that is not kept."""
    _SELECTION.decode(row[_ID], row)
    return SessionRow(row)

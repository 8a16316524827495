"""SQL of sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from attrs import frozen

from mandrake_sessions.ids import new_id
from mandrake_sessions.model import Session, SessionState, Sort
from mandrake_sessions.store.interface import Dialect, Row, Sql, Transaction
from mandrake_sessions.store.sql.columns import SESSION, Column, columns_from
from mandrake_sessions.store.sql.rows import differs, fetch_one, insert, or_not_found, row_bytes, update
from mandrake_sessions.store.sql.selection import Selection, field_names
from mandrake_sessions.value import Value

PREVIEW_LENGTH = 200
# The names of the fields, and numbers.
_FRAME_BYTES = 400

_STREAMING = "s.state = 'running'"
# A session that is being copied into is shown to nobody (see ``copying.py``).
SHOWN = "s.copying_lease IS NULL"
# How a session stands, told from its turns and its latest round, for a statement about the table `session`.
STATE_NOW = """
CASE WHEN EXISTS (SELECT 1 FROM turn t WHERE t.session_pk = session.pk AND t.status = 'streaming') THEN 'running'
ELSE coalesce((
    SELECT CASE p.status WHEN 'requires_action' THEN 'requires_action' WHEN 'error' THEN 'failed'
        WHEN 'interrupted' THEN 'failed' ELSE 'idle' END
    FROM round r JOIN response p ON p.pk = r.pk WHERE r.session_pk = session.pk ORDER BY r."index" DESC LIMIT 1
), 'idle') END
"""
# The latest moment of a conversation that is still there, for a statement about the table `session`.
LATEST_MOMENT = """
(SELECT coalesce(max(moment), 0) FROM (
    SELECT r.created_at AS moment FROM round r WHERE r.session_pk = session.pk
    UNION ALL SELECT p.end_time FROM round r JOIN response p ON p.pk = r.pk WHERE r.session_pk = session.pk
    UNION ALL SELECT t.stream_start_time FROM turn t WHERE t.session_pk = session.pk
    UNION ALL SELECT t.stream_end_time FROM turn t WHERE t.session_pk = session.pk
) AS moments)
"""
# What lists look for a query in.
WORDS = ("title", "description", "preview")
_SELECTION = Selection(
    "session",
    {**columns_from("s", SESSION), "streaming": Column("streaming", _STREAMING, bool)},
    field_names(Session),
    beside=("pk", "create_hash"),
)
_ID = _SELECTION.position("id")
_SEQ = _SELECTION.position("seq")
_ACTIVE_AT = _SELECTION.position("active_at")
_UPDATED_AT = _SELECTION.position("updated_at")
_PK = _SELECTION.position("pk")
_CREATE_HASH = _SELECTION.position("create_hash")


@frozen(eq=False, repr=False)
class StoredSession(Value):
    """A session with what only the store needs; ``weight``: about how many bytes it takes in an answer."""

    pk: int
    create_hash: bytes | None
    weight: int
    session: Session


@frozen(eq=False, repr=False)
class SessionRow(Value):
    """A session's row, its JSON not decoded yet, which may take many times as much memory."""

    row: Row

    def position(self, sort: Sort) -> tuple[int, ...]:
        """Where it stands in a list of that order."""
        return (self.row[_SEQ],) if sort == "changed" else (self.row[_ACTIVE_AT], self.row[_PK])

    def moment(self, sort: Sort) -> tuple[int, str]:
        """Where it stands in a list of several stores: its moment, and its id."""
        return self.row[_UPDATED_AT if sort == "changed" else _ACTIVE_AT], self.row[_ID]

    @property
    def weight(self) -> int:
        """About how many bytes it takes in an answer."""
        return _FRAME_BYTES + row_bytes(self.row)

    @property
    def session(self) -> Session:
        """A fresh entity each time."""
        return _stored(self.row).session


def insert_session(tx: Transaction, columns: Mapping[str, Any], create_hash: bytes | None) -> StoredSession:
    """A new session, at the next seq."""
    seq = tx.next_seq()
    created_at = columns.get("created_at", tx.now)
    row = {
        "id": None,
        "metadata": "{}",
        **columns,
        "pk": seq,
        "seq": seq,
        "state": SessionState.IDLE.value,
        "active_at": created_at,
        "create_hash": create_hash,
        "created_at": created_at,
        "updated_at": max(created_at, tx.now),
    }
    row["id"] = row["id"] or new_id()
    # Setting `words` with an UPDATE afterwards would write the whole row again, with metadata of any length.
    insert(tx, "session", {"words": _words_of(tx.sql, row), **row})
    return session_by_pk(tx.sql, seq)


def find_session(sql: Sql, session_id: str) -> StoredSession | None:
    return _one(sql, "WHERE s.id = ?", session_id)


class Holder(NamedTuple):
    """A session that has an external id."""

    pk: int
    id: str
    agent: str | None


_HOLDER = Selection.as_stored(Holder, "s")


def find_sessions_by_external_id(sql: Sql, external_id: str, limit: int) -> list[Holder]:
    """The sessions that have it, oldest first: ``limit`` of them at the most."""
    statement = f"{_select_holders(sql.dialect)} ORDER BY s.pk LIMIT ?"
    rows = sql.execute(statement, (external_id, limit)).fetchall()
    sql.release_large(statement, (external_id, limit))
    return [Holder._make(row) for row in rows]


def sessions_beginning_with(sql: Sql, beginning: str, limit: int) -> list[str]:
    """The ids that begin so, oldest name first: ``limit`` of them at the most. ``beginning``: lower-case digits and
    hyphens of a UUID."""
    # What follows the last of those digits.
    rows = sql.execute(
        "SELECT id FROM session WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", (beginning, beginning + "g", limit)
    )
    return [session_id for (session_id,) in rows]


def external_ids_beginning_with(sql: Sql, beginning: str, agents: Sequence[str], limit: int) -> list[str]:
    """The sessions whose external ids begin so, in the order of these: ``limit`` of them at the most. ``agents``: of
    these alone, if any are given."""
    whose = f" AND s.agent IN ({', '.join('?' * len(agents))})" if agents else ""
    # Behind all that begins so, by the order of code points.
    values = (beginning, beginning + chr(0x10FFFF), *agents, limit)
    statement = (
        f"SELECT s.id FROM session s WHERE s.external_id >= ? AND s.external_id < ?{whose} AND {SHOWN}"
        " ORDER BY s.external_id LIMIT ?"
    )
    return [session_id for (session_id,) in sql.execute(statement, values)]


def holder_of_external_id(sql: Sql, agent: str | None, external_id: str) -> Holder | None:
    """The session of that agent, or of none, that has it, whatever else that session holds."""
    whose, values = equals("s.agent", agent)
    statement = f"{_select_holders(sql.dialect)} AND {whose} LIMIT ?"
    row = fetch_one(sql, statement, (external_id, *values, 1))
    return None if row is None else Holder._make(row)


@cache
def _select_holders(dialect: Dialect) -> str:
    return f"SELECT {_HOLDER.sql(dialect)} FROM session s WHERE s.external_id = ?"


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


def pk_of_session(sql: Sql, session_id: str) -> int:
    """Whatever else the session holds. Raises NotFound."""
    row = sql.execute(f"SELECT s.pk FROM session s WHERE s.id = ? AND {SHOWN}", (session_id,)).fetchone()
    return int(or_not_found(row, "session", session_id)[0])


def session_differs(sql: Sql, pk: int, columns: Mapping[str, Any]) -> bool:
    """Whether a session holds anything else than these columns."""
    return differs(sql, "session", pk, columns)


def update_session(
    tx: Transaction, pk: int, columns: Mapping[str, Any], seq: int, *, active_at: int | None = None
) -> None:
    """Set columns, after every other change of the session but appends: ``seq`` and ``updated_at`` move with each, and
    ``state`` is computed again from what there is then. ``active_at``: the latest moment of the conversation that the
    change brought, if any."""
    moved = {"seq": seq, "updated_at": tx.now, "active_at": active_at or 0}
    update(tx, "session", pk, {**columns, **moved}, reckoned=f"state = {STATE_NOW}")
    if not columns.keys().isdisjoint(WORDS):
        keep_words(tx, pk)


@cache
def words_now(dialect: Dialect) -> str:
    """What is kept of these texts beside them, for a statement about the table `session`."""
    return dialect.findable(*WORDS)


def _words_of(sql: Sql, row: Mapping[str, Any]) -> Any:
    """What is kept of the texts of a session beside them, where its row is not there yet."""
    given = ", ".join(f"CAST(? AS TEXT) AS {name}" for name in WORDS)
    values = [row.get(name) for name in WORDS]
    (words,) = fetch_one(sql, f"SELECT {words_now(sql.dialect)} FROM (SELECT {given}) AS given", values)
    return words


def keep_words(tx: Transaction, pk: int) -> None:
    """To be called after each change of a title, a description or a preview."""
    tx.sql.execute(f"UPDATE session SET words = {words_now(tx.sql.dialect)} WHERE pk = ?", (pk,))


def latest_moment(sql: Sql, pk: int) -> int:
    """The latest moment of the conversation that is still there; 0 where it has no rounds."""
    (moment,) = sql.execute(f"SELECT {LATEST_MOMENT} FROM session WHERE pk = ?", (pk,)).fetchone()
    return int(moment)


def is_there(sql: Sql, session_id: str) -> bool:
    """Whether there is a session of that id, readable or not."""
    statement = f"SELECT 1 FROM session s WHERE s.id = ? AND {SHOWN}"
    return sql.execute(statement, (session_id,)).fetchone() is not None


def children_of(sql: Sql, session_id: str) -> list[int]:
    """The pks of the sessions that came from it."""
    return [pk for (pk,) in sql.execute("SELECT pk FROM session WHERE parent_id = ? ORDER BY pk", (session_id,))]


def subagents_of(sql: Sql, session_id: str) -> list[str]:
    """The ids of the sessions of its subagents."""
    statement = (
        f"SELECT s.id FROM session s WHERE s.parent_id = ? AND s.relation = 'subagent' AND {SHOWN} ORDER BY s.pk"
    )
    return [found for (found,) in sql.execute(statement, (session_id,))]


def forks_at(sql: Sql, session_id: str, round_id: str) -> list[int]:
    """The pks of those that were copied from it up to a round."""
    statement = "SELECT pk FROM session WHERE parent_id = ? AND forked_from_round_id = ? ORDER BY pk"
    return [pk for (pk,) in sql.execute(statement, (session_id, round_id))]


def delete_session(tx: Transaction, pk: int) -> None:
    """Delete the row; all that hangs from it goes with it."""
    tx.sql.execute("DELETE FROM session WHERE pk = ?", (pk,))


def take_round_index(tx: Transaction, session_pk: int, preview: str) -> int:
    """The next round's index, counted in the session's row, so that a deleted one is never given again."""
    index, count = tx.sql.execute(
        "UPDATE session SET next_round_index = next_round_index + 1, round_count = round_count + 1,"
        " preview = coalesce(preview, ?) WHERE pk = ? RETURNING next_round_index - 1, round_count",
        (preview, session_pk),
    ).fetchone()
    if count == 1:
        keep_words(tx, session_pk)
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
    keep_words(tx, session_pk)


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


def equals(column: str, value: str | None) -> tuple[str, tuple[str, ...]]:
    """The condition that a column holds a value, or NULL, and its values."""
    return (f"{column} IS NULL", ()) if value is None else (f"{column} = ?", (value,))


def in_directory(cwd: str, alias: str = "s") -> tuple[str, list[str]]:
    """The condition that a session is about a directory or one below it. The path of one of Windows goes on with a
    backslash where it has those."""
    slash = "\\" if cwd[:1] == "\\" or cwd[1:3] == ":\\" else "/"
    cwd = cwd.rstrip(slash)
    # What lies below it is one range, up to the character after the slash.
    condition = f"({alias}.cwd = ? OR {alias}.cwd >= ? AND {alias}.cwd < ?)"
    return condition, [cwd, f"{cwd}{slash}", f"{cwd}{chr(ord(slash) + 1)}"]


@cache
def select(dialect: Dialect, rest: str) -> str:
    """The statement for rows of sessions ``s``, which ``readable_row`` reads."""
    return f"SELECT {_SELECTION.sql(dialect)} FROM session s {rest}"


def _one(sql: Sql, where: str, value: str | int, *, lenient: bool = False) -> StoredSession | None:
    row = sql.execute(select(sql.dialect, f"{where} AND {SHOWN}"), (value,)).fetchone()
    return None if row is None else _stored(row, lenient=lenient)


def _stored(row: Row, *, lenient: bool = False) -> StoredSession:
    values = _SELECTION.decode_leniently(row) if lenient else _SELECTION.decode(row[_ID], row)
    return StoredSession(row[_PK], row[_CREATE_HASH], _FRAME_BYTES + row_bytes(row), Session(*values))


def readable_row(row: Row) -> SessionRow:
    """Raises Unreadable; what is decoded for that is not kept."""
    _SELECTION.decode(row[_ID], row)
    return SessionRow(row)

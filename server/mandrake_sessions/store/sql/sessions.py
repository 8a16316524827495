"""SQL of sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from attrs import frozen

from mandrake_sessions.ids import new_id
from mandrake_sessions.model import Session, SessionState, Sort
from mandrake_sessions.store.interface import Dialect, Row, Sql, Transaction
from mandrake_sessions.store.sql.columns import SESSION, Column, columns_from
from mandrake_sessions.store.sql.readable import readable_page
from mandrake_sessions.store.sql.rows import differs, fetch_one, insert, or_not_found, row_bytes, update
from mandrake_sessions.store.sql.selection import Selection, field_names

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

    def position(self, sort: Sort) -> tuple[int, ...]:
        """Where it stands in a list of that order."""
        return _position(self.row, sort)

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


@frozen
class SessionFilter:
    """Which sessions a list holds; None: whatever. ``query`` is casefolded already; ``cwd`` is a directory without a
    slash at its end, with all below it."""

    archived: bool | None = False
    query: str | None = None
    parent_id: str | None = None
    streaming: bool | None = None
    state: str | None = None
    agent: str | None = None
    source: str | None = None
    cwd: str | None = None
    active_since: int | None = None
    active_until: int | None = None


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
    insert(tx, "session", row)
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


def holder_of_external_id(sql: Sql, agent: str | None, external_id: str) -> Holder | None:
    """The session of that agent, or of none, that has it, whatever else that session holds."""
    whose, values = _equals("s.agent", agent)
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


def forks_at(sql: Sql, session_id: str, round_id: str) -> list[int]:
    """The pks of those that were copied from it up to a round."""
    statement = "SELECT pk FROM session WHERE parent_id = ? AND forked_from_round_id = ? ORDER BY pk"
    return [pk for (pk,) in sql.execute(statement, (session_id, round_id))]


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


def list_sessions(
    sql: Sql, wanted: SessionFilter, before: Sequence[int] | None, limit: int, *, sort: Sort = "changed"
) -> Iterator[SessionRow]:
    """Last changed, or last active, first, those beyond ``before`` (see ``SessionRow.position``); each read when it is
    asked for, and left out if it cannot be read."""
    arms = _arms(sql, wanted)
    for text in (wanted.query, wanted.cwd, wanted.agent, wanted.source):
        if text is not None:
            sql.release_later(text)
    columns, descending = _SORTED[sort]

    def fetch(beyond: Sequence[int] | None, count: int | None) -> Iterable[Row]:
        bounds = [] if beyond is None else [f"({columns}) < ({', '.join('?' * len(beyond))})"]
        wheres = [" AND ".join([*conditions, *bounds]) or "true" for conditions, _ in arms]
        values = [value for _, given in arms for value in (*given, *(beyond or ()), count)]
        if len(arms) == 1:
            return sql.execute(_select(sql.dialect, f"WHERE {wheres[0]} ORDER BY {descending} LIMIT ?"), values)
        found = " UNION ALL ".join(
            f"SELECT * FROM (SELECT s.pk FROM session s WHERE {where} ORDER BY {descending} LIMIT ?) AS arm"
            for where in wheres
        )
        statement = _select(sql.dialect, f"WHERE s.pk IN ({found}) ORDER BY {descending} LIMIT ?")
        return sql.execute(statement, (*values, count))

    return readable_page(sql, fetch, lambda row: _position(row, sort), before, limit, _readable_row)


_SORTED: Mapping[Sort, tuple[str, str]] = {
    "changed": ("s.seq", "s.seq DESC"),
    "active": ("s.active_at, s.pk", "s.active_at DESC, s.pk DESC"),
}


def _position(row: Row, sort: Sort) -> tuple[int, ...]:
    return (row[_SEQ],) if sort == "changed" else (row[_ACTIVE_AT], row[_PK])


def list_sessions_by_time(
    sql: Sql,
    wanted: SessionFilter,
    beyond: tuple[int, str] | None,
    limit: int,
    *,
    sort: Sort,
    changed_until: int | None = None,
) -> Iterator[SessionRow]:
    """For lists of several stores, whose ``seq`` cannot be compared: by ``updated_at`` or, with ``sort="active"``, by
    ``active_at``, latest first, then by id. ``beyond``: a moment, and an id or what compares as one; rows of that
    moment with a greater id are wanted, and all earlier ones. ``changed_until``: the ``seq`` of the last change that
    they may have."""
    moment = _MOMENTS[sort]
    order = f"{moment} DESC, s.id"
    conditions, values = session_conditions(sql.dialect, wanted)
    conditions = [SHOWN, *conditions]
    if changed_until is not None:
        conditions, values = [*conditions, "s.seq <= ?"], [*values, changed_until]
    if wanted.archived is not None:
        conditions, values = [*conditions, "(s.archived_at IS NOT NULL) = ?"], [*values, wanted.archived]
    for text in (wanted.query, wanted.cwd, wanted.agent, wanted.source):
        if text is not None:
            sql.release_later(text)

    def fetch(after: tuple[int, str] | None, count: int | None) -> Iterable[Row]:
        bounds = [] if after is None else [f"{moment} <= ? AND ({moment} < ? OR s.id > ?)"]
        where = " AND ".join([*conditions, *bounds])
        given = [*values, *(() if after is None else (after[0], *after)), count]
        # The pks first, so that not all of each row is sorted.
        found = f"SELECT s.pk FROM session s WHERE {where} ORDER BY {order} LIMIT ?"
        statement = f"WHERE s.pk IN (SELECT * FROM ({found}) AS found) ORDER BY {order} LIMIT ?"
        return sql.execute(_select(sql.dialect, statement), (*given, count))

    return readable_page(sql, fetch, lambda row: SessionRow(row).moment(sort), beyond, limit, _readable_row)


_MOMENTS: Mapping[Sort, str] = {"changed": "s.updated_at", "active": "s.active_at"}


def _arms(sql: Sql, wanted: SessionFilter) -> list[tuple[list[str], list[Any]]]:
    """The conditions that a list has to fulfil, with their values: several of them for as many parts of it, each of
    which is one range of an index, so that a page costs the same however many sessions there are."""
    conditions, values = session_conditions(sql.dialect, wanted)
    arms: list[tuple[list[str], list[Any]]] = [([], [])]
    if wanted.parent_id is None and (wanted.agent, wanted.state, wanted.streaming) != (None, None, None):
        pairs = _states_and_agents(sql, wanted)
        if len(pairs) <= _MAX_PAIRS:
            of_agents = [(state, *_equals("s.agent", agent)) for state, agent in pairs]
            arms = [(["s.state = ?", whose], [state, *given]) for state, whose, given in of_agents]
    archived = (False, True) if wanted.archived is None else (wanted.archived,)
    return [
        ([*own, "(s.archived_at IS NOT NULL) = ?", SHOWN, *conditions], [*given, value, *values])
        for own, given in arms
        for value in archived
    ]


# Of so many states and agents, each is looked up by itself.
_MAX_PAIRS = 60


def _states_and_agents(sql: Sql, wanted: SessionFilter) -> list[tuple[str, str | None]]:
    """Each state that is wanted, with each agent that has sessions in it."""
    states = [
        state.value
        for state in SessionState
        if wanted.state in (None, state.value) and wanted.streaming in (None, state is SessionState.RUNNING)
    ]
    if wanted.agent is not None:
        return [(state, wanted.agent) for state in states]
    pairs: list[tuple[str, str | None]] = []
    for state in states:
        agent: str | None = ""
        pairs.append((state, None))
        while len(pairs) <= _MAX_PAIRS:
            statement = "SELECT min(agent) FROM session WHERE state = ? AND agent > ?"
            (agent,) = sql.execute(statement, (state, agent)).fetchone()
            if agent is None:
                break
            pairs.append((state, agent))
    return pairs


def _equals(column: str, value: str | None) -> tuple[str, tuple[str, ...]]:
    """The condition that a column holds a value, or NULL, and its values."""
    return (f"{column} IS NULL", ()) if value is None else (f"{column} = ?", (value,))


def in_directory(cwd: str) -> tuple[str, list[str]]:
    """The condition that a session ``s`` is about a directory, given without a slash at its end, or one below it."""
    # What lies below it is one range: "0" comes after "/".
    return "(s.cwd = ? OR s.cwd >= ? AND s.cwd < ?)", [cwd, f"{cwd}/", f"{cwd}0"]


def session_conditions(dialect: Dialect, wanted: SessionFilter) -> tuple[list[str], list[Any]]:
    """What sessions ``s`` have to fulfil, with the values: all but whether they are archived."""
    conditions: list[str] = []
    values: list[Any] = []
    for column in ("parent_id", "state", "agent", "source"):
        if (value := getattr(wanted, column)) is not None:
            conditions.append(f"s.{column} = ?")
            values.append(value)
    if wanted.streaming is not None:
        conditions.append("s.state = 'running'" if wanted.streaming else "s.state <> 'running'")
    if wanted.cwd is not None:
        condition, directories = in_directory(wanted.cwd)
        conditions.append(condition)
        values += directories
    for condition, moment in (("s.active_at >= ?", wanted.active_since), ("s.active_at < ?", wanted.active_until)):
        if moment is not None:
            conditions.append(condition)
            values.append(moment)
    if wanted.query is not None:
        parts = [dialect.contains_folded(f"s.{column}") for column in ("title", "description", "preview")]
        conditions.append(f"({' OR '.join(parts)})")
        values += [wanted.query] * 3
    return conditions, values


@cache
def _select(dialect: Dialect, rest: str) -> str:
    return f"SELECT {_SELECTION.sql(dialect)} FROM session s {rest}"


def _one(sql: Sql, where: str, value: str | int, *, lenient: bool = False) -> StoredSession | None:
    row = sql.execute(_select(sql.dialect, f"{where} AND {SHOWN}"), (value,)).fetchone()
    return None if row is None else _stored(row, lenient=lenient)


def _stored(row: Row, *, lenient: bool = False) -> StoredSession:
    values = _SELECTION.decode_leniently(row) if lenient else _SELECTION.decode(row[_ID], row)
    return StoredSession(row[_PK], row[_CREATE_HASH], _FRAME_BYTES + row_bytes(row), Session(*values))


def _readable_row(row: Row) -> SessionRow:
    """Raises Unreadable; what is decoded for that is not kept."""
    _SELECTION.decode(row[_ID], row)
    return SessionRow(row)

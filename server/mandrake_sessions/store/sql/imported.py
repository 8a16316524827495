"""SQL of what was brought in from other programs' files: the sources, and rounds and turns of sessions that are written
as a whole (see ``hidden.py``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from attrs import frozen

from mandrake_sessions.errors import Conflict
from mandrake_sessions.ids import new_id
from mandrake_sessions.store.interface import Sql, Transaction
from mandrake_sessions.store.sql import rounds, sessions, turns
from mandrake_sessions.store.sql.copying import Copy
from mandrake_sessions.store.sql.leases import NO_LEASE
from mandrake_sessions.store.sql.rows import insert, update
from mandrake_sessions.value import Value

_COLUMNS: Final = (
    "reader", "key", "session_id", "path", "file_id", "size", "mtime_ns", "position", "checksum", "imported_at",
    "state",
)  # fmt: skip


@frozen(eq=False, repr=False)
class StoredSource(Value):
    """A source, as ``migrations/0005`` describes its columns. ``session_id``: of the session that came from it, whether
    or not it is still there; None where nothing came. ``is_deleted``: it is not. ``kept``: the ``file_id``, ``size``
    and ``mtime_ns`` of the file all of which is kept (``migrations/0006``)."""

    reader: str
    key: str
    session_id: str | None
    path: str
    file_id: str
    size: int
    mtime_ns: int
    position: int
    checksum: str
    imported_at: int
    state: str
    is_deleted: bool
    kept: tuple[str | None, int | None, int | None] = (None, None, None)


def find_source(sql: Sql, reader: str, key: str) -> StoredSource | None:
    row = sql.execute(
        f"SELECT {', '.join(f'i.{name}' for name in _COLUMNS)}, i.session_id IS NOT NULL AND i.session_pk IS NULL,"
        " f.file_id, f.size, f.mtime_ns FROM import_source i"
        " LEFT JOIN original_file f ON f.session_pk = i.session_pk AND f.file_name = ''"
        " WHERE i.reader = ? AND i.key = ?",
        (reader, key),
    ).fetchone()
    if row is None:
        return None
    known = dict(zip(_COLUMNS, row[:-4], strict=True))
    return StoredSource(**known, is_deleted=row[-4] == 1, kept=tuple(row[-3:]))


def keep_source(tx: Transaction, source: StoredSource) -> None:
    """Write how far a source was read, in place of what was known of it."""
    session_pk = None
    if source.session_id is not None:
        found = tx.sql.execute("SELECT pk FROM session WHERE id = ?", (source.session_id,)).fetchone()
        session_pk = None if found is None else found[0]
    values = (*(getattr(source, name) for name in _COLUMNS), session_pk)
    names = ", ".join((*_COLUMNS, "session_pk"))
    moved = ", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS[2:], "session_pk"))
    tx.sql.execute(
        f"INSERT INTO import_source ({names}) VALUES ({', '.join('?' * len(values))})"
        f" ON CONFLICT (reader, key) DO UPDATE SET {moved}",
        values,
    )


def move_source(tx: Transaction, reader: str, key: str, path: str, kept_as: str) -> None:
    """Write where a source is now, for what is kept of it too."""
    of_it = "WHERE reader = ? AND key = ?"
    tx.sql.execute(f"UPDATE import_source SET path = ? {of_it}", (path, reader, key))
    tx.sql.execute(
        "UPDATE original_file SET path = ? WHERE file_name = ?"
        f" AND session_pk = (SELECT session_pk FROM import_source {of_it})",
        (path, kept_as, reader, key),
    )


class RecordedSession(NamedTuple):
    """A session that was recorded while it went on, by another program's name for it."""

    agent: str
    external_id: str
    id: str


def agents(sql: Sql) -> list[str]:
    """What agents are called here."""
    return [name for (name,) in sql.execute("SELECT DISTINCT agent FROM session WHERE agent IS NOT NULL")]


def recorded_sessions(sql: Sql, agents: Iterable[str]) -> list[RecordedSession]:
    """Those of these agents."""
    statement = (
        "SELECT s.agent, s.external_id, s.id FROM session s WHERE s.external_id IS NOT NULL AND s.agent = ?"
        " AND s.copying_lease IS NULL AND substr(coalesce(s.source, ''), 1, 7) <> 'import:'"
    )
    return [RecordedSession._make(row) for agent in agents for row in sql.execute(statement, (agent,))]


def waiting_states(sql: Sql) -> list[tuple[str, str]]:
    """The sessions that wait for their parent, each with the state of its source."""
    return list(
        sql.execute(
            "SELECT session_id, state FROM import_source WHERE session_pk IS NOT NULL AND state LIKE '%\"waits\": {%'"
        )
    )


class Original(NamedTuple):
    """A round that another one may be a copy of. ``id``: of the first original."""

    id: str
    session_id: str
    content: str
    created_at: int


def find_original(sql: Sql, round_id: str) -> Original | None:
    row = sql.execute(
        "SELECT coalesce(r.copied_from_id, r.id), s.id, q.content, q.created_at FROM round r"
        " JOIN session s ON s.pk = r.session_pk JOIN request q ON q.pk = r.pk WHERE r.id = ?",
        (round_id,),
    ).fetchone()
    return None if row is None else Original._make(row)


def first_after_shared(sql: Sql, session_id: str, other_id: str) -> int | None:
    """When the first round began that follows those which two sessions have both; None where none does."""
    original = "coalesce(r.copied_from_id, r.id)"
    of_session = "FROM round r JOIN session s ON s.pk = r.session_pk"
    shared = f"{original} IN (SELECT {original} {of_session} WHERE s.id = ?)"
    (began,) = sql.execute(
        f"SELECT min(q.created_at) {of_session} JOIN request q ON q.pk = r.pk WHERE s.id = ?"
        f' AND r."index" > (SELECT coalesce(max(r."index"), -1) {of_session} WHERE s.id = ? AND {shared})',
        (session_id, session_id, other_id),
    ).fetchone()
    return None if began is None else int(began)


def mark_copy(tx: Transaction, round_id: str, original_id: str) -> None:
    tx.sql.execute("UPDATE round SET copied_from_id = ? WHERE id = ?", (original_id, round_id))


def set_active(tx: Transaction, pk: int, at: int) -> None:
    """When the conversation of a session moved last."""
    tx.sql.execute("UPDATE session SET active_at = ? WHERE pk = ?", (at, pk))


def begin_session(tx: Transaction, created_at: int) -> Copy:
    """A new session that nobody is shown. What is kept beside its texts is written by ``hidden.write_parts``, before
    the transaction ends, or by ``show_session``."""
    copy = Copy(tx.next_seq(), new_id(), created_at)
    # Where there are no leases, a hidden session is left behind when nothing was added to it for long.
    times = {"active_at": created_at, "created_at": created_at, "updated_at": max(created_at, tx.clock)}
    own = {"id": copy.id, "copying_lease": tx.own_lease_id() or NO_LEASE, "seq": copy.pk, "pk": copy.pk}
    insert(tx, "session", {**times, **own, "metadata": "{}"})
    return copy


def show_session(tx: Transaction, copy: Copy, columns: Mapping[str, Any]) -> int | None:
    """Let everybody see the session, with these columns; gives the seq of that change, None where it is gone."""
    tx.sql.execute("UPDATE store SET copied_seq = ?", (tx.seq,))
    seq = tx.next_seq()
    row = {
        **columns,
        "copying_lease": None,
        "seq": seq,
        "preview": copy.preview,
        "round_count": copy.round_count,
        "next_round_index": copy.next_round_index,
        "active_at": copy.active_at,
        "updated_at": columns.get("updated_at") or copy.active_at,
    }
    names = ", ".join(f"{name} = ?" for name in row)
    statement = f"UPDATE session SET {names}, state = {sessions.STATE_NOW} WHERE pk = ? AND copying_lease IS NOT NULL"
    if tx.sql.execute(statement, (*row.values(), copy.pk)).rowcount != 1:
        return None
    sessions.keep_words(tx, copy.pk)
    return seq


class OpenRound:
    """A round that turns are still added to."""

    __slots__ = ("next_turn_index", "pk")

    def __init__(self, pk: int) -> None:
        self.pk = pk
        self.next_turn_index = 0


def add_round(tx: Transaction, copy: Copy, columns: Mapping[str, Any], stamps: Mapping[str, int]) -> OpenRound:
    """A round after those before, or the one that has the id of its request already. ``columns``: as the rules give
    them, and ``copied_from_id``. Raises Conflict where another session has it."""
    if (present := _round_of_request(tx, copy, columns["request_id"])) is not None:
        return present
    for part, name in ((rounds.Part.ROUND, "id"), (rounds.Part.RESPONSE, "response_id")):
        if stamps and rounds.id_in_use(tx.sql, part, columns[name]):
            raise _in_use(part, columns[name])
    created_at = columns["created_at"]
    # A deleted round leaves a gap.
    copy.next_round_index = max(copy.next_round_index, stamps.get("index", 0))
    now = stamps.get("updated_at", created_at)
    pk = rounds.insert_rows(tx, copy.pk, copy.next_round_index, columns, None, now=now)
    if not copy.round_count:
        copy.preview = sessions.preview_of(columns["content"])
    copy.round_count += 1
    copy.next_round_index += 1
    copy.moved(created_at)
    return OpenRound(pk)


def _round_of_request(tx: Transaction, copy: Copy, request_id: str) -> OpenRound | None:
    found = tx.sql.execute(
        "SELECT r.pk, r.session_pk, p.next_turn_index FROM request q JOIN round r ON r.pk = q.pk"
        " JOIN response p ON p.pk = q.pk WHERE q.id = ?",
        (request_id,),
    ).fetchone()
    if found is None:
        return None
    if found[1] != copy.pk:
        raise _in_use("request", request_id)
    present = OpenRound(found[0])
    present.next_turn_index = found[2]
    return present


def _in_use(entity: str, entity_id: str) -> Conflict:
    return Conflict("idInUse", f"another session has the {entity} {entity_id}", actual=entity_id)


def add_turn(tx: Transaction, copy: Copy, of: OpenRound, columns: Mapping[str, Any], stamps: Mapping[str, int]) -> int:
    """An ended turn, unless there is one of its id; gives its pk. Raises Conflict where another session has that."""
    found = tx.sql.execute("SELECT pk, session_pk FROM turn WHERE id = ?", (columns["id"],)).fetchone()
    if found is not None:
        if found[1] != copy.pk:
            raise _in_use("turn", columns["id"])
        return int(found[0])
    of.next_turn_index = max(of.next_turn_index, stamps.get("index", 0))
    place = {"session_pk": copy.pk, "round_pk": of.pk, "index": of.next_turn_index}
    of.next_turn_index += 1
    ended = columns["stream_end_time"]
    copy.moved(columns["stream_start_time"], ended)
    now = stamps.get("updated_at", ended)
    return turns.insert_rows(tx, {**columns, "lease": NO_LEASE}, place, None, now=now)


def change_call(tx: Transaction, turn_pk: int, columns: Mapping[str, Any]) -> None:
    """Set columns of a tool call that was added before."""
    found = tx.sql.execute("SELECT pk FROM tool_call WHERE turn_pk = ? AND id = ?", (turn_pk, columns["id"])).fetchone()
    if found is not None:
        update(tx, "tool_call", found[0], {name: value for name, value in columns.items() if name != "id"})


def end_round(
    tx: Transaction, copy: Copy, of: OpenRound, columns: Mapping[str, Any], stamps: Mapping[str, int]
) -> None:
    """Write how the response stands, after its turns, and what was said to be used by it."""
    given = dict(columns)
    if (used := given.pop("usage", None)) is not None:
        insert(tx, "response_usage", {"pk": of.pk, **used})
    end_time = given.get("end_time")
    copy.moved(end_time)
    now = stamps.get("updated_at", end_time)
    moved = {} if now is None else {"updated_at": now}
    update(tx, "response", of.pk, {**given, **moved, "next_turn_index": of.next_turn_index})

"""Mends rows whose parent is missing: creates the parent again, so that clients can reach its rows."""

from __future__ import annotations

from mandrake_sessions.ids import new_id, now_ms
from mandrake_sessions.store.sql.values import MAX_NUMBER
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.mending_feed import next_number
from mandrake_sessions.store.sqlite.schema import columns_of


def mend_relations(connection: StoreConnection) -> None:
    for (turn_pk,) in _orphans(connection, "turn", ("text.turn_pk", "tool_call.turn_pk")):
        _make_turn(connection, turn_pk)
    for (round_pk,) in _orphans(connection, "round", ("request.pk", "response.pk", "turn.round_pk")):
        _make_round(connection, round_pk)
    of_sessions = ["round.session_pk"]
    if columns_of(connection, "original_file"):
        for (file_pk,) in _orphans(connection, "original_file", ("original_block.file_pk",)):
            _make_original(connection, file_pk)
        of_sessions.append("original_file.session_pk")
    for (session_pk,) in _orphans(connection, "session", tuple(of_sessions)):
        _make_session(connection, session_pk)
    if columns_of(connection, "import_source"):
        connection.execute(
            "UPDATE import_source SET session_pk = NULL"
            " WHERE session_pk IS NOT NULL AND session_pk NOT IN (SELECT pk FROM session)"
        )
    _complete_rounds(connection)
    connection.execute(
        "UPDATE turn SET session_pk = (SELECT session_pk FROM round WHERE pk = turn.round_pk)"
        " WHERE session_pk <> (SELECT session_pk FROM round WHERE pk = turn.round_pk)"
    )


def _orphans(connection: StoreConnection, parent: str, children: tuple[str, ...]) -> list[tuple[int]]:
    """The pks of parents that children name and that do not exist."""
    named = " UNION ".join(
        f"SELECT {column} AS pk FROM {table}" for table, column in (child.split(".") for child in children)
    )
    return connection.execute(
        f"SELECT pk FROM ({named}) AS named WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.pk = named.pk)"
    ).fetchall()


def _plausible(connection: StoreConnection, pk: int) -> int:
    return pk if 1 <= pk < MAX_NUMBER // 2 else next_number(connection)


def _make_session(connection: StoreConnection, pk: int) -> int:
    now, new = now_ms(), _plausible(connection, pk)
    last = '(SELECT coalesce(max("index") + 1, 0) FROM round WHERE session_pk = ?)'
    connection.execute(
        "INSERT INTO session (pk, id, seq, title, metadata, next_round_index, active_at, created_at, updated_at)"
        f" VALUES (?, ?, ?, 'recovered', '{{}}', {last}, ?, ?, ?)",
        (new, new_id(), max(new, next_number(connection)), pk, now, now, now),
    )
    if new != pk:
        connection.execute("UPDATE round SET session_pk = ? WHERE session_pk = ?", (new, pk))
        if columns_of(connection, "original_file"):
            connection.execute("UPDATE original_file SET session_pk = ? WHERE session_pk = ?", (new, pk))
    return new


def _recovered_session(connection: StoreConnection) -> int:
    found = connection.execute("SELECT pk FROM session WHERE title = 'recovered' ORDER BY pk LIMIT 1").fetchone()
    return int(found[0]) if found is not None else _make_session(connection, next_number(connection))


def _make_original(connection: StoreConnection, pk: int) -> None:
    """The file of blocks whose own is missing, under a name that no program gives. Nobody knows where it was."""
    connection.execute(
        "INSERT INTO original_file (pk, session_pk, reader, file_name, path) VALUES (?, ?, '', ?, '')",
        (pk, _recovered_session(connection), f"recovered {pk}"),
    )


def _make_round(connection: StoreConnection, pk: int) -> int:
    """In the session of its turns, if that exists."""
    now, new = now_ms(), _plausible(connection, pk)
    if new != pk:
        for table, column in (("request", "pk"), ("response", "pk"), ("turn", "round_pk")):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, pk))
    home = connection.execute(
        "SELECT s.pk FROM turn t JOIN session s ON s.pk = t.session_pk WHERE t.round_pk = ? LIMIT 1", (new,)
    ).fetchone()
    session_pk = _recovered_session(connection) if home is None else home[0]
    connection.execute(
        'INSERT INTO round (pk, id, session_pk, "index", metadata, created_at, updated_at)'
        """ VALUES (?, ?, ?, (SELECT coalesce(max("index") + 1, 0) FROM round WHERE session_pk = ?), '{}', ?, ?)""",
        (new, new_id(), session_pk, session_pk, now, now),
    )
    return new


def _make_turn(connection: StoreConnection, pk: int) -> None:
    """Create the turn of texts or tool calls whose own is missing, in a round of its own."""
    now, new = now_ms(), _plausible(connection, pk)
    if new != pk:
        for table in ("text", "tool_call"):
            connection.execute(f"UPDATE {table} SET turn_pk = ? WHERE turn_pk = ?", (new, pk))
    round_pk = _make_round(connection, next_number(connection))
    (session_pk,) = connection.execute("SELECT session_pk FROM round WHERE pk = ?", (round_pk,)).fetchone()
    connection.execute(
        'INSERT INTO turn (pk, id, seq, session_pk, round_pk, "index", kind, status, stream_start_time,'
        " stream_end_time, current_tokens, input_tokens, output_tokens, input_cost, output_cost, metadata,"
        " content_pk, raw_response_pk, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, 0, 'message', 'interrupted', ?, ?, 0, 0, 0, 0, 0, '{}', 1, 1, ?, ?)",
        (new, new_id(), new, session_pk, round_pk, now, now, now, now),
    )


def _complete_rounds(connection: StoreConnection) -> None:
    lacking = "SELECT r.pk, r.created_at FROM round r WHERE NOT EXISTS (SELECT 1 FROM {} p WHERE p.pk = r.pk)"
    for pk, created_at in connection.execute(lacking.format("request")).fetchall():
        connection.execute(
            "INSERT INTO request (pk, id, content, created_at, updated_at) VALUES (?, ?, '', ?, ?)",
            (pk, new_id(), created_at, created_at),
        )
    for pk, created_at in connection.execute(lacking.format("response")).fetchall():
        connection.execute(
            "INSERT INTO response (pk, id, status, next_turn_index, created_at, updated_at) VALUES (?, ?, 'open',"
            ' (SELECT coalesce(max("index") + 1, 0) FROM turn WHERE round_pk = ?), ?, ?)',
            (pk, new_id(), pk, created_at, created_at),
        )

"""SQL of leases: which turns name them."""

from __future__ import annotations

from typing import Final

from mandrake_sessions.store.interface import Sql

# The lease of no process: of a copy where there are no leases, and of a turn that nobody has streamed yet.
NO_LEASE: Final = "00000000-0000-0000-0000-000000000000"


def streaming_leases(sql: Sql) -> set[str]:
    """The leases that turns name which stream now."""
    return {row[0] for row in sql.execute("SELECT DISTINCT lease FROM turn WHERE status = 'streaming'")} - {None}


def turn_ids_of_lease(sql: Sql, lease_id: str) -> list[str]:
    """The turns that stream under a lease."""
    rows = sql.execute("SELECT id FROM turn WHERE status = 'streaming' AND lease = ? ORDER BY pk", (lease_id,))
    return [row[0] for row in rows]


def last_lease(sql: Sql, round_pk: int) -> str | None:
    """The lease of the turn of a round that a process has streamed last, or streams; None where there is none."""
    row = sql.execute(
        "SELECT lease FROM turn WHERE round_pk = ? AND lease IS NOT NULL AND lease <> ?"
        " ORDER BY stream_start_time DESC, pk DESC LIMIT 1",
        (round_pk, NO_LEASE),
    ).fetchone()
    return None if row is None else row[0]

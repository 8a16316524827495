"""SQL of leases: which turns name them."""

from __future__ import annotations

from mandrake_sessions.store.interface import Sql


def streaming_leases(sql: Sql) -> set[str]:
    """The leases that turns name which stream now."""
    return {row[0] for row in sql.execute("SELECT DISTINCT lease FROM turn WHERE status = 'streaming'")} - {None}


def turn_ids_of_lease(sql: Sql, lease_id: str) -> list[str]:
    """The turns that stream under a lease."""
    rows = sql.execute("SELECT id FROM turn WHERE status = 'streaming' AND lease = ? ORDER BY pk", (lease_id,))
    return [row[0] for row in rows]

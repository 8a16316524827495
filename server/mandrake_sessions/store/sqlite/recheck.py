"""Reads unreadable values again: somebody may have mended or deleted them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from mandrake_sessions.errors import NotFound, Unreadable
from mandrake_sessions.store.sql import changes, rounds, sessions, tool_calls, turns
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.schema import columns_of

# How many values one call reads again: each may be as long as a row may be.
RECHECKED = 10


def forget_what_is_mended(
    connection: StoreConnection, listed: list[Unreadable], forget: Callable[[Unreadable], None]
) -> None:
    """Read the first of the noted values again."""
    for error in listed[:RECHECKED]:
        read = _READ.get(error.entity)
        if read is not None and _can_be_read(connection, read, error.entity_id):
            forget(error)


def _can_be_read(connection: StoreConnection, read: Callable[[StoreConnection, str], Any], entity_id: str) -> bool:
    try:
        read(connection, entity_id)
    except NotFound:
        return True
    except (Unreadable, OddValue, sqlite3.Error):
        return False
    return True


def _table(connection: StoreConnection, name: str) -> None:
    if not columns_of(connection, name):
        raise OddValue("is gone")


def _trigger(connection: StoreConnection, name: str) -> None:
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ? AND type = 'trigger'", (name,)).fetchone():
        raise OddValue("is there")


_READ: dict[str, Callable[[StoreConnection, str], Any]] = {
    "session": sessions.get_session,
    "round": rounds.get_round,
    "request": rounds.get_round_of_request,
    "response": rounds.get_round_of_response,
    "turn": turns.get_turn,
    "toolCall": tool_calls.read_all_named,
    "change": changes.read_again,
    "store": lambda connection, _: (changes.store_id(connection), changes.pruned_seq(connection)),
    "table": _table,
    "trigger": _trigger,
}

"""The part of the deep check that reads every value, with the code that reads it for clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mandrake_sessions.store.sql import changes
from mandrake_sessions.store.sql.columns import TABLES
from mandrake_sessions.store.sql.values import Decoder, OddValue, decode_cost, decode_real_cost
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.migrate import latest_version, user_version
from mandrake_sessions.store.sqlite.problems import Mend, Problem
from mandrake_sessions.store.sqlite.schema import columns_of

# The schema from which on costs are integers.
_COSTS_ARE_INTEGERS = 4


def unreadable_values(connection: StoreConnection) -> Iterator[Problem]:
    """Values that their columns may not hold."""
    for table in TABLES:
        yield from _unreadable(connection, table)


def decoders_of(connection: StoreConnection, table: str) -> dict[str, Decoder]:
    """The columns that the table has in this file, with what each may hold."""
    decoders = TABLES[table]
    found = {name: decoders[name] for name in columns_of(connection, table) if name in decoders}
    if user_version(connection) < _COSTS_ARE_INTEGERS:
        return {name: decode_real_cost if decode is decode_cost else decode for name, decode in found.items()}
    return found


def odd_rows(
    connection: StoreConnection, table: str, decoders: dict[str, Decoder], after: int | None = None
) -> Iterator[tuple[int, list[tuple[str, Any, str]]]]:
    """The rows after ``after`` with values that cannot be read: the column of each, the value, and what is wrong."""
    if not decoders:
        # An older schema does not have the table.
        return
    names = ", ".join(f'"{name}"' for name in decoders)
    where, values = ("", ()) if after is None else ("WHERE rowid > ?", (after,))
    for rowid, *row in connection.execute(f"SELECT rowid, {names} FROM {table} {where} ORDER BY rowid", values):
        odd = []
        for (name, decode), value in zip(decoders.items(), row, strict=True):
            try:
                decode(value)
            except OddValue as error:
                odd.append((name, value, str(error)))
        if odd:
            yield rowid, odd


def _unreadable(connection: StoreConnection, table: str) -> Iterator[Problem]:
    counts: dict[str, int] = {}
    firsts: dict[str, str] = {}
    for rowid, odd in odd_rows(connection, table, decoders_of(connection, table)):
        for name, _, why in odd:
            counts[name] = counts.get(name, 0) + 1
            firsts.setdefault(name, f"in row {rowid} it {why}")
    for name, count in counts.items():
        text = f"{table}.{name}: {_rows(count)} cannot be read; {firsts[name]}"
        yield Problem("values", count, text, Mend.STORE_ROW if table == "store" else Mend.VALUES)


def unreadable_changes(connection: StoreConnection) -> Iterator[Problem]:
    """Rows of the feed that could not be sent to a subscriber. They are read as the program reads them, so a file of an
    older schema is looked at once it is migrated."""
    if user_version(connection) < latest_version():
        return
    count, first = 0, ""
    for seq, reason in changes.unreadable_changes(connection):
        count += 1
        first = first or f"change {seq}: {reason}"
    if count:
        yield Problem("feed", count, f"{_rows(count)} of the feed cannot be read; {first}", Mend.FEED)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"

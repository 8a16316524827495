"""The tables, columns, indexes and triggers that a file of a schema version has.

Other programs' tables, their views and their indexes do no harm. A part that changes what our own statements do is odd:
a trigger on our tables, a unique index, a view with the name of a table, a table of another shape.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from sqlite3 import Connection

from attrs import frozen

from mandrake_sessions.store.sqlite.dialect import add_functions
from mandrake_sessions.store.sqlite.migrate import COMMENT, LEDGER, known_migrations, statements, user_version
from mandrake_sessions.store.sqlite.problems import Mend, Problem
from mandrake_sessions.value import Value

# The parts of the schema in sqlite_schema, each with the SQL that makes it.
_PARTS = "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'index') AND sql IS NOT NULL"
_STRANGE = """
SELECT type, name, tbl_name, sql FROM sqlite_schema
WHERE type IN ('trigger', 'view') OR type = 'index' AND sql LIKE 'CREATE UNIQUE %'
"""


@frozen(eq=False, repr=False)
class Missing(Value):
    """What a file lacks of its schema. ``tables``: those that are missing, or lack a column."""

    problems: list[Problem]
    tables: list[str]


@cache
def expected_parts(version: int) -> dict[tuple[str, str], str]:
    """``(type, name)`` to SQL, for every table and index of a schema version, in the order of their creation."""
    with closing(sqlite3.connect(":memory:")) as model:
        add_functions(model)
        model.execute(LEDGER)
        for migration in known_migrations()[:version]:
            for statement in statements(migration.sql):
                model.execute(statement)
        return {(kind, name): sql for kind, name, sql in model.execute(_PARTS)}


def missing_parts(connection: Connection) -> Missing:
    """What the file lacks of the schema that it states."""
    version = _known_version(connection)
    present = {(kind, name) for kind, name, _ in connection.execute(_PARTS)}
    lost = [part for part in expected_parts(version) if part not in present]
    tables = [name for kind, name in lost if kind == "table"]
    indexes = [name for kind, name in lost if kind == "index"]
    strange = strange_parts(connection)
    views = {name for kind, name in strange if kind == "view"}
    found = [Problem("tables", 1, f"the table {name} is gone", Mend.TABLES) for name in tables if name not in views]
    found += [
        Problem("tables", 1, f"a view has the name of the table {name}", None) for name in tables if name in views
    ]
    found += [
        Problem("tables", 1, f"the {kind} {name}, of another program, may change what is written", Mend.TABLES)
        for kind, name in strange
        if kind != "view"
    ]
    found += [Problem("tables", 1, f"the index {name} is gone", Mend.TABLES) for name in indexes]
    altered = []
    for table, columns in _missing_columns(connection, version, tables):
        altered.append(table)
        text = f"the table {table} has no column {', '.join(columns)}"
        found.append(Problem("tables", len(columns), text, None))
    for kind, name in altered_parts(connection):
        if name not in altered:
            text = f"the {kind} {name} differs from what this program creates"
            found.append(Problem("tables", 1, text, Mend.TABLES if kind == "index" else None))
    return Missing(found, tables + altered)


def strange_parts(connection: Connection) -> list[tuple[str, str]]:
    """``(type, name)`` of the parts that other programs put on our tables, or in their place."""
    expected = expected_parts(_known_version(connection))
    ours = {name for kind, name in expected if kind == "table"}
    return [
        (kind, name)
        for kind, name, table, _ in connection.execute(_STRANGE)
        if table in ours and (kind, name) not in expected
    ]


def altered_parts(connection: Connection) -> list[tuple[str, str]]:
    """``(type, name)`` of the tables and indexes whose SQL differs from ours."""
    expected = expected_parts(_known_version(connection))
    return [
        (kind, name)
        for kind, name, sql in connection.execute(_PARTS)
        if (kind, name) in expected and _bare(sql) != _bare(expected[kind, name])
    ]


def _known_version(connection: Connection) -> int:
    """The schema version that the file states, or the newest that this program knows."""
    return min(user_version(connection), len(known_migrations()))


def _bare(sql: str) -> str:
    """The SQL without comments, blanks and quotes, which do not matter."""
    return re.sub(r'[\s"`\[\]]+', "", COMMENT.sub("", sql)).lower()


def _missing_columns(connection: Connection, version: int, lost: list[str]) -> Iterator[tuple[str, list[str]]]:
    for table, expected in _expected_columns(version).items():
        if table not in lost:
            present = set(columns_of(connection, table))
            if absent := [column for column in expected if column not in present]:
                yield table, absent


@cache
def _expected_columns(version: int) -> dict[str, list[str]]:
    parts = expected_parts(version)
    with closing(sqlite3.connect(":memory:")) as model:
        for (kind, _), sql in parts.items():
            if kind == "table":
                model.execute(sql)
        return {name: columns_of(model, name) for kind, name in parts if kind == "table"}


def columns_of(connection: Connection, table: str) -> list[str]:
    """The names of a table's columns."""
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]

"""The rules, the server and its handlers speak of entities: no string of theirs is a table, a column or a statement,
and they carry none out. The rules and the manager look at no file.

Tables and columns come from the migrations. A name that a field of the model has too is the field's.
"""

from __future__ import annotations

import ast
import inspect
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import fields, has

from mandrake_sessions import model
from mandrake_sessions.store.sqlite.dialect import add_functions
from mandrake_sessions.store.sqlite.migrate import known_migrations, statements

PACKAGE = Path(__file__).parents[2] / "server" / "mandrake_sessions"
WITHOUT_FILES = ("operations", "handlers", "manager.py", "listeners.py", "absent.py")
ABOVE_THE_STORE = (*WITHOUT_FILES, "connection", "known_stores.py", "open_stores.py", "store_places.py")

# Names in the schema that are words of something else too, where they stand alone.
ORDINARY = {
    "at",  # a parameter of transactions
    "data",  # of an error of JSON-RPC
    "store",  # the whole store, as something to subscribe to
}
STATEMENT = re.compile(
    r"\bSELECT\b|(?i:\b(?:select\b.*\bfrom|insert into|update \S+ set|delete from|order by|pragma|savepoint)\b)",
    re.DOTALL,
)
# What carries a statement out, whatever the type of what it is called on.
CARRY_OUT = {"execute", "executemany", "executescript"}
# What looks at files; and what of `os` takes a name that a program gives, and looks at nothing.
FILES = {
    "os",
    "pathlib",
    "shutil",
    "stat",
    "glob",
    "tempfile",
    "mandrake_sessions.files",
    "mandrake_sessions.workspaces",
}
NAMES_ALONE = {"PathLike", "fspath"}


def stored_names() -> set[str]:
    """The tables and the columns that no field of the model has the name of."""
    with closing(sqlite3.connect(":memory:")) as made:
        add_functions(made)
        for migration in known_migrations():
            for statement in statements(migration.sql):
                made.execute(statement)
        tables = [name for (name,) in made.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = [row[1] for table in tables for row in made.execute(f"PRAGMA table_info({table})")]
    classes = [entity for _, entity in inspect.getmembers(model, inspect.isclass) if has(entity)]
    return {*tables, *columns} - {field.name for entity in classes for field in fields(entity)}


def offences(source: str, stored: set[str]) -> Iterator[str]:
    """The strings in a program that name what is stored; docstrings may."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    endings = {"_pk", "_bytes", "_chunks"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            text = node.value
            is_name = text in stored - ORDINARY or (id(node) in parts and text in endings)
            if is_name or STATEMENT.search(text) or has_stored_word(text, stored):
                yield f"line {node.lineno}: {text!r}"
        elif isinstance(node, ast.Attribute) and node.attr in CARRY_OUT:
            yield f"line {node.lineno}: {node.attr}"


def looks_at_files(source: str) -> Iterator[str]:
    """Where a program may look at a file: what it imports for that, and ``open``."""
    tree = ast.parse(source)
    harmless = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in NAMES_ALONE
    }
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(name)) if name in FILES:
                yield f"line {node.lineno}: from {name}"
            case ast.Import(names=names):
                yield from (f"line {node.lineno}: import {each.name}" for each in names if each.name in FILES - {"os"})
            case ast.Name(id="os") if id(node) not in harmless:
                yield f"line {node.lineno}: os"
            case ast.Call(func=ast.Name(id="open" as name)):
                yield f"line {node.lineno}: {name}"


def has_stored_word(text: str, stored: set[str]) -> bool:
    """Whether a longer string has such a name in it; ordinary words do not count there."""
    return any(word in stored for word in re.findall(r"\w+", text) if "_" in word or word == "pk")


def sources(parts: tuple[str, ...] = ABOVE_THE_STORE) -> list[Path]:
    found = [PACKAGE / name for name in parts]
    return sorted(file for path in found for file in (path.rglob("*.py") if path.is_dir() else [path]))


def test_nothing_above_the_store_names_a_table_a_column_or_a_statement() -> None:
    stored = stored_names()
    found = {
        str(path.relative_to(PACKAGE)): named
        for path in sources()
        if (named := list(offences(path.read_text(encoding="utf-8"), stored)))
    }
    assert found == {}
    assert len(sources()) > 40


def test_the_rules_and_the_manager_look_at_no_file() -> None:
    found = {
        str(path.relative_to(PACKAGE)): looks
        for path in sources(WITHOUT_FILES)
        if (looks := list(looks_at_files(path.read_text(encoding="utf-8"))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "from pathlib import Path",
        "import os, stat",
        "os.stat(name)",
        "open(name).read()",
        "from mandrake_sessions.workspaces import absolute",
        "os.fspath(os.getcwd())",
    ],
)
def test_a_look_at_a_file_would_be_found(line: str) -> None:
    assert len(list(looks_at_files(f"def look(name: str) -> None:\n    {line}\n"))) == 1


@pytest.mark.parametrize(
    "line",
    [
        'columns["content_bytes"] = 1',
        'columns["lease"] = tx.own_lease_id()',
        'columns[f"{name}_pk"] = seq',
        'turns.turn_pks_of(tx.sql, "session_pk", 1)',
        'delete(tx, "feed", 1)',
        'tx.sql.execute("DELETE FROM turn")',
        'order = "ORDER BY id"',
        'sql.execute(f"UPDATE {table} SET pk = 1")',
        'text = "select id from session"',
        'text = "update session set title = 1"',
        "tx.sql.connection.execute(text)",
    ],
)
def test_it_would_be_found(line: str) -> None:
    """Put into a function that is fine without it."""
    source = (PACKAGE / "operations" / "turns.py").read_text(encoding="utf-8")
    begin = "    seq = tx.next_seq()\n    columns ="
    assert begin in source
    assert len(list(offences(source.replace(begin, f"    {line}\n{begin}"), stored_names()))) >= 1


def test_names_of_the_model_are_not_taken_for_columns() -> None:
    assert not {"id", "content", "status", "session", "turn", "tool_call", "chunk_count"} & stored_names()
    assert {"text", "feed", "pk", "create_hash", "folded_bytes", "next_turn_index"} <= stored_names()

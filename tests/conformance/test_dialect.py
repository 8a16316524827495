"""The pieces of SQL of a store's dialect mean what ``store/interface.py`` says of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.store.interface import Dialect, Sql
from mandrake_sessions.store.sql.values import encode_json

ENTITIES = Path(__file__).parents[2] / "server" / "mandrake_sessions" / "store" / "sql"
# What only some databases know; a statement takes it from the dialect.
OF_SOME = re.compile(r"json_\w+\(|\bAS BLOB\b|\b(instr|casefold|position|greatest|ifnull)\(|LIMIT -1|\W:[a-z]+\b|rowid")
TEXT = "CAST(? AS TEXT)"


@pytest.fixture
def sql(manager: SessionManager) -> Iterator[Sql]:
    for _ in range(4):
        manager.create_session()
    with manager.store.reading() as found:
        yield found


@pytest.fixture
def dialect(sql: Sql) -> Dialect:
    return sql.dialect


def value(sql: Sql, expression: str, *values: Any) -> Any:
    return sql.execute(f"SELECT {expression}", values).fetchone()[0]


@pytest.mark.parametrize("wanted", [[], [2], [4, 1, 99]])
def test_many_numbers(sql: Sql, dialect: Dialect, wanted: list[int]) -> None:
    found = sql.execute(f"SELECT pk FROM session WHERE {dialect.among('pk')}", (dialect.numbers(wanted),))  # noqa: S608
    assert {pk for (pk,) in found} == set(wanted) - {99}


@pytest.mark.parametrize("pairs", [[], [(1, 2**53)], [(3, 0), (1, 5), (3, 1)]])
def test_pairs_of_numbers(sql: Sql, dialect: Dialect, pairs: list[tuple[int, int]]) -> None:
    table = dialect.pairs("p", "first", "second")
    found = sql.execute(f"SELECT p.first, p.second FROM {table}", (dialect.number_pairs(pairs),))  # noqa: S608
    assert sorted(map(tuple, found)) == sorted(pairs)


@pytest.mark.parametrize("text", ["", "plain", "ä\u2028🦑", "before\x00after"])
def test_texts_are_counted_in_bytes(sql: Sql, dialect: Dialect, text: str) -> None:
    encoded = text.encode()
    assert value(sql, dialect.byte_length(TEXT), text) == len(encoded)
    assert bytes(value(sql, dialect.as_bytes(TEXT), text)) == encoded
    assert bytes(value(sql, f"substr({dialect.as_bytes(TEXT)}, 1, 3)", text) or b"") == encoded[:3]
    assert value(sql, dialect.byte_length(TEXT), None) is None


@pytest.mark.parametrize(
    ("text", "part", "is_there", "is_there_folded"),
    [
        ("A Talk", "Tal", True, False),
        ("A Talk", "tal", False, True),
        ("STRASSE ÄÖ", "ä", False, True),
        ("a", "b", False, False),
    ],
)
def test_parts_of_texts(
    sql: Sql, dialect: Dialect, text: str, part: str, is_there: bool, is_there_folded: bool
) -> None:
    assert bool(value(sql, dialect.contains(TEXT), text, part)) is is_there
    assert bool(value(sql, dialect.contains_folded(TEXT), text, part)) is is_there_folded


@pytest.mark.parametrize(
    ("numbers", "greatest"), [((1, 2), 2), ((3, -1, 2), 3), ((None, 2), None), ((2, 1, None), None)]
)
def test_the_greatest_of_numbers(
    sql: Sql, dialect: Dialect, numbers: tuple[int | None, ...], greatest: int | None
) -> None:
    assert value(sql, dialect.greatest(*["CAST(? AS INTEGER)"] * len(numbers)), *numbers) == greatest


@pytest.mark.parametrize("name", ["plain", "a\x00b", "ä\u2028\"'\\", "%_", "0", "[null,null]", "🚀", "\u0001"])
def test_a_value_at_a_path_of_json(sql: Sql, dialect: Dialect, name: str) -> None:
    at = f"{dialect.json_at('t.text', 'a', 'calls', 0, 'id')} = ? FROM (SELECT {TEXT} AS text) AS t"
    text = encode_json("", {"a": {"calls": [{"id": name}, {"id": "other"}]}})
    assert value(sql, at, dialect.json_value(name), text)
    assert not value(sql, at, dialect.json_value("other"), text)
    assert not value(sql, at, dialect.json_value(name), '{"a": {}}')
    assert value(sql, at, dialect.json_value(name), "no JSON") is None


def test_a_limit_that_lets_all_rows_through(sql: Sql, dialect: Dialect) -> None:
    assert len(sql.execute("SELECT pk FROM session LIMIT ?", (dialect.no_limit,)).fetchall()) == 4


def test_the_statements_of_the_entities_leave_such_words_to_the_dialect() -> None:
    found = {
        path.name: words
        for path in ENTITIES.glob("*.py")
        if (words := [match[0] for match in OF_SOME.finditer(_code(path.read_text(encoding="utf-8")))])
    }
    assert found == {}
    assert OF_SOME.search("SELECT value FROM json_each(?)")
    assert OF_SOME.search("WHERE s.pk = :pk")


def _code(source: str) -> str:
    """What stands in strings that are no docstrings."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return "\n".join(str(node.value) for node in strings if id(node) not in prose)

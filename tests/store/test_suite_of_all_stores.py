"""The suite of all stores, and the store that proves it, know nothing of files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[1] / "conformance"
SQLITE = "mandrake_sessions.store.sqlite"
# What the store in memory shares with the one in files.
SHARED = {f"{SQLITE}.dialect", f"{SQLITE}.migrate", f"{SQLITE}.search_index"}


def modules(source: str) -> set[str]:
    """What a file imports of the store in files."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith(SQLITE)}


def test_the_store_in_memory_shares_the_dialect_the_migrations_and_the_search_index() -> None:
    found = modules((SUITE / "memory.py").read_text(encoding="utf-8"))
    assert {name for name in found if ".".join(name.split(".")[:4]) not in SHARED} == set()
    assert found & SHARED == SHARED


@pytest.mark.parametrize("path", sorted(SUITE.glob("test_*.py")), ids=lambda path: path.name)
def test_no_test_of_the_suite_knows_a_file(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert modules(source) == set()
    arguments = {node.arg for node in ast.walk(ast.parse(source)) if isinstance(node, ast.arg)}
    assert "database" not in arguments

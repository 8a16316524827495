"""The sizes that ARCHITECTURE.md names are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "server" / "mandrake_sessions"
# `make docs` writes them.
GENERATED = {"client/methods.py", "client/sync_methods.py"}
SENTENCE = re.compile(r"No file is longer than (\d+) lines, no class than (\d+), no function than (\d+)\.")


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in GENERATED:
            yield name, path.read_text(encoding="utf-8")


def sizes(kinds: tuple[type[ast.stmt], ...]) -> dict[str, int]:
    """The lines of each definition of a kind, its docstring included."""
    found: dict[str, int] = {}
    for name, source in sources():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, kinds) and node.end_lineno is not None:
                found[f"{name}:{node.lineno}"] = node.end_lineno - node.lineno + 1
    return found


def longest(what: str) -> tuple[int, str]:
    kinds: dict[str, tuple[type[ast.stmt], ...]] = {
        "class": (ast.ClassDef,),
        "function": (ast.FunctionDef, ast.AsyncFunctionDef),
    }
    found = {name: source.count("\n") for name, source in sources()} if what == "file" else sizes(kinds[what])
    return max((size, name) for name, size in found.items())


@pytest.mark.parametrize(("position", "what"), [(1, "file"), (2, "class"), (3, "function")])
def test_nothing_is_longer_than_the_page_says(position: int, what: str) -> None:
    """Nor much shorter: a bound far above everything says nothing."""
    told = SENTENCE.search(" ".join((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split()))
    assert told is not None
    size, name = longest(what)
    assert size <= int(told[position]) <= 1.25 * size, f"the longest {what}, {name}, has {size} lines"

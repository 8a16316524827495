"""Every threshold of the store and the connection tiny, at random: what is copied, pruned or split after a thousand
rows or a megabyte otherwise happens after every few, and all of it at once.

Each is a constant of the module that uses it, which looks it up at the moment it needs it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# Module, constant, and the largest value that is tried; the least is 1.
_LARGEST = {
    "store.sql.texts": {"FOLD_PIECES": 6, "FOLD_BYTES": 60},
    "store.sql.streams": {"MAX_STREAMS": 4},
    "store.sql.changes": {"READ_BYTES": 500, "CALLS_AT_CREATION": 3},
    "store.sql.feed_pruning": {"PRUNE_ROWS": 6, "PRUNE_BYTES": 600},
    "store.sqlite.space": {"VACUUM_PAGES": 3},
    "operations.housekeeping": {"SPAN_ROWS": 6, "SPAN_BYTES": 600, "SPANS_IN_BOUND": 6, "SPANS_A_STEP": 3},
    "operations.history": {"_READ_ROUNDS": 3, "_READ_BYTES": 2_000},
    "operations.forking": {"STEP_PARTS": 3, "STEP_BYTES": 300},
    "store.sql.copying": {"_READ_TURNS": 3, "_READ_BYTES": 2_000, "LONG_BYTES": 40},
    "store.sql.hidden": {"_REMOVED_ROWS": 2},
    "store.sql.usage": {"_WORTH_HALVES": 30},
    "store.sql.turns": {"_READ_TURNS": 3, "_READ_BYTES": 2_000},
    "operations.indexing": {"STEP_BYTES": 300, "LONG_BYTES": 200, "ROWS": 3, "FEW_SESSIONS": 2},
    "store.sql.indexed": {"FEED_SPAN": 5},
    "store.sqlite.search_rows": {"SHARD_BYTES": 600},
    "paging": {"PAGE_BYTES": 3_000},
}
_OF_SERVERS = {
    "connection.writes": {"MAX_GROUP": 4, "GROUP_BYTES": 2_000},
    "connection.store_changes": {"READ_LIMIT": 4},
    "transport.reader": {"READ_BYTES": 300},
    "transport.outbound": {"FLUSH_BYTES": 300, "WRITE_BYTES": 300, "HIGH_WATER": 2_000},
}
SEED = "MODEL_TINY_SEED"


@contextmanager
def tiny(seed: int) -> Iterator[None]:
    """In this process, for the block."""
    before = _set(random.Random(seed), _LARGEST)
    try:
        yield
    finally:
        for (module, name), value in before.items():
            setattr(sys.modules[module], name, value)


def install() -> None:
    """In a server of these tests, from its beginning; the environment has the seed."""
    chance = random.Random(int(os.environ[SEED]))
    _set(chance, _LARGEST | _OF_SERVERS)
    pauses = importlib.import_module("mandrake_sessions.store.idle")
    for name in ("AT_ONCE", "SOON", "LATER"):
        assert hasattr(pauses, name)
        setattr(pauses, name, chance.choice([0.001, 0.02]))


def server(seed: int) -> dict[str, object]:
    """What starts such a server, for ``wire.serving``."""
    tests = str(Path(__file__).parents[1])
    program = (
        f"import sys; sys.path.append({tests!r}); from model import tiny; tiny.install(); "
        "from mandrake_sessions.cli import main; sys.exit(main())"
    )
    return {"command": (sys.executable, "-c", program, "serve"), "environment": {SEED: str(seed)}}


def _set(chance: random.Random, largest: dict[str, dict[str, int]]) -> dict[tuple[str, str], int]:
    before = {}
    for short, constants in largest.items():
        module = importlib.import_module(f"mandrake_sessions.{short}")
        for name, most in constants.items():
            before[module.__name__, name] = getattr(module, name)
            _check_not_copied(module.__name__, name)
            # Now and then as it is, so that each is also alone.
            if chance.random() < 0.85:
                setattr(module, name, chance.randint(1, most))
    return before


def _check_not_copied(owner: str, name: str) -> None:
    """What another module has imported by name would stay as it is."""
    for other in list(sys.modules):
        if other.startswith("mandrake_sessions") and other != owner:
            assert (owner, name) not in _imported(other), f"{other} has a copy of {owner}.{name}"


@cache
def _imported(module: str) -> frozenset[tuple[str, str]]:
    """What the module imports from other modules by name."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    imports = [node for node in ast.walk(ast.parse(Path(found.origin).read_text())) if isinstance(node, ast.ImportFrom)]
    return frozenset((node.module or "", alias.name) for node in imports for alias in node.names)

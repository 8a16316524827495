"""Sources that are SQLite databases: which a file is, and when it has changed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mandrake_sessions.importing.reading import file_facts
from mandrake_sessions.maintenance.foreign import ForeignDatabase, ForeignUnreadable

__all__ = ["ForeignDatabase", "database_facts", "has_tables"]


def database_facts(path: str) -> dict[str, Any] | None:
    """``size``, ``mtime_ns`` and ``file_id`` of a database, with what stands in its -wal; None of anything else."""
    facts: dict[str, Any] | None = file_facts(path)
    beside: dict[str, Any] | None = file_facts(f"{path}-wal")
    if facts is not None and beside is not None:
        facts["size"] += beside["size"]
        facts["mtime_ns"] = max(facts["mtime_ns"], beside["mtime_ns"])
    return facts


def has_tables(path: str, wanted: Mapping[str, set[str]]) -> bool:
    """Whether a file is a database that has these tables with these columns."""
    if file_facts(path) is None:
        return False
    with suppress(ForeignUnreadable), ForeignDatabase(path) as database:
        present = database.tables()
        return all(name in present and columns <= present[name] for name, columns in wanted.items())
    return False

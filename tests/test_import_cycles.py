"""No module of the package imports itself through others: not at its top, not in a function, not for types alone."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest


def imports(package: str) -> dict[str, set[str]]:
    """What each module of a package imports of it."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a cycle in their order; none where there is no cycle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_there_is_no_cycle() -> None:
    graph = imports("mandrake_sessions")
    assert "mandrake_sessions.transport.framing" in graph["mandrake_sessions.transport.jsonrpc"]
    assert cycle(graph) == []


def test_each_kind_of_import_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "circle"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "top.py").write_text("from circle import types_alone\n")
    (package / "types_alone.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from circle.late import x\n"
    )
    (package / "late.py").write_text("x = 1\ndef work():\n    import circle.top\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(cycle(imports("circle"))) == {"circle.top", "circle.types_alone", "circle.late"}

"""A home directory, with nothing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from importing.importing import Place


@pytest.fixture
def place(workspace: Path, tmp_path: Path) -> Place:
    home = tmp_path / "home"
    home.mkdir()
    return Place(home, workspace)

"""Copies of a store's directory that are made while servers use it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path


def copied_while_used(home: Path, snapshot: Path) -> None:
    """With the times of its files. ``cp -rp`` fails where a file goes while it copies, and locks come and go."""
    shutil.copytree(home, snapshot, copy_function=_copied_if_there)


def _copied_if_there(source: str, destination: str) -> None:
    with suppress(FileNotFoundError):
        shutil.copy2(source, destination)

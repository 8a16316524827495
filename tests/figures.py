"""Figures of a test run, for docs/reliability.md: one JSON line each, where the environment asks for them."""

from __future__ import annotations

import json
import os
from pathlib import Path


def record(name: str, **figures: int | float | str) -> None:
    """Append ``{"name": …, **figures}`` to the file named by MANDRAKE_SESSIONS_FIGURES; nothing where it is not set."""
    path = os.environ.get("MANDRAKE_SESSIONS_FIGURES")
    if not path:
        return
    line = json.dumps({"name": name, **figures}) + "\n"
    descriptor = os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        # One write, so that lines of tests that run at once stay whole.
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)

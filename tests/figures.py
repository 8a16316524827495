"""Figures of a test run, for docs/reliability.md: one JSON line each, where the environment asks for them."""

from __future__ import annotations

import json
import os


def record(name: str, **figures: int | float | str) -> None:
    """Append ``{"name": …, **figures}`` to the file named by MANDRAKE_SESSIONS_FIGURES; nothing where it is not set."""
    if path := os.environ.get("MANDRAKE_SESSIONS_FIGURES"):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, json.dumps({"name": name, **figures}).encode() + b"\n")
        finally:
            os.close(handle)

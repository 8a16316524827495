"""What tests have counted (kills survived, inputs tried), kept for the table in ``docs/reliability.md``."""

from __future__ import annotations

import json
import os
from pathlib import Path


def record(name: str, **figures: int | float | str) -> None:
    """Add a line to the file that ``MANDRAKE_SESSIONS_FIGURES`` names, and print it; without the variable, print alone.

    One write to a descriptor opened with ``O_APPEND``: tests that run in parallel may share the file.
    """
    line = json.dumps({"name": name, **figures})
    print(line)
    path = os.environ.get("MANDRAKE_SESSIONS_FIGURES")
    if path is not None:
        handle = os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode() + b"\n")
        finally:
            os.close(handle)

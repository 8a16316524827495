"""The chapters in docs/protocol/: written by hand, but for the exchanges, which come from tests/scenarios/recorded."""

from __future__ import annotations

import re
from pathlib import Path

from exchanges import scenario

# What is called, and the block below it as it was made last.
_CALLED = re.compile(r"(<!-- exchange: ([\w-]+) -->\n)(?:```\n.*?```\n)?", re.DOTALL)


def chapters(directory: Path) -> dict[Path, str]:
    """Every chapter with its exchanges as they are recorded now."""
    return {
        path: _CALLED.sub(lambda called: f"{called[1]}{scenario(called[2])}\n", path.read_text(encoding="utf-8"))
        for path in sorted(directory.glob("*.md"))
    }

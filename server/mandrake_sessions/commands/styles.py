"""Colors and weights of what a terminal shows."""

from __future__ import annotations

import os
import sys
from typing import Final

BOLD: Final = "\x1b[1m"
DIM: Final = "\x1b[2m"
FOUND: Final = "\x1b[1;33m"
_PLAIN: Final = "\x1b[0m"


def is_colored() -> bool:
    """Whether stdout takes colors: it is a terminal, and NO_COLOR (no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """The text in a style, where stdout takes colors."""
    return f"{style}{text}{_PLAIN}" if text and style and is_colored() else text

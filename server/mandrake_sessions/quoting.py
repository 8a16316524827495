"""Values that others gave, as a message of ours shows them: short, and on one line."""

from __future__ import annotations

from typing import Final

# Characters of a quoted value.
MAX_QUOTED: Final = 200


def shorten(value: str, limit: int = MAX_QUOTED) -> str:
    """At most ``limit`` characters: the beginning and the end, where names differ."""
    if len(value) <= limit:
        return value
    half = (limit - 3) // 2
    return f"{value[: limit - 3 - half]}...{value[-half:]}"

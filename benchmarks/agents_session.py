"""The peer: the SQLite session of the OpenAI Agents SDK, by any Python that has it.

``items`` stores each piece as an item of its own; ``rewrite`` keeps one item, as a reader wants it, and replaces it
with each piece. Prints the seconds that it took, or nothing where the SDK is not installed.

    python agents_session.py DATABASE items|rewrite PIECES SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any


def load() -> Any:
    """The class of the session, or None."""
    try:
        from agents import SQLiteSession  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return SQLiteSession


async def stream(session: Any, rewrite: bool, pieces: int, seconds: float) -> tuple[int, float]:
    """How many pieces were stored, and in how many seconds."""
    text, stored, begun = "", 0, time.perf_counter()
    while stored < pieces and time.perf_counter() - begun < seconds:
        text += "twenty bytes of text"
        if rewrite and stored:
            await session.pop_item()
        await session.add_items([{"role": "assistant", "content": text if rewrite else "twenty bytes of text"}])
        stored += 1
    return stored, time.perf_counter() - begun


def main() -> None:
    kind = load()
    if kind is None:
        return
    session = kind("benchmark", sys.argv[1])
    stored, taken = asyncio.run(stream(session, sys.argv[2] == "rewrite", int(sys.argv[3]), float(sys.argv[4])))
    session.close()
    sys.stdout.write(f"{stored} {taken}\n")


if __name__ == "__main__":
    main()

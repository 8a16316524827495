"""Values of other programs' records: taken where they are what they should be, and left where not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_MAX_COUNT = 2**62
_COST_BOUND = 10**6


def text_of(value: Any) -> str | None:
    """A text; None where it is something else."""
    return value if isinstance(value, str) else None


def object_of(value: Any) -> dict[str, Any]:
    """An object; an empty one where it is something else."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def count_of(value: Any) -> int | None:
    """A number of things; None where it is something else."""
    return value if type(value) is int and 0 <= value < _MAX_COUNT else None


def cost_of(value: Any) -> float | None:
    """What something cost; None where it is nothing, or something else."""
    is_cost = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _COST_BOUND
    return float(value) if is_cost else None


def moment_of(value: Any) -> int | None:
    """A time of ISO 8601, in UTC where it names no zone, or a number of seconds or milliseconds; as milliseconds since
    the epoch."""
    if isinstance(value, str):
        return _moment_of_text(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e14:
        return int(value if value >= 1e11 else value * 1000)
    return None


@lru_cache(4)
def _moment_of_text(text: str) -> int | None:
    # The time of a record is asked for by several, one after the other.
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max(0, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return None


def joined_texts(blocks: Any, *kinds: str) -> str:
    """The ``text`` of the blocks of these types, one below the other."""
    return "\n".join(
        block["text"]
        for block in objects_of(blocks)
        if block.get("type") in kinds and isinstance(block.get("text"), str)
    )

"""The golden files of tests/protocol/golden, and the words in them that stand for what differs each time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "protocol" / "golden"
_NUMBERS = {
    "<time>", "<pid>", "<lastCheckAt>", "<lastCheckMs>", "<walBytes>", "<dbBytes>", "<freeBytes>", "<busyRetries>",
    "<totalMs>", "<maxMs>", "<streamedMs>", "<waitedMs>",
}  # fmt: skip


def golden_file(name: str) -> Path:
    """That of a method or notification."""
    return DIRECTORY / f"{re.sub('[/.]', '-', name)}.json"


def recorded(name: str, part: str) -> list[dict[str, Any]]:
    """The exchanges of a golden file that have this part, with numbers in them."""
    exchanges = json.loads(golden_file(name).read_text(encoding="utf-8"))
    return [with_numbers(exchange) for exchange in exchanges if part in exchange]


def with_numbers(value: Any) -> Any:
    """What normalising took away, put back as something of the right kind."""
    if isinstance(value, dict):
        return {name: with_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_numbers(item) for item in value]
    return 0 if value in _NUMBERS else value

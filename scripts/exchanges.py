"""Exchanges for the pages: from the golden files and the recorded scenarios, as a client would see them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mandrake_sessions.version import __version__

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "protocol" / "golden"
SCENARIOS = ROOT / "tests" / "scenarios" / "recorded"
WIDTH = 112

# A member in whose place the page has an ellipsis.
_MORE = "…more…"

# What stands in the recordings for values that differ each time.
_TIME = 1767225600000
_VALUES: dict[str, Any] = {
    "<time>": _TIME,
    "<path>": "/home/ada/project/.ws/db.sqlite",
    "<ownPath>": "/home/ada/.mandrake/db.sqlite",
    "<home>": "/home/ada",
    "<workspace>": "/home/ada/project",
    "<pid>": 4711,
    "<version>": __version__,
    "<sqliteVersion>": "3.45.1",
    "<pythonVersion>": "3.13.0",
    "<lastCheckAt>": _TIME,
    "<lastCheckMs>": 0.4,
    "<walBytes>": 32992,
    "<dbBytes>": 135168,
    "<freeBytes>": 52000000000,
    "<busyRetries>": 0,
    "<totalMs>": 1.9,
    "<maxMs>": 1.9,
    "<streamedMs>": 0,
    "<moment>": "2026-01-01 00:00 UTC",
    "<methods>": [{_MORE: 0}],
    "<x-notifications>": [{_MORE: 0}],
    "<components>": {"schemas": {_MORE: 0}, "errors": {_MORE: 0}},
    "<waitedMs>": 302,
    "<lastError>": "Failed to create database directory /home/ada/.mandrake: Not a directory",
    "<cursor>": "WyI5ZjJjYTQxNmQxZTMiLDJd",
    "<incident>": "5f0c2c1e-8c3b-4c4d-9a53-0f2f7a1f6f52",
}
# Of these, chapters show what they are about; the reference has the other fields.
_SHOWN = {
    "roundCount": ("id", "seq", "externalId", "title", "state", "archivedAt"),
    "copiedFromId": ("id", "sessionId", "requestId", "responseId", "index"),
    "stopReason": ("id", "status", "turns"),
    "blocks": ("id", "content"),
    "chunkCount": ("id", "seq", "responseId", "index", "status", "content", "chunkCount"),
}


def golden(name: str) -> list[dict[str, Any]]:
    """What was recorded of a method or notification, with values in place of placeholders."""
    path = GOLDEN / f"{re.sub('[/.]', '-', name)}.json"
    found: list[dict[str, Any]] = with_values(json.loads(path.read_text(encoding="utf-8")))
    return found


def examples(name: str, *, is_method: bool) -> list[tuple[str, dict[str, Any]]]:
    """The messages of an example, each with the arrow of its direction: of a method an exchange that succeeds and the
    first error, of a notification one of each kind."""
    recorded = golden(name)
    if not is_method:
        kinds: dict[str, dict[str, Any]] = {}
        for told in recorded:
            kinds.setdefault(str(told["params"].get("kind")), told)
        return [("←", {"jsonrpc": "2.0", "method": name, **told}) for told in kinds.values()]
    good = next((each for each in recorded if "result" in each), None)
    bad = next((each for each in recorded if "error" in each), None)
    return [
        message
        for number, exchange in enumerate((each for each in (good, bad) if each), 1)
        for message in _exchange(number, name, exchange)
    ]


def _exchange(number: int, name: str, exchange: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    answer: dict[str, Any] = {part: exchange[part] for part in ("result", "error") if part in exchange}
    return [
        ("→", {"jsonrpc": "2.0", "id": number, "method": name, "params": exchange["params"]}),
        ("←", {"jsonrpc": "2.0", "id": number, **answer}),
    ]


def scenario(name: str) -> str:
    """The code block of a recorded scenario."""
    steps = json.loads((SCENARIOS / f"{name}.json").read_text(encoding="utf-8"))
    several = len({step["client"] for step in steps}) > 1
    lines = []
    for step in steps:
        before = f"{step['client']} " if several else ""
        if "event" in step:
            lines.append(f"{before}   ({step['event']})")
        else:
            arrow = "→" if step["to"] == "server" else "←"
            lines.append(before + written(arrow, _shortened(with_values(step["message"])), indent=4 + len(before)))
    return "\n".join(["```", *lines, "```"])


def written(arrow: str, message: Any, indent: int = 4) -> str:
    """A message on lines of the page's width, broken between members."""
    lines, line = [], f"{arrow} "
    for word in _tokens(message):
        if len(line) + len(word) > WIDTH - (indent - 4) and line.strip() != arrow:
            lines.append(line.rstrip())
            line = " " * indent
        line += word
    return "\n".join([*lines, line.rstrip()])


def _tokens(value: Any) -> list[str]:
    """Compact JSON in pieces that must not be broken."""
    if isinstance(value, dict):
        parts = [
            [f"{json.dumps(name, ensure_ascii=False)}: {first}", *rest] if name != _MORE else ["…"]
            for name, item in value.items()
            for first, *rest in [_tokens(item)]
        ]
        return _enclosed("{", parts, "}")
    if isinstance(value, list):
        return _enclosed("[", [_tokens(item) for item in value], "]")
    return [json.dumps(value, ensure_ascii=False)]


def _enclosed(begin: str, parts: list[list[str]], end: str) -> list[str]:
    if not parts:
        return [begin + end]
    pieces = [piece for part in parts[:-1] for piece in (*part[:-1], f"{part[-1]}, ")] + parts[-1]
    return [begin + pieces[0], *pieces[1:-1], pieces[-1] + end] if len(pieces) > 1 else [begin + pieces[0] + end]


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if not isinstance(value, dict):
        return value
    shown = next((names for mark, names in _SHOWN.items() if mark in value and "id" in value), None)
    if shown is None or len(value) <= len(shown):
        return {name: _shortened(item) for name, item in value.items()}
    kept = {name: _shortened(value[name]) for name in shown if value.get(name) is not None}
    return {**kept, _MORE: 0}


def with_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_values(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_values(item) for item in value]
    if not isinstance(value, str):
        return value
    if value in _VALUES:
        return _VALUES[value]
    if re.fullmatch(r"<\w+>", value):
        raise ValueError(f"scripts/exchanges.py has no value for the placeholder {value}")
    for placeholder, text in _VALUES.items():
        value = value.replace(placeholder, str(text))
    return re.sub(r"<id (\d+)>", lambda match: f"019b76da-a800-7000-8000-{int(match[1]):012x}", value)

"""The exchanges in docs/protocol/ are what a real server says now.

``UPDATE_GOLDEN=1 make test ARGS=tests/scenarios`` records them anew; then ``make docs``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import validation
from golden import with_numbers
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.names import type_name
from scenarios.plays import SCENARIOS
from scenarios.stage import Stage

RECORDED = Path(__file__).parent / "recorded"
# Here the server says nothing but errors.
OF_ERRORS_ALONE = {"errors", "errors-broken", "errors-busy", "errors-storage", "order-cancel"}
CHAPTERS = Path(__file__).parents[2] / "docs" / "protocol"


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_exchange_is_the_recorded_one(name: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    SCENARIOS[name](stage)
    found = json.dumps(stage.steps, indent=1) + "\n"
    path = RECORDED / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        RECORDED.mkdir(exist_ok=True)
        path.write_text(found)
    assert path.exists(), "not recorded; write it with UPDATE_GOLDEN=1 and read it"
    assert stage.steps == json.loads(path.read_text())


def test_each_recorded_exchange_stands_in_a_chapter() -> None:
    called = {
        name
        for chapter in CHAPTERS.glob("*.md")
        for name in re.findall(r"<!-- exchange: ([\w-]+) -->", chapter.read_text(encoding="utf-8"))
    }
    assert called == {path.stem for path in RECORDED.glob("*.json")} == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_told_is_described(name: str) -> None:
    """Notifications and results in the exchanges have the fields of the schema, and no other."""
    told = list(_told(json.loads((RECORDED / f"{name}.json").read_text())))
    assert bool(told) != (name in OF_ERRORS_ALONE)
    for definition, value in told:
        validation.of_definition(definition).validate(with_numbers(value))


def _told(steps: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """What the server says, without errors, and the name of its definition."""
    described = {*METHODS, *(notification.name for notification in NOTIFICATIONS)}
    asked: dict[Any, str] = {}
    for step in steps:
        said = step.get("message", [])
        for message in said if isinstance(said, list) else [said]:
            method = message.get("method")
            if step["to"] == "server":
                asked[step["client"], message.get("id")] = method
            elif method in described:
                yield f"{type_name(method)}Params", message["params"]
            elif "result" in message and (method := asked[step["client"], message["id"]]) in described:
                yield f"{type_name(method)}Result", message["result"]

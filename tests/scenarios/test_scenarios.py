"""The exchanges in docs/protocol/ are what a real server says now.

``UPDATE_GOLDEN=1 make test ARGS=tests/scenarios`` records them anew; then ``make docs``.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import validation
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.names import type_name
from scenarios.plays import SCENARIOS
from scenarios.stage import Stage

RECORDED = Path(__file__).parent / "recorded"
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
    methods: dict[Any, str] = {}
    for step in json.loads((RECORDED / f"{name}.json").read_text()):
        message = step.get("message")
        if not isinstance(message, dict):
            continue
        told = message.get("method")
        if told in METHODS and "id" in message:
            methods[step["client"], message["id"]] = told
        elif told in {notification.name for notification in NOTIFICATIONS} and step["to"] == "client":
            validation.of_definition(f"{type_name(told)}Params").validate(_with_clocks(message["params"]))
        elif "result" in message and (method := methods.get((step["client"], message["id"]))):
            validation.of_definition(f"{type_name(method)}Result").validate(_with_clocks(message["result"]))


def _with_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_clocks(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_clocks(item) for item in value]
    return 0 if value in ("<time>", "<waitedMs>") else value

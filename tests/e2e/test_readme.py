"""The README's examples, as they stand there."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from wire import clean_environment

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def run(command: list[str], workspace: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=workspace, env=clean_environment(workspace) | {"PATH": path},
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_over_a_pipe(workspace: Path) -> None:
    answers = [json.loads(line) for line in run(["sh", "-c", example("pipe")], workspace).splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert answers[2]["result"]["sessions"] == [answers[0]["result"]]


def test_watching(workspace: Path) -> None:
    (answer,) = run(["sh", "-c", example("watch")], workspace).splitlines()
    assert json.loads(answer)["result"]["turns"] == []


def test_from_python(workspace: Path) -> None:
    text, kinds = run([sys.executable, "-c", example("python")], workspace).splitlines()
    assert text == "A few files."
    # What is committed when the manager is closed has been heard by its listeners.
    assert ast.literal_eval(kinds) == [
        "sessionCreated", "roundCreated", "created", "appended", "appended", "updated", "sessionUpdated",
        "responseUpdated",
    ]  # fmt: skip


def test_keeping_it_in_good_order(workspace: Path) -> None:
    run(["sh", "-ec", example("pipe")], workspace)
    told = run(["sh", "-ec", example("keep")], workspace)
    for part in (
        ": 1 session, ",
        "verified\n",
        "ok       integrity ",
        "is current",
        "No session is that old.",
        "storeId",
    ):
        assert part in told

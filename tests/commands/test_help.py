"""``--help`` of each command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from commands.running import run
from mandrake_sessions.commands import COMMANDS


def test_the_help_of_the_program_names_every_command(workspace: Path) -> None:
    listed = dict(re.findall(r"^  ([a-z-]+) +(\w.*)$", run(workspace, "--help").out, re.MULTILINE))
    assert listed.items() >= COMMANDS.items()
    for width in (40, 60, 80):
        text = run(workspace, "--help", COLUMNS=str(width)).out.split("is a complete program")[0]
        lines = text.splitlines()[:-1]
        assert [line for line in lines if len(line) > width and not line.startswith(("usage:", "  -"))] == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [40, 80])
def test_the_help_of_a_command_has_its_codes_and_an_example(workspace: Path, command: str, width: int) -> None:
    out = run(workspace, command, "--help", COLUMNS=str(width)).out
    assert " ".join(out.split()).startswith(f"usage: mandrake-sessions {command}")
    codes, example = out.split("exit codes:\n")[1].split("example:\n")
    assert re.findall(r"^  (\d+)", codes, re.MULTILINE)[0] == "0"
    assert f"mandrake-sessions {command}" in example
    # Flags and the usage are on one line each.
    for line in out.split("example:\n")[0].splitlines():
        assert len(line) <= width or line.startswith(("usage: ", "  -")), line

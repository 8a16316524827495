"""``--help`` of each command, and what shells complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands.running import TIMEOUT, run
from mandrake_sessions.commands import COMMANDS
from wire import SERVER, clean_environment

_ASK = """
eval "$(mandrake-sessions completion bash)"
COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete mandrake-sessions "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


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
    assert out.startswith(f"usage: mandrake-sessions {command}")
    codes, example = out.split("exit codes:\n")[1].split("example:\n")
    assert re.findall(r"^  (\d+)", codes, re.MULTILINE)[0] == "0"
    assert f"mandrake-sessions {command}" in example
    # Flags and the usage are on one line each.
    for line in out.split("example:\n")[0].splitlines():
        assert len(line) <= width or line.startswith(("usage: ", "  -")), line


@pytest.fixture
def asked(workspace: Path, tmp_path: Path) -> object:
    """What bash offers for the beginning of a line."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    program = tmp_path / "bin" / "mandrake-sessions"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mandrake_sessions "$@"\n')
    program.chmod(0o755)
    environment = clean_environment(workspace)
    environment["PATH"] = f"{program.parent}:{environment['PATH']}"

    def ask(line: str) -> list[str]:
        done = subprocess.run(["bash", "-c", _ASK, "bash", line], cwd=workspace, env=environment,
                              capture_output=True, text=True, timeout=TIMEOUT, check=False)  # fmt: skip
        return [word.strip() for word in done.stdout.splitlines()]

    return ask


def test_bash_completes_commands_flags_and_sessions(workspace: Path, asked: object) -> None:
    assert callable(asked)
    made = run(workspace, "new", "A talk").out.strip()
    assert asked("mandrake-sessions sh") == ["show"]
    assert asked("mandrake-sessions show --fo") == ["--format"]
    assert set(asked("mandrake-sessions show --format ")) == {"text", "markdown", "html", "jsonl", "atif"}
    assert made[:13] in asked("mandrake-sessions show ")
    assert asked(f"mandrake-sessions delete {made[:5]}") == [made[:13]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_can_read_what_is_for_it(workspace: Path, shell: str) -> None:
    script = run(workspace, "completion", shell).out
    assert "mandrake-sessions" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n", "-c", script] if shell != "fish" else ["fish", "-n", "-c", script],
                       cwd=workspace, timeout=TIMEOUT, check=True)  # fmt: skip


def test_completion_of_nothing_says_nothing(workspace: Path) -> None:
    """As a shell asks in a directory without a store."""
    done = subprocess.run([*SERVER, "show"], cwd=workspace, env=clean_environment(workspace),
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "the following arguments are required: SESSION" in done.stderr

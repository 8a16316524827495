"""Standard streams as a supervisor or a console hands them over: closed, or in an encoding that lacks characters."""

from __future__ import annotations

import json
import shlex
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from commands.running import run
from wire import SERVER, TIMEOUT, clean_environment, run_script, store_of

CLOSINGS = [numbers for count in (1, 2, 3) for numbers in combinations((0, 1, 2), count)]
COMMANDS = [
    ("doctor",),
    ("doctor", "--json"),
    ("backup", "copy.sqlite"),
    ("migrate", "--check"),
    ("prune", "--older-than", "1d", "--dry-run"),
    ("prune", "--older-than", "1d", "--json"),
]


def create(title: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": "session/create", "params": {"title": title}}


def run_closed(workspace: Path, closed: tuple[int, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with some of its standard streams closed; an open stdin has one request."""
    closing = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in closed)
    return subprocess.run(
        ["sh", "-c", f"exec {shlex.join([*SERVER, *arguments])} {closing}"],
        cwd=workspace,
        env=clean_environment(workspace),
        input=None if 0 in closed else json.dumps(create("kept")) + "\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.parametrize("closed", CLOSINGS, ids=str)
def test_a_server_with_closed_streams_ends_well_and_its_store_is_whole(
    workspace: Path, closed: tuple[int, ...]
) -> None:
    done = run_closed(workspace, closed, "serve")
    assert (done.returncode, done.stderr) == (0, "")
    if 0 in closed:
        assert done.stdout == ""
        assert not store_of(workspace).exists()
        return
    if 1 not in closed:
        assert json.loads(done.stdout)["result"]["title"] == "kept"
    run(workspace, "doctor", code=0)


@pytest.mark.parametrize("closed", CLOSINGS, ids=str)
@pytest.mark.parametrize("command", ["doctor", "backup copy.sqlite"])
def test_a_command_with_closed_streams_does_its_work(workspace: Path, command: str, closed: tuple[int, ...]) -> None:
    run_script(workspace, create("kept"))
    done = run_closed(workspace, closed, *command.split())
    assert (done.returncode, done.stderr) == (0, "")
    run(workspace, "doctor", code=0)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "koi8-r", "utf-8"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_encoding_ends_a_command(workspace: Path, command: tuple[str, ...], encoding: str) -> None:
    run_script(workspace, create("fix \U0001f41b \u2192"))
    assert run(workspace, *command, PYTHONIOENCODING=encoding).err == ""

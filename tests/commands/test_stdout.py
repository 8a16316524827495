"""A command whose stdout nobody reads, or that cannot be written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from commands.running import TIMEOUT, fill, run, store_of
from wire import SERVER, clean_environment


def test_a_reader_that_closes_the_pipe_ends_a_command_quietly(workspace: Path) -> None:
    """As `doctor | head -1` does."""
    fill(store_of(workspace), "one")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*SERVER, "doctor"], cwd=workspace, env=clean_environment(workspace),
                              stdout=writer, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT)  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", [["doctor"], ["doctor", "--json"], ["migrate", "--check"], ["migrate"], ["demo"]])
def test_a_full_disk_at_stdout_is_one_plain_message(workspace: Path, command: list[str]) -> None:
    fill(store_of(workspace), "one")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*SERVER, *command], cwd=workspace, env=clean_environment(workspace),
                              stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=TIMEOUT)  # fmt: skip
    message = f"mandrake-sessions {command[0]}: cannot write to stdout: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["prune", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_that_cannot_be_written_is_a_failure(workspace: Path, arguments: list[str], unbuffered: str) -> None:
    environment = clean_environment(workspace) | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*SERVER, *arguments], cwd=workspace, env=environment,
                              stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=TIMEOUT)  # fmt: skip
    message = "mandrake-sessions: cannot write to stdout: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_the_help_has_the_code_of_an_output_that_nobody_reads(workspace: Path) -> None:
    for command in ("list", "doctor", "record"):
        assert "141" in run(workspace, command, "--help").out
    assert "141" not in run(workspace, "serve", "--help").out

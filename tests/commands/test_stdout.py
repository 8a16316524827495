"""A command whose stdout nobody reads, or that cannot be written."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from commands.running import TIMEOUT, fill, run, store_of
from mandrake_sessions import SessionManager
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
    for command in ("list", "doctor", "record", "acp"):
        assert "141" in run(workspace, command, "--help").out
    assert "141" not in run(workspace, "serve", "--help").out


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")


@FULL
@pytest.mark.parametrize("code", [0, 5])
@pytest.mark.parametrize("stream", [1, 2])
def test_what_a_recorded_program_cannot_pass_on_is_stored(workspace: Path, stream: int, code: int) -> None:
    """The program has written it, so it is not lost. Who relies on the output learns it from the exit code."""
    line = f"exec mandrake record -- sh -c 'echo kept >&{stream}; exit {code}' {stream}>/dev/full"
    done = shell(workspace, line)
    assert done.returncode == code or (code, done.returncode) == (0, 1)
    with SessionManager(store_of(workspace)) as manager:
        (session,) = manager.list_sessions().sessions
        (only,) = manager.history(session.id).rounds
        assert [turn.content for turn in only.response.turns] == ["kept\n"]
    if stream == 1:
        assert "the output cannot be passed on: No space left on device; what was written until then is" in done.stderr


@FULL
@pytest.mark.parametrize("command", ["record -- sh -c 'exit 3'", "record --json -- sh -c 'exit 3'", "show nothing"])
def test_a_stderr_that_cannot_be_written_changes_no_exit_code(workspace: Path, command: str) -> None:
    expected = 3 if command.startswith("record") else 1
    assert shell(workspace, f"exec mandrake {command} 2>/dev/full").returncode == expected


@FULL
def test_an_id_that_cannot_be_printed_is_told(workspace: Path) -> None:
    done = shell(workspace, "echo kept | mandrake append --prompt '?' >/dev/full")
    with SessionManager(store_of(workspace)) as manager:
        (session,) = manager.list_sessions().sessions
    told = f"cannot write to stdout: No space left on device; the session is {session.id}\n"
    assert (done.returncode, done.stderr) == (1, f"mandrake-sessions append: {told}")


def shell(workspace: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell; ``mandrake`` in it is the program."""
    line = line.replace("mandrake", " ".join(map(shlex.quote, SERVER)))
    return subprocess.run(["sh", "-c", line], cwd=workspace, env=clean_environment(workspace), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, timeout=TIMEOUT)  # fmt: skip

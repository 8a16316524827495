"""The exit codes that ``--help`` lists are those that come."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.running import TIMEOUT, fill, run, run_program, store_of
from mandrake_sessions.commands import COMMANDS
from wire import SERVER, clean_environment

# Commands that wait for something.
WAITING = {
    "append": ["append", "--prompt", "?"],
    "call": ["call", "session/list", "-"],
    "record": ["record", "--", "sleep", "100"],
    "acp": ["acp", "--", "sleep", "100"],
    "tail": ["tail"],
}
_MEANS = {signal.SIGTERM: "SIGTERM ended it", signal.SIGHUP: "SIGHUP ended it", signal.SIGINT: "Ctrl-C ended it"}


def codes(workspace: Path, command: str) -> dict[str, str]:
    """Those that its help lists, with what they mean."""
    said = run(workspace, command, "--help", COLUMNS="200").out
    return dict(re.findall(r"^  (\d+(?: \+ N)?) +(\w.*)$", said.split("exit codes:\n")[1], re.MULTILINE))


def _catches(process: int, number: signal.Signals) -> bool:
    """Whether a process has begun to take a signal; where it does not wait yet, it ends all the same then."""
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells which signals a process takes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("command", WAITING)
def test_a_signal_ends_it_with_the_code_of_the_help(workspace: Path, command: str, number: signal.Signals) -> None:
    fill(store_of(workspace), "one")
    with subprocess.Popen(
        [*SERVER, *WAITING[command]], cwd=workspace, env=clean_environment(workspace), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        while not _catches(process.pid, signal.SIGTERM):
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT)
    listed = codes(workspace, command)
    if command == "tail" and number is signal.SIGINT:
        # For it that is the usual end, once it follows.
        assert process.returncode in (0, 130)
        assert all("Ctrl-C" in listed[code] for code in ("0", "130"))
    else:
        assert process.returncode == 128 + number
        assert listed[str(128 + number)] == _MEANS[number]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_lists_the_signals_that_end_it(workspace: Path, command: str) -> None:
    listed = codes(workspace, command)
    ends = {"129", "141", "143"}
    assert ends & listed.keys() == (set() if command == "serve" else ends)
    assert {"0", "2", "71", "130"} <= listed.keys()
    assert ("128 + N" in listed) == (command in ("acp", "record"))


def test_a_program_that_a_signal_ended_is_told_by_its_number(workspace: Path) -> None:
    for number in (9, 15):
        for command in ("acp", "record"):
            assert run(workspace, command, "--", "sh", "-c", f"kill -{number} $$", code=128 + number).err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the address space is not limited this way")
def test_too_little_memory_is_71(workspace: Path) -> None:
    line = f"ulimit -v 200000; head -c 400000000 /dev/zero | {shlex.join([*SERVER, 'call', 'session/list', '-'])}"
    ended = run_program(workspace, "sh", "-c", line)
    assert (ended.code, ended.out) == (71, "")
    assert "there is no memory for this program" in ended.err
    assert codes(workspace, "call")["71"] == "there is too little memory"

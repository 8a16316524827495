"""Somebody tidies away the directory of the lock files: whose turns those are, whatever state their process is in."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.running import sql
from mandrake_sessions import SessionManager
from wire import SERVER, TIMEOUT, Conversation, Wire, clean_environment, serving, store_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no leases here")

LOOK = ("--lease-seconds", "0.4")
# Some looks of others.
LOOKS_SECONDS = 1.2


def let_run(_: Wire) -> None:
    pass


def stop(wire: Wire) -> None:
    wire.process.send_signal(signal.SIGSTOP)


def deleted(run: Path) -> None:
    # Its owner may make a file in it meanwhile.
    while run.exists():
        shutil.rmtree(run, ignore_errors=True)


def moved(run: Path) -> None:
    run.rename(run.with_name("elsewhere"))


def in_the_way(run: Path) -> None:
    deleted(run)
    run.touch()


def status_of(wire: Wire, turn: str) -> str:
    found: str = wire.request("turn/get", turnId=turn)["status"]
    return found


@pytest.mark.parametrize("tidy", [deleted, moved, in_the_way], ids=lambda tidy: tidy.__name__)
@pytest.mark.parametrize("state", [let_run, stop, Wire.kill], ids=lambda state: state.__name__)
def test_turns_are_those_of_a_process_as_long_as_it_is_there(
    workspace: Path, state: Callable[[Wire], None], tidy: Callable[[Path], None]
) -> None:
    run = Path(f"{store_of(workspace)}-run")
    with serving(workspace, "lines", *LOOK) as watcher:
        watcher.let_be("server/healthChanged")
        agent = Wire(workspace, "lines", *LOOK)
        try:
            turn = Conversation(agent).turn()
            state(agent)
            if not run.exists():
                # The watcher was first, and has tidied up what a dead process left.
                assert status_of(watcher, turn) == "interrupted"
            else:
                tidy(run)
            time.sleep(LOOKS_SECONDS)
            if state is not Wire.kill:
                assert status_of(watcher, turn) == "streaming"
                agent.process.send_signal(signal.SIGCONT)
                agent.request("turn/append", turnId=turn, content="here")
                assert status_of(watcher, turn) == "streaming"
            agent.kill()
            deadline = time.monotonic() + TIMEOUT
            while status_of(watcher, turn) != "interrupted":
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            agent.kill()
    agent.unread()


def test_a_lease_that_is_a_path_leads_nowhere(workspace: Path, tmp_path: Path) -> None:
    """A store that came with a checkout may name anything; what that leads to is not touched."""
    precious = [tmp_path / "absolute.lock", tmp_path / "relative.lock", store_of(workspace).with_name("beside.lock")]
    with serving(workspace) as wire:
        talk = Conversation(wire)
        turns = [talk.turn(detached=True) for _ in precious]
    for path in precious:
        path.write_text("precious")
    run = Path(f"{store_of(workspace)}-run")
    run.mkdir(exist_ok=True)
    (run / "kept").touch()
    named = [str(precious[0])[: -len(".lock")], "../../../relative", "../beside"]
    for turn, lease in zip(turns, named, strict=True):
        assert (run / f"{lease}.lock").resolve() in precious
        sql(store_of(workspace), f"UPDATE turn SET lease = '{lease}' WHERE id = '{turn}'")  # noqa: S608
    with serving(workspace, "lines", *LOOK) as wire:
        wire.let_be("server/healthChanged")
        wire.request("session/list")
        time.sleep(LOOKS_SECONDS)
        for turn in turns:
            # Nobody holds a lease of that name.
            assert status_of(wire, turn) == "interrupted"
    command = [*SERVER, "doctor", "--fix"]
    subprocess.run(
        command, cwd=workspace, env=clean_environment(workspace), capture_output=True, timeout=TIMEOUT, check=False
    )
    assert [path.read_text() for path in precious] == ["precious"] * 3


_RACER = """
import sys, time
from mandrake_sessions import SessionManager
path, response, until = sys.argv[1], sys.argv[2], time.monotonic() + float(sys.argv[3])
made = 0
while time.monotonic() < until:
    with SessionManager(path) as manager:
        manager.create_turn(response)
        made += 1
print(made)
"""


def test_turns_are_made_while_other_processes_end(tmp_path: Path) -> None:
    """The last one to end takes the directory of the lock files away, while another makes its own in it."""
    path = tmp_path / "db.sqlite"
    with SessionManager(path) as manager:
        response = manager.create_round(manager.create_session().id, content="?").response.id
    command = [sys.executable, "-c", _RACER, str(path), response, "3"]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ended = [racer.communicate(timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4, [err for _, err in ended]
    assert sum(int(out) for out, _ in ended) > 0
    assert not Path(f"{path}-run").exists()

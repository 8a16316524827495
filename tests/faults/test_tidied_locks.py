"""Somebody tidies away the directory of the lock files: whose turns those are, whatever state their process is in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.running import run as run_command
from commands.running import sql
from mandrake_sessions import SessionManager
from strict import StrictSyncClient, Talk, connected
from wire import store_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no leases here")

LOOK = ("--lease-seconds", "0.4")
# Some looks of others.
LOOKS_SECONDS = 1.2


def let_run(_: StrictSyncClient) -> None:
    pass


def stop(agent: StrictSyncClient) -> None:
    os.kill(agent.pid, signal.SIGSTOP)


def deleted(run: Path) -> None:
    # Its owner may make a file in it meanwhile.
    while run.exists():
        shutil.rmtree(run, ignore_errors=True)


def moved(run: Path) -> None:
    run.rename(run.with_name("elsewhere"))


def in_the_way(run: Path) -> None:
    deleted(run)
    run.touch()


@pytest.mark.parametrize("tidy", [deleted, moved, in_the_way], ids=lambda tidy: tidy.__name__)
@pytest.mark.parametrize("state", [let_run, stop, StrictSyncClient.kill], ids=lambda state: state.__name__)
def test_turns_are_those_of_a_process_as_long_as_it_is_there(
    workspace: Path, state: Callable[[StrictSyncClient], None], tidy: Callable[[Path], None]
) -> None:
    run = Path(f"{store_of(workspace)}-run")
    with connected(workspace, *LOOK) as watcher, connected(workspace, *LOOK) as agent:
        watcher.let_be("server/healthChanged")
        turn = Talk(agent).turn()

        def has_status(status: str) -> bool:
            return watcher.turn_get(turn_id=turn).status == status

        state(agent)
        if not run.exists():
            # The watcher was first, and has tidied up what a dead process left.
            assert has_status("interrupted")
        else:
            tidy(run)
        time.sleep(LOOKS_SECONDS)
        if state is not StrictSyncClient.kill:
            assert has_status("streaming")
            os.kill(agent.pid, signal.SIGCONT)
            agent.turn_append(turn_id=turn, content="here")
            assert has_status("streaming")
        agent.kill()
        watcher.wait_until(lambda: has_status("interrupted"), "the end of the turn")


def test_a_lease_that_is_a_path_leads_nowhere(workspace: Path, tmp_path: Path) -> None:
    """A store that came with a checkout may name anything; what that leads to is not touched."""
    precious = [tmp_path / "absolute.lock", tmp_path / "relative.lock", store_of(workspace).with_name("beside.lock")]
    with connected(workspace) as client:
        talk = Talk(client)
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
    with connected(workspace, *LOOK) as client:
        client.let_be("server/healthChanged")
        client.session_list()
        time.sleep(LOOKS_SECONDS)
        for turn in turns:
            # Nobody holds a lease of that name.
            assert client.turn_get(turn_id=turn).status == "interrupted"
    run_command(workspace, "doctor", "--fix", code=None)
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

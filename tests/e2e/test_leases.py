"""Leases: a turn whose writer is gone becomes interrupted, once and in time; a live one never does."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.model import TurnStatus
from wire import Conversation, Wire, apply_update, serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no leases here")

LOOK = ("--lease-seconds", "0.4")


@pytest.fixture
def watcher(workspace: Path) -> Iterator[Wire]:
    with serving(workspace, "lines", *LOOK) as wire:
        yield wire


@pytest.fixture
def agent(workspace: Path, watcher: Wire) -> Iterator[Wire]:
    """A server that may be ended by the test in any way."""
    wire = Wire(workspace, "lines", *LOOK)
    yield wire
    if wire.process.poll() is None:
        wire.kill()
    wire.unread()


def kill(wire: Wire) -> None:
    wire.kill()


def end_input(wire: Wire) -> None:
    wire.end_input()
    assert wire.process.wait(10) == 0


def terminate(wire: Wire) -> None:
    wire.process.terminate()
    assert wire.process.wait(10) == 0


@pytest.mark.parametrize("end", [kill, end_input, terminate])
def test_a_writer_that_ends_leaves_interrupted_turns_which_are_pushed(watcher: Wire, agent: Wire, end: object) -> None:
    conversation = Conversation(agent)
    turns = [conversation.turn() for _ in range(2)]
    ended = conversation.turn(status="completed")
    detached = conversation.turn(detached=True)
    agent.request("turn/append", turnId=turns[0], content="so far")
    state = {turn["id"]: turn for turn in watcher.request("turn/subscribe", includeRaw=True)["turns"]}
    assert set(state) == {*turns, detached}
    end(agent)  # type: ignore[operator]
    for turn in turns:
        told = watcher.notification()
        assert (told["turnId"], told["kind"], told["changes"]["status"]) == (turn, "updated", "interrupted")
        assert told["changes"]["streamEndTime"] >= state[turn]["streamStartTime"]
        apply_update(state, told)
    assert state[turns[0]] == watcher.request("turn/get", turnId=turns[0])
    assert watcher.request("turn/get", turnId=ended)["status"] == "completed"
    time.sleep(0.6)  # another look, which must find nothing more
    assert watcher.request("turn/get", turnId=detached)["status"] == "streaming"


def test_a_writer_that_is_stopped_loses_nothing(watcher: Wire, agent: Wire) -> None:
    turn = Conversation(agent).turn()
    agent.process.send_signal(signal.SIGSTOP)
    time.sleep(1.2)  # several looks
    assert watcher.request("turn/get", turnId=turn)["status"] == "streaming"
    agent.process.send_signal(signal.SIGCONT)
    agent.request("turn/append", turnId=turn, content="still here")
    assert watcher.request("turn/get", turnId=turn)["content"] == "still here"


def test_an_interrupted_turn_is_taken_up_again_by_another_process(watcher: Wire, agent: Wire, workspace: Path) -> None:
    turn = Conversation(agent).turn()
    agent.request("turn/append", turnId=turn, content="one ", chunk=0)
    state = {turn: watcher.request("turn/subscribe", turnId=turn, includeRaw=True)["turns"][0]}
    agent.kill()
    apply_update(state, watcher.notification())
    assert state[turn]["status"] == "interrupted"
    with serving(workspace) as heir:
        last = heir.request("turn/append", turnId=turn, content="two", chunk=1)
        for told in watcher.notifications_until(last["seq"]):
            apply_update(state, told)
        assert (state[turn]["status"], state[turn]["streamEndTime"]) == ("streaming", None)
        assert state[turn] == heir.request("turn/get", turnId=turn)
        ended = heir.request("turn/update", turnId=turn, status="completed")
    assert watcher.notifications_until(ended["seq"])[-1]["changes"]["status"] == "completed"
    assert watcher.request("turn/get", turnId=turn)["content"] == "one two"


def test_a_turn_belongs_to_whoever_last_appended_to_it(watcher: Wire, agent: Wire) -> None:
    turn = Conversation(agent).turn()
    watcher.request("turn/append", turnId=turn, content="mine now")
    agent.kill()
    time.sleep(0.8)
    assert watcher.request("turn/get", turnId=turn)["status"] == "streaming"


def test_a_server_that_starts_later_notices_too(watcher: Wire, agent: Wire, workspace: Path) -> None:
    turn = Conversation(agent).turn()
    watcher.end_input()
    assert watcher.process.wait(10) == 0
    agent.kill()
    with serving(workspace) as later:
        assert later.request("turn/get", turnId=turn)["status"] == "interrupted"


def test_a_program_that_closes_its_store_leaves_interrupted_turns(database: Path) -> None:
    with SessionManager(database) as manager:
        response = manager.create_round(manager.create_session().id, content="?").response.id
        turn, detached = manager.create_turn(response), manager.create_turn(response, detached=True)
    with SessionManager(database) as manager:
        assert manager.get_turn(turn.id).status is TurnStatus.INTERRUPTED
        assert manager.get_turn(detached.id).status is TurnStatus.STREAMING
    assert sorted(path.name for path in database.parent.iterdir()) == [database.name]

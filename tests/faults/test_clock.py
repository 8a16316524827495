"""A clock that is set back or forward moves times and nothing else: order is by index and seq, and nothing is lost."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from faults.ledger import Client, Ledger, check_feed, read_state
from faults.servers import check_sound, with_module
from faults.work import Conversation, every_write, pieces
from strict import connected
from wire import TIMEOUT, Wire, apply_update, serving

YEAR = 365 * 86_400.0
HOUR = 3600.0


class Clock:
    """The clock of a server; ``set`` moves it by so many seconds from the true time."""

    def __init__(self, tmp_path: Path) -> None:
        self._file = tmp_path / "clock"
        self.set(0)

    def set(self, seconds: float) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._file)

    def options(self) -> dict[str, object]:
        return {"command": with_module("clock"), "environment": {"FAULTS_CLOCK": str(self._file)}}


def test_order_is_by_seq_and_index_whatever_the_clock_says(workspace: Path, tmp_path: Path) -> None:
    chance, clock, ledger = random.Random(1), Clock(tmp_path), Ledger()
    sessions: list[str] = []
    conversation = Conversation(chance)
    turn_id, create = conversation.turn()
    with serving(workspace, "lines", **clock.options()) as wire:
        client = Client(wire, ledger)
        for batch in (*conversation.create(), [create]):
            client.burst(batch)
        for n, moved in enumerate((0, -HOUR, -YEAR, YEAR, HOUR, -2 * YEAR)):
            clock.set(moved)
            for batch in every_write(chance):
                client.burst(batch)
            client.burst(pieces(chance, turn_id, 3 * n, 3, 100))
            sessions.insert(0, wire.request("session/create", title=f"at {moved}")["id"])
        client.do("turn/update", turnId=turn_id, status="completed")
        listed = [session["id"] for session in wire.request("session/list", limit=1000)["sessions"]]
        assert [session for session in listed if session in sessions] == sessions, "last changed first"
        assert ledger.find(without(read_state(wire), sessions), *[len(ledger.writes)] * 2)
        check_feed(wire, read_state(wire))
        check_sound(workspace / ".ws" / "db.sqlite")


def without(state: dict[str, dict[str, object]], sessions: list[str]) -> dict[str, dict[str, object]]:
    return {entity: fields for entity, fields in state.items() if entity not in sessions}


def test_a_turn_never_ends_before_it_began(workspace: Path, tmp_path: Path) -> None:
    look = ("--lease-seconds", "0.2")
    clock = Clock(tmp_path)
    conversation = Conversation(random.Random(2))
    ended, create_ended = conversation.turn()
    orphan, create_orphan = conversation.turn()
    with serving(workspace, "lines", *look, **clock.options()) as wire:
        agent = Wire(workspace)
        client = Client(agent, Ledger())
        for batch in (*conversation.create(), [create_ended], [create_orphan]):
            client.burst(batch)
        clock.set(-HOUR)
        wire.request("turn/update", turnId=ended, status="completed")
        told = {turn["id"]: turn for turn in wire.request("turn/subscribe")["turns"]}
        agent.kill()
        while told[orphan]["status"] != "interrupted":
            apply_update(told, wire.notification())
        for turn_id in (ended, orphan):
            turn = wire.request("turn/get", turnId=turn_id)
            assert turn["streamEndTime"] >= turn["streamStartTime"]


def test_a_jump_forward_prunes_the_feed_and_loses_no_text(workspace: Path, tmp_path: Path) -> None:
    """What the feed holds is suddenly older than it is kept. Streaming goes on, while the clock is wrong and after."""
    chance, clock, ledger = random.Random(3), Clock(tmp_path), Ledger()
    conversation = Conversation(chance)
    turn_id, create = conversation.turn(detached=True)
    with serving(workspace) as wire:
        client = Client(wire, ledger)
        for batch in (*conversation.create(), [create], pieces(chance, turn_id, 0, 300, 100)):
            client.burst(batch)
    clock.set(YEAR)
    with serving(workspace, "lines", **clock.options()) as wire:
        client = Client(wire, ledger)
        wire.request("session/list")
        wait_until_pruned(workspace)
        client.burst(pieces(chance, turn_id, 300, 50, 100))
        clock.set(0)
        client.burst(pieces(chance, turn_id, 350, 50, 100))
        client.do("turn/update", turnId=turn_id, status="completed")
        assert wire.request("session/subscribe", since=0)["reset"]
        assert ledger.find(read_state(wire), *[len(ledger.writes)] * 2)
        check_sound(workspace / ".ws" / "db.sqlite")


def wait_until_pruned(workspace: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    with closing(sqlite3.connect(workspace / ".ws" / "db.sqlite")) as connection:
        while connection.execute("SELECT pruned_seq FROM store").fetchone() == (0,):
            assert time.monotonic() < deadline, "the feed was never pruned"
            time.sleep(0.05)


def test_no_time_lies_before_its_entity(workspace: Path, tmp_path: Path) -> None:
    """A year back between each creation and what follows: updates, ends, archiving, interruption."""
    clock = Clock(tmp_path)
    with connected(workspace, **clock.options()) as client:
        session = client.request("session/create")["id"]
        made = client.request("round/create", {"sessionId": session, "content": "?"})
        response = made["response"]["id"]
        turns = [client.request("turn/create", {"responseId": response})["id"] for _ in range(4)]
        clock.set(-YEAR)
        found = [
            client.request("session/update", {"sessionId": session, "archived": True}),
            client.request("round/update", {"roundId": made["round"]["id"], "metadata": {"a": 1}})["round"],
            client.request("request/update", {"requestId": made["request"]["id"], "content": "!"}),
            client.request("response/update", {"responseId": response, "status": "error"}),
            client.request("turn/update", {"turnId": turns[0], "status": "completed"}),
            client.request("turn/update", {"turnId": turns[1], "content": "x"}),
        ]
        client.request("toolCall/upsert", {"turnId": turns[2], "toolCall": {"id": "a"}})
        client.request("toolCall/upsert", {"turnId": turns[3], "toolCall": {"id": "a"}})
        client.request("toolCall/delete", {"turnId": turns[3], "toolCallId": "a"})
        given = client.request("turn/update", {"turnId": turns[0], "streamEndTime": 5})
        assert given["streamEndTime"] == 5, "a time that the client gives is kept as it is"
        assert client.request("session/update", {"sessionId": session, "archived": False})["archivedAt"] is None
    with connected(workspace, **clock.options()) as client:
        found += [client.request("turn/get", {"turnId": turn_id}) for turn_id in turns[1:]]
        found += [client.request("session/get", {"sessionId": session})]
    for entity in found:
        times = {name: entity.get(name) for name in ("updatedAt", "endTime", "streamEndTime", "archivedAt")}
        early = {name: time for name, time in times.items() if time is not None and time < entity["createdAt"]}
        assert not early, f"{early} before {entity}"
    assert [turn["status"] for turn in found[6:9]] == ["interrupted"] * 3


def test_a_create_with_a_time_can_be_sent_again_whatever_the_clock_says_by_then(
    workspace: Path, tmp_path: Path
) -> None:
    """It is known by its id and params; what was not sent before is still judged by the clock."""
    clock = Clock(tmp_path)
    now = int(time.time() * 1000)
    session, round_id, response, turn = (f"00000000-0000-4000-8000-00000000000{n}" for n in "abcd")
    times = {"createdAt": now, "streamStartTime": now, "streamEndTime": now + 1000}
    creates: list[tuple[str, dict[str, object]]] = [
        ("session/create", {"id": session, "createdAt": now}),
        (
            "round/create",
            {"id": round_id, "responseId": response, "sessionId": session, "content": "?", "createdAt": now},
        ),
        ("turn/create", {"id": turn, "responseId": response, "status": "completed", **times}),
    ]
    with serving(workspace, "lines", **clock.options()) as wire:
        for method, params in creates:
            wire.request(method, **params)
        stored = wire.request("session/history", sessionId=session)
        clock.set(-3 * 24 * HOUR)
        for method, params in creates:
            wire.request(method, **params)
        assert wire.request("session/history", sessionId=session) == stored
        for method, params in creates:
            others = {name: value for name, value in params.items() if name not in ("id", "responseId")}
            if method == "turn/create":
                others["responseId"] = response
            told = wire.error(method, **others)
            assert told["data"]["kind"] == "invalidParams"
            assert "must be at most a day ahead of the clock" in told["message"]
        # Other params under the same id are no repetition.
        told = wire.error("session/create", id=session, createdAt=now + 1)
        assert told["data"]["kind"] == "conflict"

"""Sentences of docs/protocol/ that no exchange there shows."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from locking import WRITE_LOCK, holding
from wire import Wire, serving

SESSION, ROUND, TURN = (f"00000000-0000-4000-8000-00000000000{name}" for name in "abd")


def conversation(wire: Wire) -> tuple[str, str]:
    """The ids of a session and of the response in it."""
    session = wire.request("session/create")["id"]
    return session, wire.request("round/create", sessionId=session, content="?")["response"]["id"]


def _changed(wire: Wire, chance: random.Random) -> dict[str, str]:
    """A store to which anything has happened; where one turn of it is."""
    places = [conversation(wire) for _ in range(3)]
    turns = [wire.request("turn/create", responseId=response)["id"] for _, response in places]
    for _ in range(30):
        number = chance.randrange(3)
        session, response = places[number]
        match chance.randrange(5):
            case 0:
                gone = wire.request("turn/create", responseId=response)["id"]
                wire.request("turn/delete", turnId=gone)
            case 1:
                wire.request(
                    "toolCall/upsert", turnId=turns[number], toolCall={"id": "1", "title": f"{chance.random()}"}
                )
            case 2:
                wire.request("session/update", sessionId=session, archived=chance.random() < 0.5)
            case 3:
                wire.request("session/fork", sessionId=session)
            case _:
                wire.request("turn/append", turnId=turns[number], content="x")
    return {"sessionId": places[0][0], "responseId": places[0][1], "turnId": turns[0]}


def _highest(wire: Wire, about: str, name: str) -> int:
    """How far a range has come, as resuming.md has it."""
    if about == "turnId":
        return int(wire.request("turn/get", turnId=name)["seq"])
    if about == "responseId":
        return int(max(turn["seq"] for turn in wire.request("response/status", responseId=name)["turns"]))
    rounds = wire.request("session/history", sessionId=name)["rounds"]
    return int(max(turn["seq"] for each in rounds for turn in each["response"]["turns"]))


def _hears_up_to(wire: Wire, subscription: str, seq: int) -> None:
    def is_there(message: Any) -> bool:
        told = message.get("params", {})
        return bool(told.get("subscriptionId") == subscription and told["seq"] >= seq)

    assert wire.wait_for(is_there)


@pytest.mark.parametrize("seed", range(3))
def test_a_client_sees_that_it_has_caught_up(wire: Wire, seed: int) -> None:
    ids = _changed(wire, random.Random(seed))
    for about, name in ids.items():
        following = wire.request("turn/subscribe", **{about: name}, since=0)["subscriptionId"]
        _hears_up_to(wire, following, _highest(wire, about, name))
    for which in ({"sessionId": ids["sessionId"]}, {}):
        following = wire.request("session/subscribe", **which, since=0)["subscriptionId"]
        latest = wire.request("session/list", limit=1, archived=None)["sessions"][0]
        found = wire.request("session/get", **which) if which else latest
        _hears_up_to(wire, following, found["seq"])
    wire.let_be("turn/updated")
    wire.let_be("session/updated")


def test_the_same_is_what_has_the_same_params(wire: Wire, workspace: Path) -> None:
    first = wire.request("session/create", id=SESSION)
    assert wire.request("session/create", id=SESSION, scope="workspace", workspace=workspace.as_uri()) == first
    others: list[dict[str, Any]] = [{"title": None}, {"metadata": {}}]
    for more in others:
        assert wire.error("session/create", id=SESSION, **more)["data"]["reason"] == "idInUse"
    response = wire.request("round/create", sessionId=SESSION, id=ROUND, content="?")["response"]["id"]
    wire.request("turn/create", responseId=response, id=TURN, includeText=False)
    assert wire.request("turn/create", responseId=response, id=TURN)["content"] == ""
    wire.request("turn/append", turnId=TURN, chunk=0, content="x", outputTokens=1)
    assert wire.request("turn/append", turnId=TURN, chunk=0, content="x", outputTokens=7)["chunkCount"] == 1
    assert wire.request("turn/get", turnId=TURN)["outputTokens"] == 1


def test_a_fork_without_an_id_makes_a_second_copy(wire: Wire) -> None:
    session, _ = conversation(wire)
    named = wire.request("session/fork", sessionId=session, id=SESSION)
    assert wire.request("session/fork", sessionId=session, id=SESSION) == named
    assert wire.error("session/fork", sessionId=session, id=SESSION, title=None)["data"]["reason"] == "idInUse"
    first, second = (wire.request("session/fork", sessionId=session)["id"] for _ in range(2))
    assert first != second


def test_others_write_while_a_session_is_copied(wire: Wire, workspace: Path) -> None:
    """What this client sent after it waits; the writes of others lie between, and are not in the copy."""
    session, response = conversation(wire)
    turns: list[Any] = [{"responseId": response, "content": "word " * 400, "status": "completed"}] * 2000
    wire.request("transaction/run", operations=[{"method": "turn/create", "params": each} for each in turns])
    others: list[int] = []
    with serving(workspace) as other, ThreadPoolExecutor(1) as pool:
        other.request("session/get", sessionId=session)
        fork = wire.post("session/fork", sessionId=session, id=SESSION)
        behind = wire.post("session/get", sessionId=SESSION)
        copied = pool.submit(wire.result, fork)
        while not copied.done():
            others.append(other.request("turn/create", responseId=response, status="error")["seq"])
    copy = copied.result()
    assert wire.result(behind) == copy
    assert min(others) < copy["seq"]
    found = wire.request("session/history", sessionId=SESSION, includeText=False)["rounds"][0]["response"]["turns"]
    assert len(found) < 2000 + len(others)


def test_what_a_client_interrupts_itself(wire: Wire) -> None:
    session, response = conversation(wire)
    turn = wire.request("turn/create", responseId=response, status="interrupted")["id"]

    def stands() -> tuple[str, str]:
        status = wire.request("response/get", responseId=response)["status"]
        return status, wire.request("session/get", sessionId=session)["state"]

    assert stands() == ("open", "idle")
    wire.request("response/update", responseId=response, status="interrupted")
    assert stands() == ("interrupted", "failed")
    wire.request("turn/append", turnId=turn, content="x")
    assert stands() == ("open", "running")
    wire.request("response/update", responseId=response, status="requires_action")
    assert stands() == ("requires_action", "running")
    wire.request("turn/update", turnId=turn, status="interrupted")
    assert stands() == ("requires_action", "requires_action")
    wire.request("turn/append", turnId=turn, content="x")
    assert stands() == ("requires_action", "running")


def test_a_read_behind_a_write_that_waits_may_be_busy_too(workspace: Path) -> None:
    with serving(workspace, "lines", "--busy-timeout", "0.3") as wire:
        session, _ = conversation(wire)
        with holding(workspace, WRITE_LOCK):
            write = wire.post("session/update", sessionId=session, title="A")
            reads = [wire.post("session/get", sessionId=session) for _ in range(3)]
            assert wire.answer(write)["error"]["data"]["kind"] == "busy"
            for answer in map(wire.answer, reads):
                assert answer["error"]["data"]["kind"] == "busy" if "error" in answer else not answer["result"]["title"]
            assert wire.request("session/get", sessionId=session)["title"] is None

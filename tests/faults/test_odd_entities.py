"""One odd value: what is about its entity says so, everything else is answered without it, and it is told once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from commands.running import run, sql
from wire import Conversation, Wire, serving, store_of

# What makes an entity odd, and who asks for that entity alone.
ODD = {
    "session": ("UPDATE session SET metadata = '{{' WHERE id = '{session}'", "session/get", "sessionId"),
    "request": ("UPDATE request SET blocks = '[1' WHERE id = '{request}'", "request/get", "requestId"),
    "turn": ("UPDATE turn SET status = 'weird' WHERE id = '{turn}'", "turn/get", "turnId"),
    "toolCall": ("UPDATE tool_call SET status = 'weird' WHERE id = 'call'", "turn/get", "turnId"),
}


def answered(wire: Wire, method: str, **params: object) -> bool:
    """Whether there is a result; an error must be about what is in the file, and name an entity."""
    answer = wire.answer(wire.post(method, **params))
    if "error" in answer:
        data = answer["error"]["data"]
        assert (data["kind"], data["reason"]) == ("storage", "corrupt"), answer
        assert data["entity"] in answer["error"]["message"]
        return False
    return True


@pytest.mark.parametrize("entity", ODD)
def test_an_odd_entity_is_left_out_and_named_and_the_rest_goes_on(workspace: Path, entity: str) -> None:
    with serving(workspace) as wire:
        wire.let_be("server/healthChanged")
        odd, fine = Conversation(wire, title="odd"), Conversation(wire, title="fine")
        odd_turn = odd.turn(content="odd", toolCalls=[{"id": "call"}])
        fine_turn = fine.turn(content="fine")
        statement, method, key = ODD[entity]
        ids = {"session": odd.session, "request": odd.request, "turn": odd_turn}
        sql(store_of(workspace), statement.format(**ids))
        if entity == "toolCall":
            # A list within its turn, as others: it is left out.
            assert wire.request("turn/get", turnId=odd_turn)["toolCalls"] == []
        else:
            assert not answered(wire, method, **{key: ids[entity]})

        titles = {session["title"] for session in wire.request("session/list")["sessions"]}
        assert titles == ({"fine"} if entity == "session" else {"fine", "odd"})
        for conversation in (odd, fine):
            answered(wire, "session/history", sessionId=conversation.session)
            answered(wire, "response/status", responseId=conversation.response)
        assert answered(wire, "session/history", sessionId=fine.session)
        state = {turn["id"] for turn in wire.request("turn/subscribe")["turns"]}
        assert state == ({fine_turn} if entity == "turn" else {fine_turn, odd_turn})
        wire.request("turn/append", turnId=fine_turn, content=" and more")
        assert wire.notification()["content"] == " and more"

        (store,) = wire.request("server/health")["stores"]
        assert store["status"] == "degraded"
        (told,) = [warning for warning in store["warnings"] if "cannot be read" in warning]
        time.sleep(1.2)  # more looks at the health
        wire.wait_for_log(told)
        assert wire.stderr.count(told) == 1
        run(workspace, "doctor", "--fix", code=None)
        assert answered(wire, method, **{key: odd_turn if key == "turnId" else ids[entity]})
        assert len(wire.request("turn/get", turnId=odd_turn)["toolCalls"]) == 1
        wire.let_be("turn/updated")
        wire.let_be("subscription/ended")


def test_a_change_that_cannot_be_read_counts_as_pruned(workspace: Path) -> None:
    """Whoever is behind it reads the state again; whoever begins after it misses nothing."""
    with serving(workspace) as other, serving(workspace) as wire:
        for each in (wire, other):
            each.let_be("server/healthChanged")
        turn = Conversation(other).turn()
        begun = wire.request("turn/subscribe")
        wire.request("turn/unsubscribe", subscriptionId=begun["subscriptionId"])
        other.request("turn/append", turnId=turn, content="a")
        last = other.request("turn/append", turnId=turn, content="b")["seq"]
        sql(store_of(workspace), f"UPDATE feed SET kind = 'weird' WHERE seq = {last - 1}")  # noqa: S608
        behind = wire.request("turn/subscribe", since=begun["seq"], storeId=begun["storeId"])
        ended = wire.notification("subscription/ended")
        assert (ended["subscriptionId"], ended["reason"]) == (behind["subscriptionId"], "pruned")
        again = wire.request("turn/subscribe", since=begun["seq"], storeId=begun["storeId"])
        assert (again["reset"], [found["id"] for found in again["turns"]]) == (True, [turn])
        later = wire.request("turn/subscribe", since=last, storeId=begun["storeId"])
        assert later["reset"] is False
        other.request("turn/append", turnId=turn, content="c")
        for _ in range(2):
            assert wire.notification()["content"] == "c"


def test_a_store_is_mended_beside_servers_that_stream(workspace: Path) -> None:
    """Nothing that they were told is stored is lost by that, and what they stream goes on."""
    with serving(workspace) as one, serving(workspace) as two:
        wires = (one, two)
        odd = Conversation(one, title="odd")
        turns = [Conversation(wire).turn() for wire in wires]
        for each in wires:
            each.let_be("server/healthChanged")
        told = dict.fromkeys(turns, "")

        def stream(count: int) -> None:
            for number in range(count):
                for wire, turn in zip(wires, turns, strict=True):
                    wire.request("turn/append", turnId=turn, content=f"{number} ")
                    told[turn] += f"{number} "

        stream(20)
        for statement in (
            f"UPDATE session SET metadata = '{{' WHERE id = '{odd.session}'",  # noqa: S608
            "UPDATE session SET round_count = 7",
            f"UPDATE turn SET content_bytes = content_bytes + 5 WHERE id = '{turns[0]}'",  # noqa: S608
        ):
            sql(store_of(workspace), statement)
        posted = [
            (wire, wire.post("turn/append", turnId=turn, content="x")) for wire, turn in zip(wires, turns, strict=True)
        ]
        run(workspace, "doctor", "--fix", code=None)
        for (wire, message), turn in zip(posted, turns, strict=True):
            if "result" in wire.answer(message):
                told[turn] += "x"
        stream(20)
        for wire, turn in zip(wires, turns, strict=True):
            got = wire.request("turn/get", turnId=turn)
            assert (got["content"], got["status"]) == (told[turn], "streaming")
            assert wire.request("session/get", sessionId=odd.session)["title"] == "odd"
    assert run(workspace, "doctor", code=None).code == 0

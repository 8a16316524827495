"""One odd value: what is about its entity says so, everything else is answered without it, and it is told once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from commands.running import run, sql
from strict import StrictSyncClient, Talk, connected
from wire import TIMEOUT, store_of

# What makes an entity odd, and who asks for that entity alone.
ODD = {
    "session": ("UPDATE session SET metadata = '{{' WHERE id = '{session}'", "session/get", "sessionId"),
    "request": ("UPDATE request SET blocks = '[1' WHERE id = '{request}'", "request/get", "requestId"),
    "turn": ("UPDATE turn SET status = 'weird' WHERE id = '{turn}'", "turn/get", "turnId"),
    "toolCall": ("UPDATE tool_call SET status = 'weird' WHERE id = 'call'", "turn/get", "turnId"),
}


def answered(client: StrictSyncClient, method: str, **params: object) -> bool:
    """Whether there is a result; an error must be about what is in the file, and name an entity."""
    error = client.refusal(method, **params)
    if error is not None:
        assert (error.kind, error.data["reason"]) == ("storage", "corrupt"), error
        assert error.data["entity"] in error.message
    return error is None


@pytest.mark.parametrize("entity", ODD)
def test_an_odd_entity_is_left_out_and_named_and_the_rest_goes_on(workspace: Path, entity: str) -> None:
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        odd, fine = Talk(client, title="odd"), Talk(client, title="fine")
        odd_turn = odd.turn(content="odd", tool_calls=[{"id": "call"}])
        fine_turn = fine.turn(content="fine")
        statement, method, key = ODD[entity]
        ids = {"session": odd.session, "request": odd.request, "turn": odd_turn}
        sql(store_of(workspace), statement.format(**ids))
        if entity == "toolCall":
            # A list within its turn, as others: it is left out.
            assert client.turn_get(turn_id=odd_turn).tool_calls == []
        else:
            assert not answered(client, method, **{key: ids[entity]})

        titles = {session.title for session in client.session_list().sessions}
        assert titles == ({"fine"} if entity == "session" else {"fine", "odd"})
        for talk in (odd, fine):
            answered(client, "session/history", sessionId=talk.session)
            answered(client, "response/status", responseId=talk.response)
        assert answered(client, "session/history", sessionId=fine.session)
        changes = client.followed("turn/subscribe")
        state = {turn["id"] for turn in changes.begun["turns"]}
        assert state == ({fine_turn} if entity == "turn" else {fine_turn, odd_turn})
        client.turn_append(turn_id=fine_turn, content=" and more")
        assert next(changes).content == " and more"

        (store,) = client.server_health().stores
        assert store.status == "degraded"
        (told,) = [warning for warning in store.warnings if "cannot be read" in warning]
        time.sleep(1.2)  # more looks at the health
        client.wait_for_log(told)
        assert client.stderr.count(told) == 1
        run(workspace, "doctor", "--fix", code=None)
        assert answered(client, method, **{key: odd_turn if key == "turnId" else ids[entity]})
        assert len(client.turn_get(turn_id=odd_turn).tool_calls) == 1
        client.let_be("turn/updated")
        client.let_be("subscription/ended")


def test_a_change_that_cannot_be_read_counts_as_pruned(workspace: Path) -> None:
    """Whoever is behind it reads the state again; whoever begins after it misses nothing."""
    with connected(workspace) as other, connected(workspace) as client:
        for each in (client, other):
            each.let_be("server/healthChanged")
        turn = Talk(other).turn()
        begun = client.followed("turn/subscribe").begun
        client.request("turn/unsubscribe", {"subscriptionId": begun["subscriptionId"]})
        since = {"since": begun["seq"], "storeId": begun["storeId"]}
        other.turn_append(turn_id=turn, content="a")
        last = other.turn_append(turn_id=turn, content="b").seq
        sql(store_of(workspace), f"UPDATE feed SET kind = 'weird' WHERE seq = {last - 1}")  # noqa: S608
        behind = client.followed("turn/subscribe", **since)
        assert behind.ended()["reason"] == "pruned"
        again = client.followed("turn/subscribe", **since)
        assert (again.begun["reset"], [found["id"] for found in again.begun["turns"]]) == (True, [turn])
        later = client.followed("turn/subscribe", **since | {"since": last})
        assert later.begun["reset"] is False
        other.turn_append(turn_id=turn, content="c")
        for changes in (again, later):
            assert next(changes).content == "c"


def test_a_store_is_mended_beside_servers_that_stream(workspace: Path) -> None:
    """Nothing that they were told is stored is lost by that, and what they stream goes on."""
    with connected(workspace) as one, connected(workspace) as two:
        clients = (one, two)
        odd = Talk(one, title="odd")
        turns = [Talk(client).turn() for client in clients]
        for each in clients:
            each.let_be("server/healthChanged")
        told = dict.fromkeys(turns, "")

        def stream(count: int) -> None:
            for number in range(count):
                for client, turn in zip(clients, turns, strict=True):
                    client.turn_append(turn_id=turn, content=f"{number} ")
                    told[turn] += f"{number} "

        stream(20)
        for statement in (
            f"UPDATE session SET metadata = '{{' WHERE id = '{odd.session}'",  # noqa: S608
            "UPDATE session SET round_count = 7",
            f"UPDATE turn SET content_bytes = content_bytes + 5 WHERE id = '{turns[0]}'",  # noqa: S608
        ):
            sql(store_of(workspace), statement)
        replies = [
            client.submit("turn/append", {"turnId": turn, "content": "x"})
            for client, turn in zip(clients, turns, strict=True)
        ]
        run(workspace, "doctor", "--fix", code=None)
        for reply, turn in zip(replies, turns, strict=True):
            if reply.exception(TIMEOUT) is None:
                told[turn] += "x"
        stream(20)
        for client, turn in zip(clients, turns, strict=True):
            got = client.turn_get(turn_id=turn)
            assert (got.content, got.status) == (told[turn], "streaming")
            assert client.session_get(session_id=odd.session).title == "odd"
    assert run(workspace, "doctor", code=None).code == 0

"""Live updates: a subscription is a position in the feed, of which nothing is missed in silence."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from attrs import evolve

from mandrake_sessions.client import apply
from mandrake_sessions.model import ResponseStatus, ToolCallStatus, Turn, TurnStatus
from mandrake_sessions.protocol.names import snake
from strict import StrictSyncClient, Talk, read_all
from wire import Conversation, Wire

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


def converse(client: StrictSyncClient) -> tuple[Talk, list[str], int]:
    """Two turns with every kind of change, one of them deleted in the end; gives the last seq."""
    conversation = Talk(client)
    turns = [conversation.turn(content=f"turn {n} ", raw_response="[") for n in range(2)]
    for n in range(3):
        for turn in turns:
            client.turn_append(turn_id=turn, content=f"{n} ", raw_response=f"<{n}>", current_tokens=n)
    client.tool_call_upsert(turn_id=turns[0], tool_call={"id": "a", "title": "ls"})
    client.tool_call_upsert(turn_id=turns[0], tool_call={"id": "b"})
    client.tool_call_upsert(turn_id=turns[0], tool_call={"id": "a", "status": ToolCallStatus.FAILED, "response": None})
    client.tool_call_delete(turn_id=turns[0], tool_call_id="b")
    client.turn_update(turn_id=turns[0], content="anew ", metadata={"a": 1})
    client.turn_append(turn_id=turns[0], raw_response="]")
    client.turn_update(turn_id=turns[0], status=TurnStatus.INTERRUPTED, error="power", stream_end_time=0)
    client.turn_append(turn_id=turns[0], content="again")
    client.turn_update(turn_id=turns[0], metadata={"a": 1.0}, status=TurnStatus.COMPLETED)
    client.turn_delete(turn_id=turns[1])
    return conversation, turns, client.session_list().seq or 0


@pytest.mark.parametrize("scope", ["turnId", "responseId", "sessionId", None])
@pytest.mark.parametrize("raw", [False, True])
def test_since_replays_exactly_what_turn_get_gives(client: StrictSyncClient, scope: str | None, raw: bool) -> None:
    conversation, turns, last = converse(client)
    ids = {"turnId": turns[0], "responseId": conversation.response, "sessionId": conversation.session}
    where = {} if scope is None else {scope: ids[scope]}
    changes = client.followed("turn/subscribe", **where, since=0, includeRaw=raw)
    begun = changes.begun
    assert (begun["seq"], begun["reset"], begun["turns"]) == (0, False, [])
    told = [next(changes)]
    while told[-1].kind != "updated" or told[-1].status != "completed":
        told.append(next(changes))
    if scope != "turnId":
        told.append(next(changes))
    assert [update.seq for update in told] == sorted({update.seq for update in told})
    state: dict[str, Turn | None] = {}
    for update in told:
        state[update.turn_id] = apply(state.get(update.turn_id), update)
    expected = client.turn_get(turn_id=turns[0])
    if not raw:
        expected = evolve(expected, raw_response=None)
    assert {turn_id: turn for turn_id, turn in state.items() if turn is not None} == {turns[0]: expected}
    assert json.dumps(expected.metadata) == '{"a": 1.0}'
    if scope != "turnId":
        assert [update.kind for update in told if update.turn_id == turns[1]] == ["deleted"]
        assert told[-1].seq == last


@pytest.mark.parametrize("begin", range(0, 20, 3))
def test_since_goes_on_from_any_state(client: StrictSyncClient, begin: int) -> None:
    """A state that was read at a seq, and the changes after it, give the state of now."""
    turn_id = Talk(client).turn(content="x")
    before = client.turn_get(turn_id=turn_id)
    for n in range(begin):
        answer = client.turn_append(turn_id=turn_id, content=f"{n} ")
    if begin:
        before = client.turn_get(turn_id=turn_id)
        assert before.seq == answer.seq
    for n in range(5):
        last = client.turn_append(turn_id=turn_id, content=f"+{n} ")
    changes = client.followed("turn/subscribe", turnId=turn_id, since=before.seq, includeRaw=True)
    turn: Turn | None = before
    for update in read_all(changes, last.seq):
        turn = apply(turn, update)
    assert turn == client.turn_get(turn_id=turn_id)


@pytest.mark.parametrize(
    ("since", "store_id", "reset"), [(0, None, False), (0, UNKNOWN, True), (10**6, None, True), (None, UNKNOWN, False)]
)
def test_a_since_that_means_nothing_here_gives_the_state_instead(
    client: StrictSyncClient, since: int | None, store_id: str | None, reset: bool
) -> None:
    conversation = Talk(client)
    turn = conversation.turn(content="x")
    turns = client.followed("turn/subscribe", since=since, storeId=store_id)
    sessions = client.followed("session/subscribe", since=since, storeId=store_id)
    assert turns.begun["reset"] is sessions.begun["reset"] is reset
    if since == 0 and not reset:
        kinds = [next(turns).kind] + [next(sessions).kind for _ in range(3)]
        assert kinds == ["created", "created", "roundCreated", "updated"]
    else:
        assert [found["id"] for found in turns.begun["turns"]] == [turn]
        assert [found["id"] for found in sessions.begun["sessions"]] == [conversation.session]
        assert turns.begun["seq"] == sessions.begun["seq"] == 3


def test_the_reply_to_a_subscribe_comes_before_its_first_notification(wire: Wire) -> None:
    turn = Conversation(wire).turn()
    subscribe = {"jsonrpc": "2.0", "id": "s", "method": "turn/subscribe", "params": {"turnId": turn}}
    append = {"jsonrpc": "2.0", "id": "a", "method": "turn/append", "params": {"turnId": turn, "content": "x"}}
    wire.send_bytes(wire.frame(json.dumps(subscribe).encode()) + wire.frame(json.dumps(append).encode()))
    first = wire.next_message()
    assert first["id"] == "s"
    assert wire.notification()["content"] == "x"
    wire.answer("a")


def test_after_the_reply_to_an_unsubscribe_nothing_follows(client: StrictSyncClient) -> None:
    conversation = Talk(client)
    turns = client.followed("turn/subscribe").begun["subscriptionId"]
    sessions = client.followed("session/subscribe").begun["subscriptionId"]
    assert client.error("session/unsubscribe", subscriptionId=turns).data["entity"] == "subscription"
    client.request("turn/unsubscribe", {"subscriptionId": turns})
    client.request("session/unsubscribe", {"subscriptionId": sessions})
    client.turn_append(turn_id=conversation.turn(), content="x")
    assert client.error("turn/unsubscribe", subscriptionId=turns).code == -32010


def test_every_subscription_hears_its_own_range_turn_after_turn(client: StrictSyncClient) -> None:
    here, there = Talk(client), Talk(client)
    ranges = {
        "session": {"sessionId": here.session}, "response": {"responseId": here.response}, "all": {},
        "again": {"sessionId": here.session}, "there": {"sessionId": there.session},
    }  # fmt: skip
    followed = {name: client.followed("turn/subscribe", **ranges[name]) for name in ranges}
    for conversation in (here, here, there):
        turn = conversation.turn()
        client.turn_update(turn_id=turn, status=TurnStatus.COMPLETED)
    # What is heard beyond this is left unread, which fails.
    heard = {"session": 4, "response": 4, "again": 4, "all": 6, "there": 2}
    told = {name: [next(changes) for _ in range(heard[name])] for name, changes in followed.items()}
    for name, changes in followed.items():
        assert {update.subscription_id for update in told[name]} == {changes.begun["subscriptionId"]}
    assert told["all"][-1].seq == client.session_list().seq


@pytest.mark.parametrize(
    ("delete", "scope", "ended"),
    [
        ("turn/delete", "turnId", True),
        ("turn/delete", "responseId", False),
        ("round/delete", "turnId", True),
        ("round/delete", "responseId", True),
        ("round/delete", "sessionId", False),
        ("session/delete", "turnId", True),
        ("session/delete", "sessionId", True),
        ("session/delete", None, False),
    ],
)
def test_what_is_deleted_is_told_and_ends_what_was_about_it(
    client: StrictSyncClient, delete: str, scope: str | None, ended: bool
) -> None:
    conversation = Talk(client)
    turn = conversation.turn()
    ids = {
        "turnId": turn, "responseId": conversation.response, "sessionId": conversation.session,
        "roundId": conversation.round,
    }  # fmt: skip
    changes = client.followed("turn/subscribe", **({} if scope is None else {scope: ids[scope]}))
    subscription = changes.begun["subscriptionId"]
    level = delete.partition("/")[0]
    client.request(delete, {f"{level}Id": ids[f"{level}Id"]})
    told = next(changes)
    assert told.kind == {"turn": "deleted"}.get(level, f"{level}Deleted")
    below = {"session": ["roundId", "responseId", "turnId"], "round": ["responseId", "turnId"], "turn": []}[level]
    for name in ("sessionId", "roundId", "responseId", "turnId"):
        expected = {**ids, "responseId": conversation.response}[name]
        assert getattr(told, snake(name)) == (None if name in below else expected), name
    assert (told.index, told.status) == ((0, "streaming") if level == "turn" else (None, None))
    if ended:
        end = changes.ended()
        assert end == {"subscriptionId": subscription, "seq": told.seq, "reason": "deleted"}
        assert client.error("turn/unsubscribe", subscriptionId=subscription).code == -32010


def test_a_session_is_told_of_all_that_moves_it(client: StrictSyncClient) -> None:
    session = client.session_create().id
    changes = client.followed("session/subscribe", sessionId=session)
    made = client.round_create(session_id=session, content="?")
    client.round_update(round_id=made.round.id, metadata={"a": 1})
    client.request_update(request_id=made.request.id, content="!")
    turn = client.turn_create(response_id=made.response.id).id
    client.turn_append(turn_id=turn, content="not told of")
    client.response_update(response_id=made.response.id, status=ResponseStatus.COMPLETED)
    client.round_delete(round_id=made.round.id)
    client.session_update(session_id=session, archived=True)
    client.session_delete(session_id=session)
    told = [next(changes) for _ in range(8)]
    assert [params.kind for params in told] == [
        "roundCreated", "roundUpdated", "requestUpdated", "updated", "responseUpdated", "roundDeleted", "updated",
        "deleted",
    ]  # fmt: skip
    assert (told[0].round, told[0].response) == (made.round, made.response)
    assert (told[0].request.content, told[2].request.content) == ("?", "!")
    assert told[4].response.status == "completed"
    parts = ("round_id", "session", "round", "request", "response")
    assert [[name for name in parts if getattr(update, name) is not None] for update in told] == [
        ["round_id", "session", "round", "request", "response"], ["round_id", "session", "round"],
        ["round_id", "session", "request"], ["session"], ["round_id", "session", "response"], ["round_id", "session"],
        ["session"], [],
    ]  # fmt: skip
    assert {update.round_id for update in told if update.round_id is not None} == {made.round.id}
    assert all(params.session.seq == params.seq for params in told[:-1])
    assert changes.ended()["reason"] == "deleted"


def test_who_skips_what_is_not_above_its_session_misses_no_round(wire: Wire) -> None:
    """The rule of docs/protocol/subscribing.md, where many changes are there before the first of them is told."""
    ids = {"id": UNKNOWN[:-1] + "1", "responseId": UNKNOWN[:-1] + "2"}
    session = wire.request("session/create")["id"]
    begun = wire.request("session/subscribe", sessionId=session)
    create: dict[str, Any] = {"method": "round/create", "params": {"sessionId": session, "content": "?"}}
    first: dict[str, Any] = {"method": "round/create", "params": create["params"] | ids}
    end = {"method": "response/update", "params": {"responseId": ids["responseId"], "status": "completed"}}
    wire.request("transaction/run", operations=[first, create, create, end])
    again = wire.request("session/subscribe", sessionId=session, since=begun["seq"])
    for subscription in (begun, again):
        known: dict[str, Any] = {"seq": begun["seq"]}
        rounds, responses = set(), {}
        for _ in range(4):
            told = wire.wait_for(partial(_is_told, "session/updated", subscription["subscriptionId"]))["params"]
            assert told["seq"] > known["seq"], "it would be skipped"
            known = told["session"]
            rounds.add(told["roundId"])
            if "response" in told:
                responses[told["response"]["id"]] = told["response"]["status"]
        listed = wire.request("round/list", sessionId=session)["rounds"]
        assert rounds == {each["id"] for each in listed}
        stored = [wire.request("response/get", responseId=each["responseId"]) for each in listed]
        assert responses == {each["id"]: each["status"] for each in stored}
        assert known == wire.request("session/get", sessionId=session)
        wire.request("session/unsubscribe", subscriptionId=subscription["subscriptionId"])


def _is_told(method: str, subscription: str, message: Any) -> bool:
    return bool(message.get("method") == method and message["params"]["subscriptionId"] == subscription)


def test_texts_and_raw_responses_come_where_they_were_asked_for(wire: Wire) -> None:
    conversation = Conversation(wire)
    choices: list[dict[str, Any]] = [{}, {"includeRaw": True}, {"includeText": False}]
    names = {wire.request("turn/subscribe", **choice)["subscriptionId"]: choice for choice in choices}
    turn = conversation.turn(content="a", rawResponse="b")
    wire.request("turn/append", turnId=turn, content="c", rawResponse="d")
    wire.request("turn/update", turnId=turn, content="e", rawResponse="f")
    for _ in range(9):
        params = wire.notification()
        choice = names[params["subscriptionId"]]
        holder = params.get("turn") or params.get("changes") or params
        assert ("content" in holder) == choice.get("includeText", True)
        assert ("rawResponse" in holder) == choice.get("includeRaw", False)

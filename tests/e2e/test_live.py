"""Live updates: a subscription is a position in the feed, of which nothing is missed in silence."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from wire import SERVER, TIMEOUT, Conversation, Message, Wire, apply_update, clean_environment, run_script, serving

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


def converse(wire: Wire) -> tuple[Conversation, list[str], int]:
    """Two turns with every kind of change, one of them deleted in the end; gives the last seq."""
    conversation = Conversation(wire)
    turns = [conversation.turn(content=f"turn {n} ", rawResponse="[") for n in range(2)]
    for n in range(3):
        for turn in turns:
            wire.request("turn/append", turnId=turn, content=f"{n} ", rawResponse=f"<{n}>", currentTokens=n)
    wire.request("toolCall/upsert", turnId=turns[0], toolCall={"id": "a", "title": "ls"})
    wire.request("toolCall/upsert", turnId=turns[0], toolCall={"id": "b"})
    wire.request("toolCall/upsert", turnId=turns[0], toolCall={"id": "a", "status": "failed", "response": None})
    wire.request("toolCall/delete", turnId=turns[0], toolCallId="b")
    wire.request("turn/update", turnId=turns[0], content="anew ", metadata={"a": 1})
    wire.request("turn/append", turnId=turns[0], rawResponse="]")
    wire.request("turn/update", turnId=turns[0], status="interrupted", error="power", streamEndTime=0)
    wire.request("turn/append", turnId=turns[0], content="again")
    wire.request("turn/update", turnId=turns[0], metadata={"a": 1.0}, status="completed")
    wire.request("turn/delete", turnId=turns[1])
    return conversation, turns, wire.request("session/list")["seq"]


@pytest.mark.parametrize("scope", ["turnId", "responseId", "sessionId", None])
@pytest.mark.parametrize("raw", [False, True])
def test_since_replays_exactly_what_turn_get_gives(workspace: Path, scope: str | None, raw: bool) -> None:
    with serving(workspace) as wire:
        conversation, turns, last = converse(wire)
        ids = {"turnId": turns[0], "responseId": conversation.response, "sessionId": conversation.session}
        where = {} if scope is None else {scope: ids[scope]}
        started = wire.request("turn/subscribe", **where, since=0, includeRaw=raw)
        assert (started["seq"], started["reset"], started["turns"]) == (0, False, [])
        told = [wire.notification()]
        while told[-1]["kind"] != "updated" or told[-1]["status"] != "completed":
            told.append(wire.notification())
        if scope != "turnId":
            told.append(wire.notification())
        assert [params["seq"] for params in told] == sorted({params["seq"] for params in told})
        state: dict[str, Message] = {}
        for params in told:
            apply_update(state, params)
        expected = wire.request("turn/get", turnId=turns[0])
        if not raw:
            del expected["rawResponse"]
        assert state == {turns[0]: expected}
        assert json.dumps(expected["metadata"]) == '{"a": 1.0}'
        if scope != "turnId":
            assert [p["kind"] for p in told if p["turnId"] == turns[1]] == ["deleted"]
            assert told[-1]["seq"] == last


@pytest.mark.parametrize("begin", range(0, 20, 3))
def test_since_goes_on_from_any_state(wire: Wire, begin: int) -> None:
    """A state that was read at a seq, and the changes after it, give the state of now."""
    before: dict[str, Message] = {}
    conversation = Conversation(wire)
    turn = conversation.turn(content="x")
    before[turn] = wire.request("turn/get", turnId=turn)
    for n in range(begin):
        answer = wire.request("turn/append", turnId=turn, content=f"{n} ")
    if begin:
        before[turn] = wire.request("turn/get", turnId=turn)
        assert before[turn]["seq"] == answer["seq"]
    for n in range(5):
        last = wire.request("turn/append", turnId=turn, content=f"+{n} ")
    wire.request("turn/subscribe", turnId=turn, since=before[turn]["seq"], includeRaw=True)
    for params in wire.notifications_until(last["seq"]):
        apply_update(before, params)
    assert before[turn] == wire.request("turn/get", turnId=turn)


@pytest.mark.parametrize(
    ("since", "store_id", "reset"), [(0, None, False), (0, UNKNOWN, True), (10**6, None, True), (None, UNKNOWN, False)]
)
def test_a_since_that_means_nothing_here_gives_the_state_instead(
    wire: Wire, since: int | None, store_id: str | None, reset: bool
) -> None:
    conversation = Conversation(wire)
    turn = conversation.turn(content="x")
    started = wire.request("turn/subscribe", since=since, storeId=store_id)
    assert started["reset"] is reset
    sessions = wire.request("session/subscribe", since=since, storeId=store_id)
    assert sessions["reset"] is reset
    if since == 0 and not reset:
        kinds = [wire.notification()["kind"]] + [wire.notification("session/updated")["kind"] for _ in range(3)]
        assert kinds == ["created", "created", "roundCreated", "updated"]
    else:
        assert [found["id"] for found in started["turns"]] == [turn]
        assert [found["id"] for found in sessions["sessions"]] == [conversation.session]
        assert started["seq"] == sessions["seq"] == 3


def test_a_subscription_starts_without_a_gap_while_another_process_streams(workspace: Path) -> None:
    with serving(workspace) as agent, serving(workspace) as watcher:
        turn = Conversation(agent).turn()
        posted = []
        for n in range(300):
            posted.append(agent.post("turn/append", turnId=turn, content=f"{n} "))
            if n == 150:
                started = watcher.request("turn/subscribe", turnId=turn, includeRaw=True)
        last = [agent.result(message_id) for message_id in posted][-1]
        state = {turn: started["turns"][0]}
        if state[turn]["seq"] < last["seq"]:
            for params in watcher.notifications_until(last["seq"]):
                assert params["seq"] > started["seq"]
                apply_update(state, params)
        assert state[turn] == agent.request("turn/get", turnId=turn)


def test_the_reply_to_a_subscribe_comes_before_its_first_notification(wire: Wire) -> None:
    turn = Conversation(wire).turn()
    subscribe = {"jsonrpc": "2.0", "id": "s", "method": "turn/subscribe", "params": {"turnId": turn}}
    append = {"jsonrpc": "2.0", "id": "a", "method": "turn/append", "params": {"turnId": turn, "content": "x"}}
    wire.send_bytes(wire.frame(json.dumps(subscribe).encode()) + wire.frame(json.dumps(append).encode()))
    first = wire.next_message()
    assert first["id"] == "s"
    assert wire.notification()["content"] == "x"
    wire.answer("a")


def test_after_the_reply_to_an_unsubscribe_nothing_follows(wire: Wire) -> None:
    conversation = Conversation(wire)
    turns = wire.request("turn/subscribe")["subscriptionId"]
    sessions = wire.request("session/subscribe")["subscriptionId"]
    assert wire.error("session/unsubscribe", subscriptionId=turns)["data"]["entity"] == "subscription"
    wire.request("turn/unsubscribe", subscriptionId=turns)
    wire.request("session/unsubscribe", subscriptionId=sessions)
    wire.request("turn/append", turnId=conversation.turn(), content="x")
    assert wire.error("turn/unsubscribe", subscriptionId=turns)["code"] == -32010


def test_every_subscription_hears_its_own_range_turn_after_turn(wire: Wire) -> None:
    here, there = Conversation(wire), Conversation(wire)
    ranges = {
        "session": {"sessionId": here.session}, "response": {"responseId": here.response}, "all": {},
        "again": {"sessionId": here.session}, "there": {"sessionId": there.session},
    }  # fmt: skip
    names = {wire.request("turn/subscribe", **ranges[name])["subscriptionId"]: name for name in ranges}
    for conversation in (here, here, there):
        turn = conversation.turn()
        wire.request("turn/update", turnId=turn, status="completed")
    heard: dict[str, int] = dict.fromkeys(ranges, 0)
    for _ in range(4 + 4 + 4 + 6 + 2):
        heard[names[wire.notification()["subscriptionId"]]] += 1
    assert heard == {"session": 4, "response": 4, "again": 4, "all": 6, "there": 2}


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
    wire: Wire, delete: str, scope: str | None, ended: bool
) -> None:
    conversation = Conversation(wire)
    turn = conversation.turn()
    ids = {
        "turnId": turn, "responseId": conversation.response, "sessionId": conversation.session,
        "roundId": conversation.round,
    }  # fmt: skip
    subscription = wire.request("turn/subscribe", **({} if scope is None else {scope: ids[scope]}))["subscriptionId"]
    level = delete.partition("/")[0]
    wire.request(delete, **{f"{level}Id": ids[f"{level}Id"]})
    told = wire.notification()
    assert told["kind"] == {"turn": "deleted"}.get(level, f"{level}Deleted")
    below = {"session": ["roundId", "responseId", "turnId"], "round": ["responseId", "turnId"], "turn": []}[level]
    for name in ("sessionId", "roundId", "responseId", "turnId"):
        expected = {**ids, "responseId": conversation.response}[name]
        assert told[name] == (None if name in below else expected), name
    assert (told["index"], told["status"]) == ((0, "streaming") if level == "turn" else (None, None))
    if ended:
        end = wire.notification("subscription/ended")
        assert end == {"subscriptionId": subscription, "seq": told["seq"], "reason": "deleted"}
        assert wire.error("turn/unsubscribe", subscriptionId=subscription)["code"] == -32010


def test_a_session_is_told_of_all_that_moves_it(wire: Wire) -> None:
    session = wire.request("session/create")["id"]
    wire.request("session/subscribe", sessionId=session)
    made = wire.request("round/create", sessionId=session, content="?")
    wire.request("round/update", roundId=made["round"]["id"], metadata={"a": 1})
    wire.request("request/update", requestId=made["request"]["id"], content="!")
    turn = wire.request("turn/create", responseId=made["response"]["id"])["id"]
    wire.request("turn/append", turnId=turn, content="not told of")
    wire.request("response/update", responseId=made["response"]["id"], status="completed")
    wire.request("round/delete", roundId=made["round"]["id"])
    wire.request("session/update", sessionId=session, archived=True)
    wire.request("session/delete", sessionId=session)
    told = [wire.notification("session/updated") for _ in range(8)]
    assert [params["kind"] for params in told] == [
        "roundCreated", "roundUpdated", "requestUpdated", "updated", "responseUpdated", "roundDeleted", "updated",
        "deleted",
    ]  # fmt: skip
    assert (told[0]["round"], told[0]["response"]) == (made["round"], made["response"])
    assert (told[0]["request"]["content"], told[2]["request"]["content"]) == ("?", "!")
    assert told[4]["response"]["status"] == "completed"
    parts = ("roundId", "session", "round", "request", "response")
    assert [[name for name in parts if name in params] for params in told] == [
        ["roundId", "session", "round", "request", "response"], ["roundId", "session", "round"],
        ["roundId", "session", "request"], ["session"], ["roundId", "session", "response"], ["roundId", "session"],
        ["session"], [],
    ]  # fmt: skip
    assert {params["roundId"] for params in told if "roundId" in params} == {made["round"]["id"]}
    assert all(params["session"]["seq"] == params["seq"] for params in told[:-1])
    assert wire.notification("subscription/ended")["reason"] == "deleted"


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


def test_a_slow_reader_gets_everything_before_the_end(workspace: Path) -> None:
    ids = {name: f"0000000{n}-ac96-774b-bcce-b302099a8057" for n, name in enumerate(["session", "round", "a", "b"])}
    made = run_script(
        workspace,
        {"jsonrpc": "2.0", "id": 1, "method": "session/create", "params": {"id": ids["session"]}},
        {
            "jsonrpc": "2.0", "id": 2, "method": "round/create",
            "params": {"sessionId": ids["session"], "content": "?", "id": ids["round"]},
        },
    )  # fmt: skip
    response = made[1]["result"]["response"]["id"]
    calls: list[tuple[str, Message]] = [("turn/subscribe", {})]
    calls += [("turn/create", {"responseId": response, "id": ids[name]}) for name in "ab"]
    calls += [("turn/append", {"turnId": ids["ab"[n % 2]], "content": "x" * 2000}) for n in range(3000)]
    script = "".join(
        json.dumps({"jsonrpc": "2.0", "id": n, "method": method, "params": params}) + "\n"
        for n, (method, params) in enumerate(calls)
    )
    (workspace / "script").write_text(script)
    with (workspace / "script").open("rb") as source:
        process = subprocess.Popen(SERVER, stdin=source, stdout=subprocess.PIPE, cwd=workspace,
                                   env=clean_environment(workspace))  # fmt: skip
    assert process.stdout is not None
    time.sleep(0.5)
    with process.stdout as stream:
        messages = [json.loads(line) for line in stream]
    assert process.wait(TIMEOUT) == 0
    assert sorted(m["id"] for m in messages if "id" in m) == list(range(len(calls)))
    pieces = [m["params"] for m in messages if m.get("method") == "turn/updated" and m["params"]["kind"] == "appended"]
    assert sum(p["lastChunk"] - p["firstChunk"] + 1 for p in pieces) == 3000


def test_a_watcher_hears_another_process_at_once(workspace: Path) -> None:
    """Not a measurement: it would wait for ever if nobody looked."""
    with serving(workspace) as agent, serving(workspace) as watcher:
        conversation = Conversation(agent)
        watcher.request("turn/subscribe", responseId=conversation.response)
        turn = conversation.turn()
        for n in range(20):
            last = agent.request("turn/append", turnId=turn, content=str(n))
            if n == 10:
                time.sleep(0.6)  # long enough for the watcher to look less often
        told = watcher.notifications_until(last["seq"])
        assert "".join(params.get("content", "") for params in told) == "".join(map(str, range(20)))


def test_others_are_heard_of_by_a_server_that_is_busy_with_its_own_client(workspace: Path) -> None:
    """Neither reading nor writing without a pause may keep a watcher from hearing of another process."""
    with serving(workspace) as agent, serving(workspace) as watcher:
        conversation = Conversation(agent)
        own = Conversation(watcher).turn()
        subscription = watcher.request("turn/subscribe", sessionId=conversation.session)["subscriptionId"]
        turn = conversation.turn()
        for method, params in (("turn/append", {"turnId": own, "content": "x"}), ("request/get", {})):
            if method == "request/get":
                params = {"requestId": conversation.request}
            posted = [watcher.post(method, **params) for _ in range(300)]
            last = agent.request("turn/append", turnId=turn, content=method)
            posted += [watcher.post(method, **params) for _ in range(300)]
            assert watcher.notifications_until(last["seq"])[-1]["subscriptionId"] == subscription
            for message_id in posted:
                watcher.result(message_id)

"""What events become in a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acp.recorded import Store, Talk, driving, recording, until
from mandrake_sessions import SessionManager
from mandrake_sessions.acp.events import Began, Completed, Described, Put, Requested, Said, Used
from mandrake_sessions.client import RequestFailed
from mandrake_sessions.ids import new_id, now_ms
from mandrake_sessions.model import Relation, SessionState, ToolCallStatus, TurnStatus
from strict import StrictSyncClient, connected
from wire import store_of


@pytest.fixture
def store(database: Path) -> Store:
    return Store(database)


def test_a_conversation_is_stored_as_it_was(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put, cwd="/home/somebody", metadata={"client": "editor"})
        talk.put(Described("one", title="A talk", metadata={"mode": "ask"}))
        talk.ask("What is in here?", blocks=[{"type": "text", "text": "What is in here?"}], metadata={"n": 1})
        talk.say("Let me ", kind="thought")
        talk.more("think.")
        talk.whole()
        call = talk.call(title="ls", kind="execute", status="pending", arguments={"command": "ls"})
        talk.call(call, status="completed", response="a\nb\n")
        talk.say("Two files.")
        talk.put(Used("one", talk.round, {"input_tokens": 10, "cost": 0.5, "currency": "EUR"}))
        talk.put(Used("one", talk.round, {"output_tokens": 3}))
        talk.end(stop_reason="end_turn", metadata={"took": 2})
    session = store.session()
    assert (session.title, session.cwd, session.source) == ("A talk", "/home/somebody", "acp")
    assert session.metadata == {"client": "editor", "mode": "ask"}
    assert session.state is SessionState.IDLE
    assert store.talk() == [
        (
            "What is in here?",
            "completed",
            [("thought", "Let me think.", "completed"), ("tool_calls", "", "completed"),
             ("message", "Two files.", "completed")],
        )
    ]  # fmt: skip
    (each,) = store.rounds()
    assert (each.metadata, each.response.stop_reason) == ({"n": 1, "took": 2}, "end_turn")
    assert each.request.blocks == [{"type": "text", "text": "What is in here?"}]
    usage = each.response.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cost, usage.currency) == (10, 3, 0.5, "EUR")
    (made,) = each.response.turns[1].tool_calls
    assert (made.title, made.kind, made.status) == ("ls", "execute", ToolCallStatus.COMPLETED)
    assert (made.arguments, made.response) == ({"command": "ls"}, "a\nb\n")
    assert store.is_sound()


def test_a_session_is_stored_with_its_first_round_or_at_once_where_it_is_kept(store: Store) -> None:
    with recording(store.database) as homes:
        Talk(homes.put, "empty")
        Talk(homes.put, "kept", is_kept=True)
        Talk(homes.put, "asked").ask("?")
        until(lambda: len(store.sessions()) == 2)
    assert {session.external_id for session in store.sessions()} == {"kept", "asked"}


def test_a_watcher_in_another_process_sees_a_text_while_it_streams(workspace: Path) -> None:
    with connected(workspace) as client:
        client.session_create()
        changes = client.followed("turn/subscribe")
        client.let_be("turn/updated")
        with recording(store_of(workspace)) as homes:
            talk = Talk(homes.put)
            talk.ask("?")
            for number in range(5):
                talk.say(f"{number} ", again=number > 0)
                while not _text(client, talk.turn).endswith(f"{number} "):
                    next(changes)
                assert client.session_get(external_id="one", agent="codex").state == "running"


def _text(client: StrictSyncClient, turn: str) -> str:
    try:
        return client.turn_get(turn_id=turn).content or ""
    except RequestFailed:
        return ""


def test_a_round_that_runs_streams_whatever_was_said_last_and_waits_while_somebody_is_asked(store: Store) -> None:
    def state() -> SessionState:
        return store.session().state

    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        until(lambda: state() is SessionState.RUNNING)
        talk.say("Yes.")
        talk.whole()
        until(lambda: store.talk() == [("?", "open", [("message", "Yes.", "streaming")])])
        call = talk.call(title="rm", status="pending")
        talk.stand("requires_action")
        until(lambda: state() is SessionState.REQUIRES_ACTION)
        assert [turn[2] for turn in store.talk()[0][2]] == ["completed", "completed"]
        talk.call(call, status="in_progress")
        talk.stand("open")
        until(lambda: state() is SessionState.RUNNING)
        talk.say("Done.")
        talk.end()
    assert store.talk() == [
        ("?", "completed", [("message", "Yes.", "completed"), ("tool_calls", "", "completed"),
                            ("message", "Done.", "completed")])
    ]  # fmt: skip
    assert state() is SessionState.IDLE


def test_what_was_being_said_while_somebody_was_asked_goes_on(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        plan = talk.show("- [ ] one", is_ended=False)
        said = talk.say("a")
        talk.stand("requires_action")
        until(lambda: store.session().state is SessionState.REQUIRES_ACTION)
        talk.stand("open")
        until(lambda: store.session().state is SessionState.RUNNING)
        talk.put(Said("one", talk.round, said, "message", "b", now_ms()))
        talk.show("- [x] one", turn=plan)
        talk.end()
    assert store.talk() == [("?", "completed", [("plan", "- [x] one", "completed"), ("message", "ab", "completed")])]


@pytest.mark.parametrize("status", ["completed", "cancelled", "error", "interrupted"])
def test_how_a_round_ends(store: Store, status: Any) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("first")
        talk.say("par")
        talk.end(status=status, error="it broke" if status == "error" else None)
        talk.ask("second")
        talk.end(status=status, error="it broke" if status == "error" else None)
    first, second = store.rounds()
    assert (first.response.status, second.response.status) == (status, status)
    (turn,) = first.response.turns
    assert (turn.content, turn.status, turn.error) == ("par", status, "it broke" if status == "error" else None)
    told = [(turn.content, turn.status, turn.error) for turn in second.response.turns]
    assert told == ([("", "error", "it broke")] if status == "error" else [])


def test_a_turn_that_is_put_again_says_the_last_thing_also_once_it_had_ended(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        plan = talk.show("- [ ] one")
        talk.say("I begin.")
        talk.show("- [x] one", turn=plan)
        talk.end()
    assert sorted(store.talk()[0][2]) == [("message", "I begin.", "completed"), ("plan", "- [x] one", "completed")]


def test_a_request_that_came_in_pieces(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("Wh")
        talk.put(Requested("one", talk.round, "What?", [{"type": "text", "text": "What?"}]))
        talk.end()
    assert store.talk() == [("What?", "completed", [])]


def test_what_comes_late_goes_to_the_round_that_it_belongs_to(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("first")
        call = talk.call(status="in_progress")
        talk.end(status="cancelled")
        talk.call(call, status="failed")
        talk.say("too late")
        talk.ask("second")
        talk.end()
    first, second = store.rounds()
    assert first.response.status == "cancelled"
    assert first.response.turns[0].tool_calls[0].status is ToolCallStatus.FAILED
    assert [(turn.content, turn.status) for turn in first.response.turns[1:]] == [("too late", "completed")]
    assert second.response.turns == []


def test_queued_prompts_are_rounds_of_their_own(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        first = talk.ask("first")
        second = talk.ask("second")
        for talk.round, text in ((first, "1"), (second, "2")):
            talk.say(text)
            talk.end()
    assert store.talk() == [(text, "completed", [("message", said, "completed")])
                            for text, said in (("first", "1"), ("second", "2"))]  # fmt: skip


def test_a_session_is_found_again_by_the_next_process_and_goes_on(store: Store) -> None:
    for number in range(2):
        with driving(store.database) as driver:
            talk = Talk(driver.put, metadata={"run": number})
            talk.ask(f"{number}?")
            talk.say(f"{number}!")
            talk.end()
            assert driver.end() == (True, "")
    assert [each[0] for each in store.talk()] == ["0?", "1?"]
    assert store.session().metadata == {"run": 1}
    assert len(store.sessions()) == 1


def test_a_session_of_another_name_of_the_agent_goes_on_too(store: Store) -> None:
    with SessionManager(store.database) as manager:
        manager.create_session(agent="codex-acp", external_id="one", source="acp")
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        talk.end()
    (session,) = store.sessions()
    assert (session.agent, session.round_count) == ("codex-acp", 1)


@pytest.mark.parametrize("parent_first", [True, False])
@pytest.mark.parametrize("is_kept", [True, False])
def test_children_find_their_parents(store: Store, parent_first: bool, is_kept: bool) -> None:
    with recording(store.database) as homes:
        if parent_first:
            Talk(homes.put, "parent", is_kept=is_kept)
        child = Talk(homes.put, "child", relation="subagent", parent="parent", parent_tool_call="call")
        child.ask("?")
        child.end()
        until(lambda: store.session("child"))
        if not parent_first:
            parent = Talk(homes.put, "parent", is_kept=is_kept)
            parent.ask("?")
            parent.end()
    child_session = store.session("child")
    assert (child_session.relation, child_session.parent_tool_call_id) == (Relation.SUBAGENT, "call")
    assert child_session.parent_id == store.session("parent").id


def test_parents_in_a_circle_harm_nothing(store: Store) -> None:
    with recording(store.database) as homes:
        for name, parent in (("a", "b"), ("b", "a"), ("c", "c")):
            talk = Talk(homes.put, name, relation="fork", parent=parent)
            talk.ask("?")
            talk.end()
    assert len(store.sessions()) == 3
    assert store.is_sound()


def test_a_long_text_goes_on_in_the_next_turn(store: Store) -> None:
    with recording(store.database, turn_bytes=10) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        text = "äöü" * 7 + "€"
        talk.say(text[:3])
        for character in text[3:]:
            talk.more(character)
        talk.show("x" * 25, kind="plan")
        talk.end()
    turns = store.talk()[0][2]
    assert "".join(content for kind, content, _ in turns if kind == "message") == text
    assert "".join(content for kind, content, _ in turns if kind == "plan") == "x" * 25
    assert all(len(content.encode()) <= 10 and status == "completed" for _, content, status in turns)


def deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


ODD = {
    "surrogate": "\ud800",
    "name": {"\udfff": "x"},
    "deep": deep(200),
    "deeper": deep(50_000),
    "long": 10**60_000,
    "nan": float("nan"),
    "large": 2**80,
}


@pytest.mark.parametrize("value", ODD.values(), ids=list(ODD))
def test_what_the_store_does_not_take_is_stored_as_far_as_it_goes(store: Store, value: Any) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put, "odd \ud800", cwd="relative", metadata={"v": value})
        talk.ask("a\ud800b", blocks=[value], metadata={"v": value})
        talk.say("c\udfffd")
        talk.put(Put(talk.name, talk.round, new_id(), "plan", "\ud800", now_ms(), metadata={"v": value}))
        call = talk.call(title="t\ud800", arguments=value, response=value, locations=value, kind="x")
        talk.call(call, content=value, status="no such status", unknown=1)
        talk.put(Used(talk.name, talk.round, {"input_tokens": value, "output_tokens": 4}))
        talk.put(Described(talk.name, title="\ud800", metadata={"w": value}))
        talk.end(stop_reason="\ud800", metadata={"w": value})
    (session,) = store.sessions()
    with SessionManager(store.database) as manager:
        (each,) = manager.history(session.id).rounds
    assert (each.request.content, each.response.status) == ("a\ufffdb", "completed")
    assert each.response.usage is not None
    assert each.response.usage.output_tokens == 4
    assert [turn.kind for turn in each.response.turns] == ["message", "plan", "tool_calls"]
    assert each.response.turns[0].content == "c\ufffdd"
    assert each.response.turns[2].tool_calls[0].title == "t\ufffd"
    assert store.is_sound()


def test_an_event_that_cannot_be_stored_harms_no_other(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        homes.put(Said("one", talk.round, "no id", "message", "bad", now_ms()))
        homes.put(Said("one", new_id(), new_id(), "message", "bad", now_ms()))
        homes.put(Said("nobody", new_id(), new_id(), "message", "bad", now_ms()))
        homes.put(Completed("one", new_id(), new_id(), now_ms()))
        talk.say("good")
        talk.end()
    assert store.talk() == [("?", "completed", [("message", "good", "completed")])]
    assert "left out" in caplog.text


@pytest.mark.parametrize("what", ["session", "round", "turn"])
def test_what_somebody_deletes_meanwhile_stays_deleted(store: Store, what: str) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("first")
        turn = talk.say("gone")
        until(lambda: store.talk()[0][2][0][1] == "gone")
        with SessionManager(store.database) as manager:
            if what == "session":
                manager.delete_session(store.session().id)
            elif what == "round":
                manager.delete_round(talk.round)
            else:
                manager.delete_turn(turn)
        talk.more(" on")
        talk.say("other")
        talk.call(status="completed")
        talk.end()
        talk.ask("second")
        talk.end()
        Talk(homes.put, "another").ask("?")
    rest = ("first", "completed", [("message", "other", "completed"), ("tool_calls", "", "completed")])
    expected: Any = {"session": None, "round": [("second", "completed", [])],
                "turn": [rest, ("second", "completed", [])]}[what]  # fmt: skip
    if expected is None:
        assert [session.external_id for session in store.sessions()] == ["another"]
    else:
        assert store.talk() == expected
    assert store.is_sound()


def test_a_title_that_somebody_gives_meanwhile_stays(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.put(Described("one", title="Theirs"))
        talk.ask("?")
        until(lambda: store.session().title == "Theirs")
        with SessionManager(store.database) as manager:
            manager.update_session(store.session().id, title="Ours")
        talk.put(Described("one", title="Theirs again"))
        talk.end()
    assert store.session().title == "Ours"


def test_a_killed_recorder_leaves_interrupted_turns_and_the_session_goes_on(store: Store) -> None:
    with driving(store.database) as driver:
        talk = Talk(driver.put)
        talk.ask("first")
        talk.say("half")
        talk.whole()
        queued = talk.ask("queued")
        until(lambda: len(store.talk()) == 2)
        driver.kill()
    until(lambda: [each[1] for each in store.talk()] == ["interrupted", "interrupted"])
    assert store.talk()[0] == ("first", "interrupted", [("message", "half", "interrupted")])
    assert store.session().state is SessionState.FAILED
    assert queued in {each.id for each in store.rounds()}
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("third")
        talk.end()
    assert [each[1] for each in store.talk()] == ["interrupted", "interrupted", "completed"]
    assert store.is_sound()


@pytest.mark.parametrize("how", ["the session goes on", "another one begins"])
def test_a_recorder_that_is_killed_while_somebody_is_asked_leaves_nothing_waiting(store: Store, how: str) -> None:
    with driving(store.database) as driver:
        talk = Talk(driver.put)
        talk.ask("may I?")
        talk.call(status="pending")
        talk.stand("requires_action")
        until(lambda: store.session().state is SessionState.REQUIRES_ACTION)
        # While it lives, no other recorder takes it for dead.
        with recording(store.database) as homes:
            Talk(homes.put, "other").ask("?")
        with recording(store.database) as homes:
            Talk(homes.put, "one", is_kept=True)
        assert store.session().state is SessionState.REQUIRES_ACTION
        driver.kill()
    with recording(store.database) as homes:
        Talk(homes.put, "one" if how == "the session goes on" else "third", is_kept=True)
    assert store.session().state is SessionState.FAILED
    assert store.talk()[0][1] == "interrupted"


def test_a_recorder_that_is_killed_while_it_is_asked_first_of_all_leaves_nothing_waiting(store: Store) -> None:
    with driving(store.database) as driver:
        talk = Talk(driver.put)
        talk.ask("may I?")
        talk.stand("requires_action")
        until(lambda: store.session().state is SessionState.REQUIRES_ACTION)
        driver.kill()
    with recording(store.database) as homes:
        Talk(homes.put, "third", is_kept=True)
    assert store.talk()[0][1] == "interrupted"


def test_rounds_that_nobody_ended_are_interrupted_at_the_end(store: Store) -> None:
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        talk.say("half")
    assert store.talk() == [("?", "interrupted", [("message", "half", "interrupted")])]


def test_a_flood_is_stored_whole(store: Store) -> None:
    text = "".join(f"{number} " for number in range(30_000))
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("?")
        first, second = new_id(), new_id()
        for number, piece in enumerate(text.split(" ")[:-1]):
            turn, kind = ((first, "message"), (second, "thought"))[number % 2]
            homes.put(Said("one", talk.round, turn, kind, f"{piece} ", now_ms()))
        talk.end()
    said = {kind: content.split() for kind, content, _ in store.talk()[0][2]}
    assert said == {"message": text.split()[0::2], "thought": text.split()[1::2]}


def test_a_turn_of_a_resumed_session_is_not_told_twice(store: Store) -> None:
    """The same events again, as after a kill: nothing changes."""
    events: list[Any] = []
    with recording(store.database) as homes:

        def put(event: Any) -> None:
            events.append(event)
            homes.put(event)

        talk = Talk(put)
        talk.ask("?")
        talk.say("abc")
        talk.more("def")
        talk.call(status="completed", response="x")
        talk.say("ghi")
        talk.end()
    before = json.dumps(store.talk())
    with recording(store.database) as homes:
        for event in events:
            homes.put(event)
    assert json.dumps(store.talk()) == before
    assert isinstance(events[0], Began)
    assert all(turn.status is TurnStatus.COMPLETED for turn in store.rounds()[0].response.turns)

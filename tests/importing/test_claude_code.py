"""Transcripts of Claude Code: branches, forks, subagents, and what only looks like a request."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from importing.following import add_line, following, until
from importing.importing import Place
from importing.transcripts import Claude, claude
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Origin, Relation
from mandrake_sessions.operations.indexing import fill_index

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


def test_one_reply_is_counted_once_with_its_last_record(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    talk.block({"type": "thinking", "thinking": "Hm."}, "msg_1", tokens=1)
    talk.say("Hello.", "msg_1", tokens=7)
    talk.say("And more.", "msg_2", tokens=5)
    talk.write()
    place.bring()
    ((_, turns),) = [(each.request.content, each.response.turns) for each in place.rounds(ONE)]
    assert [(turn.kind, turn.input_tokens) for turn in turns] == [("thought", 0), ("message", 7), ("message", 5)]


@pytest.mark.parametrize("grows", [False, True])
def test_the_branch_that_was_used_last_is_the_session(place: Place, grows: bool) -> None:
    talk = claude(place.home, ONE)
    talk.ask("First")
    after_first = talk.say("One", "msg_1")
    talk.ask("Second")
    talk.say("Two", "msg_2")
    talk.ask("Third")
    talk.say("Three", "msg_3")
    if grows:
        talk.write()
        place.bring()
    talk.ask("Another second", parent=after_first)
    talk.say("Other", "msg_4")
    talk.write()
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Another second", ["Other"])]
    (fork,) = [session for session in place.sessions() if session.relation is Relation.FORK]
    assert place.talk(session_id=fork.id) == [("First", ["One"]), ("Second", ["Two"]), ("Third", ["Three"])]
    with SessionManager(place.database) as manager:
        used = manager.usage()
    assert (used.rounds, used.turns, used.totals[0].input_tokens) == (4, 4, 40)
    before = place.sessions()
    place.bring()
    assert place.sessions() == before
    talk.ask("And on")
    talk.say("Good", "msg_5")
    talk.write()
    place.bring()
    assert place.talk(ONE)[-1] == ("And on", ["Good"])
    assert len(place.sessions()) == 2
    assert place.is_sound()


def fork_of(talk: Claude, place: Place, *, names_parent: bool) -> Claude:
    """A session that begins with copies of another's records."""
    fork = claude(place.home, TWO)
    for record in deepcopy(talk.records):
        record["sessionId"] = TWO
        if names_parent and record["type"] == "assistant":
            record["requestSessionId"] = ONE
        fork.records.append(record)
    fork.last = talk.last
    fork.ask("In the fork")
    fork.say("Yes", "msg_fork")
    return fork


@pytest.mark.parametrize("names_parent", [True, False])
def test_a_fork_does_not_double_what_it_inherits(place: Place, names_parent: bool) -> None:
    talk = claude(place.home, ONE)
    talk.ask("First")
    talk.say("One", "msg_1")
    talk.write()
    if not names_parent:
        place.bring()
    fork_of(talk, place, names_parent=names_parent).write()
    place.bring()
    assert place.talk(TWO) == [("First", ["One"]), ("In the fork", ["Yes"])]
    first, _ = place.rounds(TWO)
    assert first.copied_from_id == place.rounds(ONE)[0].id
    with SessionManager(place.database) as manager:
        assert (manager.usage().rounds, manager.usage().totals[0].input_tokens) == (2, 20)
        session = manager.get_session(external_id=TWO)
        assert (session.relation, session.parent_id) == ("fork", manager.get_session(external_id=ONE).id)
    assert place.is_sound()


@pytest.mark.parametrize("parent_goes_on", [False, True])
@pytest.mark.parametrize("order", [(ONE, TWO), (TWO, ONE), ()])
def test_a_fork_that_does_not_name_its_parent(place: Place, order: tuple[str, ...], parent_goes_on: bool) -> None:
    """Older versions name it nowhere. The parent is the one that was gone on with first, or not at all."""
    talk = claude(place.home, ONE)
    talk.ask("First")
    talk.say("One", "msg_1")
    fork = fork_of(talk, place, names_parent=False)
    if parent_goes_on:
        talk.ask("In the parent")
        talk.say("No", "msg_2")
        fork.records[-2]["timestamp"] = "2026-03-01T10:30:00.000Z"
        fork.records[-1]["timestamp"] = "2026-03-01T10:31:00.000Z"
    fork.write()
    talk.write()
    for session in order:
        place.bring(talk.path.with_name(f"{session}.jsonl"))
    place.bring()
    found = {session.external_id: session for session in place.sessions()}
    assert (found[ONE].relation, found[ONE].parent_id) == (None, None)
    assert (found[TWO].relation, found[TWO].parent_id) == ("fork", found[ONE].id)
    fork.ask("And on")
    fork.say("Good", "msg_5")
    fork.write()
    place.bring()
    with SessionManager(place.database) as manager:
        assert manager.get_session(external_id=TWO).parent_id == found[ONE].id
        assert manager.usage().totals[0].input_tokens == 30 + 10 * parent_goes_on
    assert place.is_sound()


def test_a_fork_that_is_made_while_it_is_followed_gets_its_parent(place: Place) -> None:
    """Of a conversation that was gone on with since the place where the fork begins."""
    talk = claude(place.home, ONE)
    talk.ask("First")
    talk.say("One", "msg_1")
    fork = fork_of(talk, place, names_parent=False)
    talk.ask("In the parent")
    talk.say("No", "msg_2")
    talk.write()
    for record in fork.records[-2:]:
        record["timestamp"] = record["timestamp"].replace("T10:", "T11:")
    with following(place):
        for number, record in enumerate(fork.records):
            add_line(fork.path, record)
            if number < 2:
                until(lambda: len(place.sessions()) == 2)
                assert {session.parent_id for session in place.sessions()} == {None}
        until(lambda: any(session.relation is Relation.FORK for session in place.sessions()))
    found = {session.external_id: session for session in place.sessions()}
    assert (found[ONE].parent_id, found[TWO].parent_id) == (None, found[ONE].id)


def test_the_ids_of_another_session_take_nothing_from_it(place: Place) -> None:
    """A file with the uuids of another's requests, and other words."""
    talk = claude(place.home, ONE)
    talk.ask("Mine", uuid="shared")
    talk.say("One", "msg_1")
    talk.write()
    other = claude(place.home, TWO)
    other.ask("Theirs", uuid="shared")
    other.say("Two", "msg_1")
    other.write()
    place.bring()
    assert (place.talk(ONE), place.talk(TWO)) == ([("Mine", ["One"])], [("Theirs", ["Two"])])
    with SessionManager(place.database) as manager:
        assert manager.usage().rounds == 2


def test_a_subagent_hangs_from_the_call_that_started_it(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Delegate")
    talk.call("call_1", "msg_1")
    talk.answer("call_1", "launched")
    talk.say("Done", "msg_2")
    talk.write()
    child = Claude(talk.path.parent / ONE / "subagents" / "agent-abc.jsonl", ONE)
    child.ask("Look around", isSidechain=True, agentId="abc")
    child.say("I did", "msg_3", isSidechain=True, agentId="abc")
    child.write()
    about = {"agentType": "general", "description": "Looks around", "toolUseId": "call_1"}
    child.path.with_suffix("").with_suffix(".meta.json").write_text(json.dumps(about))
    place.bring()
    (found,) = [session for session in place.sessions() if session.relation is Relation.SUBAGENT]
    (parent,) = [session for session in place.sessions() if session.relation is None]
    assert (found.external_id, found.parent_id, found.parent_tool_call_id) == ("abc", parent.id, "call_1")
    assert (found.description, found.metadata["agentType"]) == ("Looks around", "general")
    assert place.talk("abc") == [("Look around", ["I did"])]
    assert place.rounds("abc")[0].origin is Origin.USER


def test_what_the_program_says_in_a_person_s_name_is_no_request(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Caveat", isMeta=True)
    talk.ask("Hello")
    talk.say("Hello.", "msg_1")
    talk.ask("<task-notification>done</task-notification>", promptSource="system", origin={"kind": "task-notification"})
    talk.say("It is done.", "msg_2")
    talk.ask("<command-name>/cost</command-name><command-args></command-args>")
    talk.ask("<local-command-stdout>0.01</local-command-stdout>")
    talk.ask("<command-message>review</command-message><command-name>/review</command-name>"
             "<command-args>all</command-args>")  # fmt: skip
    talk.ask("Review it all", isMeta=True)
    talk.say("Reviewed.", "msg_3")
    talk.write()
    place.bring()
    assert [(each.origin, each.request.content) for each in place.rounds(ONE)] == [
        ("user", "Hello"), ("system", ""), ("system", "/cost"), ("user", "/review all"),
    ]  # fmt: skip
    assert [said for _, said in place.talk(ONE)] == [["Hello."], ["It is done."], ["0.01"], ["Reviewed."]]
    with SessionManager(place.database) as manager:
        fill_index(manager.store)
        (hit,) = manager.search("notification").hits
    assert hit.round_id == place.rounds(ONE)[1].id


def test_an_interrupted_reply_is_interrupted(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Tell")
    talk.say("I was sayi", "msg_1", stop=None)
    talk.ask("[Request interrupted by user]")
    talk.ask("Again")
    talk.call("call_1", "msg_2")
    talk.ask("[Request interrupted by user for tool use]")
    talk.ask("Nobody answers")
    talk.ask("Bye")
    talk.say("Bye.", "msg_3")
    talk.write()
    place.bring()
    rounds = place.rounds(ONE)
    assert [each.response.status for each in rounds] == ["interrupted", "interrupted", "interrupted", "completed"]
    assert [turn.status for each in rounds for turn in each.response.turns] == ["interrupted", "completed", "completed"]
    assert rounds[1].response.turns[0].tool_calls[0].status == "failed"


def test_a_compaction_is_marked_and_what_was_before_is_kept(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("First")
    talk.say("One", "msg_1", stop="tool_use")
    talk.add("system", parent=None, subtype="compact_boundary", compactMetadata={"trigger": "auto", "preTokens": 9})
    talk.ask("The summary", isCompactSummary=True)
    talk.say("Two", "msg_2")
    talk.write()
    place.bring()
    asked, marked = place.rounds(ONE)
    assert [turn.content for turn in asked.response.turns] == ["One", "Two"]
    (turn,) = marked.response.turns
    assert (marked.origin, turn.kind, turn.content) == ("system", "compaction", "The summary")
    assert turn.metadata == {"trigger": "auto", "preTokens": 9}


def test_pictures_stay_in_the_blocks_of_a_request(place: Place) -> None:
    talk = claude(place.home, ONE)
    picture = {"type": "image", "source": {"type": "base64", "data": "AAAA"}}
    content = [picture, {"type": "text", "text": "What is it?"}]
    talk.add("user", message={"role": "user", "content": content})
    talk.write()
    place.bring()
    (asked,) = place.rounds(ONE)
    assert (asked.request.content, asked.request.blocks) == ("What is it?", content)


def test_a_branch_that_was_left_can_be_gone_back_to(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("First")
    one = talk.say("One", "msg_1")
    talk.ask("Left")
    left = talk.say("Two", "msg_2")
    talk.ask("Other", parent=one)
    talk.say("Three", "msg_3")
    talk.write()
    place.bring()
    talk.ask("Back", parent=left)
    talk.say("Four", "msg_4")
    for _ in range(2):
        talk.write()
        place.bring()
        assert place.talk(ONE) == [("First", ["One"]), ("Left", ["Two"]), ("Back", ["Four"])]
        talk.add("progress")
    forks = [place.talk(session_id=session.id) for session in place.sessions() if session.external_id is None]
    assert [("First", ["One"]), ("Other", ["Three"])] in forks
    with SessionManager(place.database) as manager:
        used = manager.usage()
    assert (used.rounds, used.turns, used.totals[0].input_tokens) == (4, 4, 40)
    assert place.is_sound()
    # The same in one go.
    place.database.unlink()
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Left", ["Two"]), ("Back", ["Four"])]


def queued(talk: Claude, operation: str, text: str | None = None) -> None:
    record = {"type": "queue-operation", "operation": operation, "timestamp": "2026-03-01T10:00:00.000Z"}
    talk.records.append(record if text is None else record | {"content": text})


@pytest.mark.parametrize("first", range(12))
def test_what_was_typed_meanwhile_may_stand_in_the_queue_alone(place: Place, first: int) -> None:
    talk = claude(place.home, ONE)
    queued(talk, "enqueue", "First")
    queued(talk, "dequeue")
    talk.ask("First")
    talk.call("call_1", "msg_1")
    queued(talk, "enqueue", "Alone")
    queued(talk, "enqueue", "Taken back")
    queued(talk, "popAll")
    queued(talk, "enqueue", "Alone")
    talk.answer("call_1", "done")
    queued(talk, "remove", "Alone")
    talk.say("I see.", "msg_2")
    queued(talk, "enqueue", "Waits")
    talk.write(upto=first)
    place.bring()
    talk.write()
    place.bring()
    assert place.talk(ONE) == [("First", [""]), ("Alone", ["I see."])]
    assert place.rounds(ONE)[1].origin is Origin.USER


def test_inline_subagents_of_early_versions_are_sessions(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Delegate", version="1.0.95")
    block = {"type": "tool_use", "id": "call_1", "name": "Task", "input": {"prompt": "Look around"}}
    call = talk.block(block, "msg_1", stop=None)
    side = talk.ask("Look around", parent=None, isSidechain=True)
    talk.say("I did", "msg_2", isSidechain=True, parent=side)
    other = talk.ask("Something else", parent=None, isSidechain=True)
    talk.say("Also", "msg_3", isSidechain=True, parent=other)
    talk.add("user", parent=call, message={"content": [{"type": "tool_result", "tool_use_id": "call_1",
                                                        "content": "I did"}]})  # fmt: skip
    talk.say("Done", "msg_4", stop=None)
    # As the program writes it: without blanks.
    talk.path.parent.mkdir(parents=True)
    lines = [json.dumps(record, separators=(",", ":")) for record in talk.records]
    talk.path.write_text("\n".join(lines[:3]) + "\n")
    place.bring()
    talk.path.write_text("\n".join(lines) + "\n")
    place.bring()
    assert place.talk(ONE) == [("Delegate", ["", "Done"])]
    assert place.rounds(ONE)[0].response.status == "completed"
    (parent,) = [session for session in place.sessions() if session.external_id == ONE]
    found = {session.external_id: session for session in place.sessions() if session.external_id != ONE}
    assert {name: (each.relation, each.parent_id, each.parent_tool_call_id) for name, each in found.items()} == {
        f"{ONE} {side}": ("subagent", parent.id, "call_1"), f"{ONE} {other}": ("subagent", parent.id, None),
    }  # fmt: skip
    assert place.talk(f"{ONE} {side}") == [("Look around", ["I did"])]
    assert place.talk(f"{ONE} {other}") == [("Something else", ["Also"])]
    assert place.told()[-1]["turns"] == 0
    assert place.is_sound()


def test_inline_subagents_of_later_versions_are_told_apart_by_their_names(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Delegate")
    block = {"type": "tool_use", "id": "call_1", "name": "Agent", "input": {"prompt": "Look around"}}
    call = talk.block(block, "msg_1")
    talk.ask("Look around", parent=None, isSidechain=True, agentId="abc")
    talk.ask("Something else", parent=None, isSidechain=True, agentId="def")
    talk.say("I did", "msg_2", isSidechain=True, parent="left out", agentId="abc")
    talk.say("Also", "msg_3", isSidechain=True, parent="left out", agentId="def")
    talk.last = call
    talk.answer("call_1", "I did")
    talk.say("Done", "msg_4")
    talk.path.parent.mkdir(parents=True)
    talk.path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in talk.records))
    place.bring()
    found = {session.external_id: session for session in place.sessions()}
    parent = found.pop(ONE).id
    assert {name: (each.relation, each.parent_id, each.parent_tool_call_id) for name, each in found.items()} == {
        f"{ONE} abc": ("subagent", parent, "call_1"), f"{ONE} def": ("subagent", parent, None),
    }  # fmt: skip
    assert place.talk(ONE) == [("Delegate", ["", "Done"])]
    assert place.talk(f"{ONE} abc") == [("Look around", ["I did"])]
    assert place.talk(f"{ONE} def") == [("Something else", ["Also"])]
    assert place.is_sound()


def test_a_parent_that_comes_later_gets_its_children(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("First")
    talk.say("One", "msg_1")
    child = Claude(talk.path.parent / ONE / "subagents" / "agent-abc.jsonl", "child")
    child.ask("Look around", isSidechain=True, agentId="abc")
    child.say("I did", "msg_3", isSidechain=True, agentId="abc")
    child.write()
    child.path.with_suffix("").with_suffix(".meta.json").write_text(json.dumps({"toolUseId": "call_1"}))
    fork_of(talk, place, names_parent=True).write()
    place.bring()
    assert [session.parent_id for session in place.sessions()] == [None, None]
    talk.write()
    place.bring()
    found = {session.external_id: session for session in place.sessions()}
    parent = found[ONE].id
    assert (found["abc"].parent_id, found["abc"].relation, found["abc"].parent_tool_call_id) == (
        parent, "subagent", "call_1",
    )  # fmt: skip
    assert (found[TWO].parent_id, found[TWO].relation) == (parent, "fork")
    with SessionManager(place.database) as manager:
        assert (manager.usage().rounds, manager.usage().totals[0].input_tokens) == (3, 30)
    assert place.is_sound()


def test_records_of_progress_stand_between_others(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("First")
    talk.call("call_1", "msg_1")
    talk.add("progress", data={"type": "hook_progress"})
    talk.answer("call_1", "done")
    talk.say("One", "msg_2", stop=None)
    talk.add("progress", data={"type": "hook_progress"})
    talk.ask("Second")
    talk.say("Two", "msg_3", stop=None)
    talk.write()
    place.bring()
    assert place.talk(ONE) == [("First", ["", "One"]), ("Second", ["Two"])]
    assert [each.response.status for each in place.rounds(ONE)] == ["completed", "completed"]
    assert [turn.status for each in place.rounds(ONE) for turn in each.response.turns] == ["completed"] * 3

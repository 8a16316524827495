"""Running it again: nothing comes twice, what has grown brings the new, and what was written again is noticed."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from commands.running import run
from importing.importing import Place
from importing.transcripts import Claude, claude
from mandrake_sessions import SessionManager
from mandrake_sessions.model import TurnStatus
from wire import SERVER, TIMEOUT

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


def two_rounds(home: Path) -> Claude:
    talk = claude(home, ONE)
    talk.ask("What is in here?")
    talk.say("I look.", "msg_1", stop="tool_use")
    talk.call("call_1", "msg_1")
    talk.answer("call_1", "a.txt")
    talk.say("A file.", "msg_2")
    talk.ask("Which?")
    talk.say("a.txt", "msg_3")
    return talk


def test_nothing_comes_twice(place: Place) -> None:
    two_rounds(place.home).write()
    first = place.told()
    assert [line["what"] for line in first if line["type"] == "source"] == ["new"]
    before = place.sessions()
    (end,) = place.told()
    assert (end["sources"], end["sessions"], end["turns"]) == (1, 0, 0)
    assert place.sessions() == before
    assert place.talk(ONE) == [("What is in here?", ["I look.", "A file."]), ("Which?", ["a.txt"])]
    assert place.is_sound()


@pytest.mark.parametrize("first", range(8))
def test_a_file_that_has_grown_brings_only_the_new(place: Place, first: int) -> None:
    """Wherever it ended before: between rounds, in a reply, before a tool has answered."""
    talk = two_rounds(place.home)
    talk.write(upto=first)
    place.bring()
    talk.write()
    place.bring()
    assert place.talk(ONE) == [("What is in here?", ["I look.", "A file."]), ("Which?", ["a.txt"])]
    (asked, _), ended = place.rounds(ONE), place.rounds(ONE)[-1].response
    (call,) = asked.response.turns[0].tool_calls
    assert (call.response, call.status) == ("a.txt", "completed")
    assert ended.status == "completed"
    with SessionManager(place.database) as manager:
        used = manager.usage()
    assert (used.totals[0].input_tokens, used.totals[0].output_tokens) == (30, 60)
    assert (used.rounds, used.turns, used.tool_calls) == (2, 3, 1)
    assert place.is_sound()


def test_half_a_line_waits_for_its_other_half(place: Place) -> None:
    talk = two_rounds(place.home)
    talk.write(upto=6, tail=b'{"type":"assistant","mess')
    assert not place.bring().err
    assert place.talk(ONE)[1] == ("Which?", [])
    assert place.rounds(ONE)[1].response.status == "open"
    talk.write()
    place.bring()
    assert place.talk(ONE)[1] == ("Which?", ["a.txt"])


@pytest.mark.parametrize("how", ["cut", "rewritten"])
def test_a_file_that_was_written_again_is_noticed(place: Place, how: str) -> None:
    talk = two_rounds(place.home)
    talk.write()
    place.bring()
    if how == "rewritten":
        talk.records[0]["message"]["content"] = "Something else, and of another length?"
        talk.records[0]["uuid"] = "another"
    talk.write(upto=None if how == "rewritten" else 3)
    told = place.bring(code=1).err
    assert f"{talk.path}: the file is" in told
    assert "nothing deleted" in told
    # What it held is still there.
    assert {"What is in here?", "Which?"} <= {request for request, _ in place.talk(ONE)}
    place.bring()


def test_a_deleted_session_does_not_come_back(place: Place) -> None:
    talk = two_rounds(place.home)
    talk.write()
    place.bring()
    (session,) = place.sessions()
    run(place.workspace, "delete", session.id, "--yes", "--database", place.database)
    talk.ask("More?")
    talk.write()
    assert "1 deleted here" in place.bring().out
    assert place.sessions() == []


def test_a_copy_of_its_file_does_not_bring_a_deleted_session_back(place: Place, tmp_path: Path) -> None:
    talk = two_rounds(place.home)
    talk.write()
    place.bring()
    (session,) = place.sessions()
    run(place.workspace, "delete", session.id, "--yes", "--database", place.database)
    shutil.copy(talk.path, tmp_path)
    assert "1 deleted here" in place.bring(tmp_path / talk.path.name).out
    assert "1 deleted here" in place.bring().out
    assert place.sessions() == []


def test_a_session_that_was_recorded_live_is_not_brought_in_again(place: Place) -> None:
    two_rounds(place.home).write()
    with SessionManager(place.database) as manager:
        session = manager.create_session(agent="claude-code", external_id=ONE, source="acp")
        response = manager.create_round(session.id, content="What is in here?").response
        manager.create_turn(response.id, content="I look.", status=TurnStatus.COMPLETED)
    assert "1 recorded here while they went on" in place.bring().out
    assert place.talk(ONE) == [("What is in here?", ["I look."])]


def test_a_title_that_somebody_gave_here_stays(place: Place) -> None:
    talk = two_rounds(place.home)
    talk.add("custom-title", customTitle="Theirs")
    talk.write()
    place.bring()
    (session,) = place.sessions()
    assert session.title == "Theirs"
    run(place.workspace, "rename", session.id, "Ours", "--database", place.database)
    talk.ask("More?")
    talk.write()
    place.bring()
    assert place.sessions()[0].title == "Ours"
    talk.add("custom-title", customTitle="Theirs again")
    talk.write()
    place.bring()
    assert place.sessions()[0].title == "Theirs again"


def test_a_file_that_has_moved_is_the_same(place: Place) -> None:
    talk = two_rounds(place.home)
    talk.write()
    place.bring()
    moved = Claude(talk.path.parent.parent / "elsewhere" / talk.path.name, ONE)
    moved.path.parent.mkdir()
    talk.path.rename(moved.path)
    (end,) = place.told()
    assert (end["sources"], end["sessions"], end["rounds"]) == (1, 0, 0)


def test_two_at_once_bring_all_in_and_both_say_so(place: Place) -> None:
    for number in range(40):
        talk = claude(place.home, f"{number:08}-1111-4111-8111-111111111111")
        for each in range(20):
            talk.ask(f"Hello {each}")
            talk.say("Hi." * 100, f"msg_{each}")
        talk.write()
    words = [*SERVER, "import", "--database", str(place.database)]
    environment = place.environment
    with ExitStack() as both:
        running = [
            both.enter_context(
                subprocess.Popen(
                    words, cwd=place.workspace, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
            )
            for _ in range(2)
        ]
        told = [process.communicate(timeout=TIMEOUT * 3)[1] for process in running]
    assert told == [b"", b""]
    assert [process.returncode for process in running] == [0, 0]
    assert [session.round_count for session in place.sessions()] == [20] * 40


def test_a_record_twice_in_a_branch_that_was_left_keeps_nothing_out(place: Place) -> None:
    talk = claude(place.home, ONE)
    first = talk.ask("One")
    other = talk.ask("Other", parent=None)
    talk.ask("Two", parent=first)
    talk.records.append(next(record for record in talk.records if record["uuid"] == other))
    talk.ask("Three", parent=talk.records[2]["uuid"])
    talk.records.append(talk.records[1])
    talk.write()
    place.bring()
    said = {request for session in place.sessions() for request, _ in place.talk(session_id=session.id)}
    assert said == {"One", "Other", "Two", "Three"}


def test_a_child_that_grows_before_its_parent_comes_finds_it(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Look")
    talk.call("call_1", "msg_9")
    agent = Claude(talk.path.parent / ONE / "subagents" / "agent-abc.jsonl", ONE)
    agent.ask("Look", isSidechain=True)
    agent.say("Seen.", "msg_a", isSidechain=True)
    agent.write()
    place.bring()
    agent.ask("More?", isSidechain=True)
    agent.say("No.", "msg_b", isSidechain=True)
    agent.write()
    place.bring()
    talk.write()
    place.bring()
    parents = {session.external_id: session.parent_id for session in place.sessions()}
    assert parents["abc"] is not None


def test_what_was_recorded_under_another_name_of_the_program_is_not_brought_in_again(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    talk.write()
    with SessionManager(place.database) as manager:
        made = manager.create_session(agent="claude-code-acp", external_id=ONE, source="acp")
    place.bring()
    assert [session.id for session in place.sessions()] == [made.id]


def test_a_last_round_that_says_something_else_by_now_is_told_of(place: Place) -> None:
    """Also where the file became longer. What was here stays."""
    talk = claude(place.home, ONE)
    talk.ask("First")
    talk.say("One", "msg_1")
    talk.ask("Second")
    talk.say("Two that failed.", "msg_2")
    talk.write()
    place.bring()
    talk.records[-1]["message"]["content"][0]["text"] = "Two that flunked."
    talk.say("Three", "msg_3")
    talk.write()
    told = place.bring(code=1)
    assert "another than what was read of it before" in told.err
    assert "Two that failed." in str(place.talk(ONE))
    assert place.is_sound()

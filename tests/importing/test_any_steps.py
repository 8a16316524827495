"""However a file has grown between two imports, the conversation becomes what one import of the whole file makes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from importing import test_gemini_cli as gemini
from importing.importing import Place
from importing.test_opencode import opencode
from importing.transcripts import claude, write_lines
from mandrake_sessions import SessionManager

ONE = "11111111-1111-4111-8111-111111111111"


def held(place: Place) -> list[Any]:
    """All that the store has, but for ids of its own and moments of writing."""
    with SessionManager(place.database) as manager:
        sessions = manager.list_sessions(archived=None, limit=100).sessions
        return sorted(
            [
                (
                    each.request.content,
                    each.origin,
                    each.response.status,
                    [
                        (turn.kind, turn.content, turn.status, turn.input_tokens, turn.output_tokens,
                         [(call.id, call.status, call.response) for call in turn.tool_calls])
                        for turn in each.response.turns
                    ],
                )
                for each in manager.history(session.id).rounds
            ]
            for session in sessions
        )  # fmt: skip


def claude_talk(home: Path) -> tuple[Path, list[dict[str, Any]]]:
    talk = claude(home, ONE)
    talk.ask("What?")
    # A reply that begins with nothing to be shown, one that is a call alone, and one that is a call after words.
    talk.block({"type": "thinking", "thinking": "", "signature": "x"}, "msg_1", stop=None)
    talk.say("I look.", "msg_1", stop=None)
    talk.call("call_1", "msg_1")
    talk.answer("call_1", "a.txt")
    talk.call("call_2", "msg_2", tokens=7)
    talk.answer("call_2", "b.txt")
    answered = talk.say("Two files.", "msg_3")
    # What the program puts in, and a request after that; then one beside both.
    talk.add("user", isMeta=True, message={"role": "user", "content": "A note."})
    talk.ask("And then?")
    talk.say("Nothing.", "msg_4")
    talk.ask("Or?", parent=answered)
    talk.say("More.", "msg_5")
    talk.add("system", subtype="compact_boundary", compactMetadata={"trigger": "manual", "preTokens": 5})
    talk.add("user", isCompactSummary=True, message={"role": "user", "content": "In short."})
    talk.ask("On?")
    talk.block({"type": "text", "text": "Half"}, "msg_6", stop=None)
    talk.ask("[Request interrupted by user]")
    return talk.path, talk.records


def gemini_talk(home: Path) -> tuple[Path, list[dict[str, Any]]]:
    place = Place(home, home)
    records = [
        *gemini.talk(),
        gemini.ask("q3", "hello", 20),
        gemini.say("a9", "The answer", 21),
        gemini.say("a9", "The answer is forty-two", 21),
        gemini.say("a10", "It is.", 22),
        gemini.say("a9", "No, forty", 21),
    ]
    return gemini.chat(place), records


def other(place: Place, tmp_path: Path) -> Place:
    made = Place(tmp_path / "other home", tmp_path / "other")
    made.workspace.mkdir()
    shutil.copytree(place.home, made.home)
    return made


@pytest.mark.parametrize("talk", [claude_talk, gemini_talk], ids=["claude-code", "gemini-cli"])
@pytest.mark.parametrize("step", [1, 3])
def test_a_file_that_grows_by_a_few_lines_at_a_time(place: Place, tmp_path: Path, talk: Any, step: int) -> None:
    path, records = talk(place.home)
    for count in range(step, len(records) + step, step):
        write_lines(path, records[:count])
        place.bring()
    at_once = other(place, tmp_path)
    at_once.bring()
    assert held(place) == held(at_once)
    assert place.is_sound()
    assert place.told()[-1]["turns"] == 0


def test_rows_that_come_one_after_the_other(place: Place, tmp_path: Path) -> None:
    with opencode(place) as database:
        database.session("s1")
        for number in range(3):
            asked, said = f"m{number}a", f"m{number}b"
            database.message(asked, "s1", role="user")
            place.bring()
            database.part(f"{asked}-1", asked, "s1", type="text", text=f"What of {number}?")
            place.bring()
            database.message(said, "s1", role="assistant", modelID="m", tokens={"input": 10, "output": 20})
            place.bring()
            database.text(f"{said}-1", said, "s1", f"This of {number}.")
            database.change("message", said, finish="stop", time={"created": 1, "completed": database.clock})
            place.bring()
        at_once = other(place, tmp_path)
        at_once.bring()
    assert held(place) == held(at_once)
    assert [words for _, words in place.talk("s1")] == [["This of 0."], ["This of 1."], ["This of 2."]]


def test_what_was_cut_takes_nothing_back(place: Place) -> None:
    path, records = claude_talk(place.home)
    write_lines(path, records[:8])
    place.bring()
    write_lines(path, records)
    place.bring()
    before = held(place)
    for count in (len(records) - 1, len(records) - 2, 3):
        write_lines(path, records[:count])
        assert "shorter than" in place.bring(code=1).err
        assert held(place) == before
    assert place.is_sound()


def test_a_copy_of_a_file_is_no_other_conversation(place: Place) -> None:
    """Programs copy a conversation's file when it goes on in another directory."""
    path, records = claude_talk(place.home)
    copy = path.parent.with_name("-elsewhere") / path.name
    write_lines(path, records[:8])
    write_lines(copy, records)
    for _ in range(4):
        assert place.bring().err == ""
    assert len(place.sessions()) == 2
    assert place.is_sound()

"""``import --follow`` of programs that do not write a file of lines for each conversation, or write several."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from commands.running import run
from importing import test_aider as aider
from importing import test_gemini_cli as gemini
from importing.following import WITHOUT_INOTIFY, Follower, add_line, following, until
from importing.importing import Place
from importing.test_opencode import opencode
from importing.transcripts import write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Change, ChangeKind

WAYS = pytest.mark.parametrize("program", [None, WITHOUT_INOTIFY], ids=["inotify", "looking"])
# The program in a Python where what nobody has written to for a second is settled.
HASTY = [
    sys.executable,
    "-c",
    "import sys; from mandrake_sessions.importing import follower, importer, readers, reading;"
    " from mandrake_sessions.cli import main; readers.readers(); readers.aider._SETTLED_SECONDS = 1;"
    " follower.REST_SECONDS = importer.REST_SECONDS = reading.REST_SECONDS = 1; sys.exit(main())",
]


@WAYS
def test_messages_that_are_written_again_count_once(place: Place, program: list[str] | None) -> None:
    with following(place, program=program):
        for record in gemini.talk():
            add_line(gemini.chat(place), record)
            time.sleep(0.02)
        until(lambda: place.talk(gemini.ONE)[1:] == [("Which?", ["This one.", "Done."])])
        # Its tokens come with the next look, at the latest.
    place.bring()
    gemini.check(place)
    assert place.is_sound()


@WAYS
def test_a_database_that_is_made_and_grows_appears_as_it_grows(place: Place, program: list[str] | None) -> None:
    with following(place, program=program), opencode(place) as database:
        database.session("s1")
        database.ask("m1", "s1", "First")
        until(lambda: place.talk("s1") == [("First", [])])
        database.say("m2", "s1", "One")
        until(lambda: place.talk("s1") == [("First", ["One"])])
        database.ask("m3", "s1", "Second")
        database.say("m4", "s1", "Two")
        until(lambda: place.talk("s1")[1:] == [("Second", ["Two"])])
    assert place.is_sound()


def test_subscribers_hear_of_each_round_of_a_database_once(place: Place) -> None:
    heard: list[Change] = []
    with following(place), opencode(place) as database, SessionManager(place.database) as manager:
        manager.add_listener(heard.append)
        for number in range(3):
            database.session(f"s{number}")
            database.ask(f"m{number}", f"s{number}", "First")
            until(lambda: place.talk(f"s{number}") == [("First", [])])  # noqa: B023
            database.say(f"n{number}", f"s{number}", "One")
            until(lambda: place.talk(f"s{number}") == [("First", ["One"])])  # noqa: B023
        until(lambda: [each.turn.content for each in heard if each.turn is not None].count("One") >= 3)
        kinds = [each.kind for each in heard]
    assert [kinds.count(kind) for kind in (ChangeKind.SESSION_CREATED, ChangeKind.ROUND_CREATED)] == [3, 3]


def test_a_last_reply_comes_when_its_file_has_settled(place: Place) -> None:
    path = aider.history(place, aider.HEAD, aider.FIRST)
    with following(place, path, program=HASTY) as follower:
        with path.open("a") as file:
            file.write("#### Hello\n\nGood day.\n")
        until(lambda: place.talk(aider.name_of(path))[-1] == ("Hello", ["Good day."]))
        assert follower.errors.read_text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_of_a_directory_with_one_file_of_a_program_only_that_is_watched(place: Place) -> None:
    """aider's file may lie at home, where there is all that somebody has."""
    for number in range(30):
        (place.home / "all" / str(number)).mkdir(parents=True)
    (place.home / aider.NAME).write_text(aider.HEAD + aider.FIRST)
    with following(place) as follower:
        assert len(place.sessions()) == 1
        # The directories above those of other programs, which are not there.
        assert _watches(follower) <= 5
        add_line(place.home / aider.NAME, b"#### Second\n\nTwo\n\n> Tokens: 10 sent, 5 received.\n")
        until(lambda: place.talk(session_id=place.sessions()[0].id)[-1] == ("Second", ["Two"]))


def _watches(follower: Follower) -> int:
    fdinfo = Path(f"/proc/{follower.process.pid}/fdinfo")
    return sum(path.read_text().count("inotify wd:") for path in fdinfo.iterdir())


@pytest.mark.parametrize("runs", [1, 2])
def test_every_file_of_a_session_is_kept_and_written_again(place: Place, runs: int) -> None:
    """The program begins another file where somebody goes on with a session, or looks at it."""
    alone = gemini.chats(place) / "session-2026-02-28T10-00-11111111.jsonl"
    write_lines(alone, [gemini.head(second=0)])
    os.utime(alone, (1, 1))
    first, second = gemini.chat(place), gemini.chats(place) / "session-2026-03-02T10-00-11111111.jsonl"
    write_lines(first, gemini.talk())
    write_lines(second, [gemini.head(second=60), gemini.ask("q9", "And now?", 61), gemini.say("a9", "Now.", 62)])
    if runs == 2:
        place.bring(alone)
    for _ in range(runs):
        place.bring()
    assert place.talk(gemini.ONE)[2:] == [("And now?", ["Now."])]
    wanted = {path: path.read_bytes() for path in (alone, first, second)}
    for path in wanted:
        path.unlink()
    session = place.sessions()[0].id
    run(place.workspace, "restore-transcript", session, "--database", place.database, HOME=str(place.home))
    assert {path: path.read_bytes() for path in wanted} == wanted

"""``import --follow``: what is written appears while it is written, once, whatever becomes of files and processes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from commands.running import run
from importing.following import PATIENCE, WITHOUT_INOTIFY, Follower, add_line, following, until
from importing.importing import Place
from importing.transcripts import Claude, claude, codex, codex_event, codex_item, codex_path, write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Change, ChangeKind

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
THREAD = "01a21705-b70c-7ec1-b748-b6ac50d90e32"
WAYS = pytest.mark.parametrize("program", [None, WITHOUT_INOTIFY], ids=["inotify", "looking"])


def tool_round(home: Path, session: str = ONE) -> Claude:
    """A round with replies of several blocks, and a second one."""
    talk = claude(home, session)
    talk.ask("What is in here?")
    talk.block({"type": "thinking", "thinking": "Hm."}, "msg_1", stop=None)
    talk.say("I look.", "msg_1", stop="tool_use")
    talk.call("call_1", "msg_1")
    talk.answer("call_1", "a.txt")
    talk.say("A file.", "msg_2")
    talk.ask("Which?")
    talk.say("a.txt", "msg_3")
    return talk


EXPECTED = [("What is in here?", ["Hm.", "I look.", "A file."]), ("Which?", ["a.txt"])]


def grown_to(place: Place, session: str, talk: list[tuple[str, list[str]]]) -> None:
    until(lambda: place.talk(session) == talk, f"{session} is not {talk}")


@WAYS
@pytest.mark.parametrize("before", [0, 1, 3, 8])
def test_a_file_that_grows_appears_as_it_grows(place: Place, program: list[str] | None, before: int) -> None:
    """Whether it was there before, or in the midst of a round."""
    talk = tool_round(place.home)
    if before:
        talk.write(upto=before)
    with following(place, program=program):
        for number in range(before, len(talk.records)):
            add_line(talk.path, talk.records[number])
            if number in (2, 3, 5):
                until(lambda: len(place.talk(ONE)[0][1]) == (3 if number == 5 else 2))  # noqa: B023
            if number == 3:
                until(lambda: len(place.rounds(ONE)[0].response.turns[1].tool_calls) == 1)
                assert place.rounds(ONE)[0].response.status == "open"
        grown_to(place, ONE, EXPECTED)
        until(lambda: place.rounds(ONE)[1].response.status == "completed")
    first, _ = place.rounds(ONE)
    (call,) = first.response.turns[1].tool_calls
    assert (call.response, call.status) == ("a.txt", "completed")
    with SessionManager(place.database) as manager:
        used = manager.usage()
    # Each reply is counted once, however many blocks it has.
    assert (used.totals[0].input_tokens, used.totals[0].output_tokens) == (30, 60)
    assert (used.rounds, used.turns, used.tool_calls) == (2, 4, 1)
    assert [turn.input_tokens for turn in first.response.turns] == [0, 10, 10]
    assert place.is_sound()
    # Nothing is left to be done.
    told = place.told()
    assert (told[-1]["rounds"], told[-1]["turns"]) == (0, 0)
    assert place.talk(ONE) == EXPECTED


def test_subscribers_hear_each_word_once(place: Place) -> None:
    heard: list[Change] = []
    talk = tool_round(place.home)
    with following(place), SessionManager(place.database) as manager:
        manager.add_listener(heard.append)
        for record in talk.records:
            add_line(talk.path, record)
            time.sleep(0.03)
        until(lambda: any(each.turn is not None and each.turn.content == "a.txt" for each in heard))
        grown_to(place, ONE, EXPECTED)
        kinds = [each.kind for each in heard]
        said = [each.turn.content for each in heard if each.kind is ChangeKind.TURN_CREATED and each.turn is not None]
    assert said == ["Hm.", "I look.", "A file.", "a.txt"]
    assert kinds.count(ChangeKind.SESSION_CREATED) == 1
    assert kinds.count(ChangeKind.ROUND_CREATED) == 2


def _unended(place: Place, thread: str, seconds_ago: float) -> Path:
    """A rollout whose program does not say that the round has ended, as older versions do not."""
    path = codex_path(place.home, thread)
    write_lines(
        path, [codex("session_meta", {"id": thread}), codex_item("user", "Hi", 1), codex_item("assistant", "Hello", 2)]
    )
    at = time.time() - seconds_ago
    os.utime(path, (at, at))
    return path


def test_what_nobody_has_written_to_for_a_minute_has_ended(place: Place) -> None:
    """Whether that was long before it is followed, or is so when nothing else is written."""
    _unended(place, THREAD, 120)
    place.bring()
    heard: list[Change] = []

    def status(name: str) -> str:
        return place.rounds(name)[-1].response.status

    with SessionManager(place.database) as manager:
        manager.add_listener(heard.append)
        _unended(place, ONE, 120)
        _unended(place, TWO, 54)
        with following(place):
            assert [status(THREAD), status(ONE)] == ["completed", "completed"]
            until(lambda: status(TWO) == "completed")
        assert [status(THREAD), status(ONE)] == ["completed", "completed"]
    old = {place.rounds(THREAD)[0].response.id}
    assert not [each for each in heard if each.response is not None and each.response.id in old]


@WAYS
def test_half_a_line_waits_for_its_other_half(place: Place, program: list[str] | None) -> None:
    talk = tool_round(place.home)
    talk.write(upto=7)
    whole = talk.path.read_bytes()
    talk.write()
    last = talk.path.read_bytes()[len(whole) :]
    talk.path.write_bytes(whole)
    with following(place, program=program) as follower:
        for piece in (last[:20], last[20:-30], last[-30:]):
            assert place.talk(ONE)[1:] == [("Which?", [])]
            add_line(talk.path, piece)
            time.sleep(0.3)
        grown_to(place, ONE, EXPECTED)
        assert follower.errors.read_text() == ""


def test_a_round_of_a_file_that_was_written_again_goes_on_and_ends(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Before")
    talk.say("Yes.", "msg_1")
    talk.ask("What is in here?")
    talk.write()
    with following(place) as follower:
        until(lambda: place.talk(ONE)[1:] == [("What is in here?", [])])
        talk.records[0]["message"]["content"] = "Something else, of another length"
        talk.records[0]["uuid"] = "other"
        write_lines(talk.path.with_name("new"), talk.records)
        talk.path.with_name("new").rename(talk.path)
        until(lambda: "the file is another than what was read of it before" in follower.errors.read_text())
        count = len(talk.records)
        talk.say("I look.", "msg_2", stop="tool_use")
        talk.call("call_1", "msg_2")
        talk.answer("call_1", "a.txt")
        talk.say("A file.", "msg_3")
        for record in talk.records[count:]:
            add_line(talk.path, record)
        until(lambda: dict(place.talk(ONE))["What is in here?"] == ["I look.", "A file."])

        def ended() -> bool:
            (asked,) = [each for each in place.rounds(ONE) if each.request.content == "What is in here?"]
            calls = [(call.status, call.response) for turn in asked.response.turns for call in turn.tool_calls]
            return (asked.response.status, calls) == ("completed", [("completed", "a.txt")])

        until(ended)
        assert follower.errors.read_text().count("the file is another") == 1


@pytest.mark.parametrize("has_time", [False, True], ids=["", "both-are-seen"])
def test_files_are_born_rotated_moved_compressed_and_deleted(place: Place, has_time: bool) -> None:
    with following(place) as follower:
        # Born, in directories that are born with it.
        talk = tool_round(place.home)
        for record in talk.records[:3]:
            add_line(talk.path, record)
        until(lambda: len(place.talk(ONE)) == 1)
        # Moved, with its directory, and written to there.
        moved = talk.path.parent.with_name("-elsewhere")
        talk.path.parent.rename(moved)
        path = moved / talk.path.name
        for record in talk.records[3:]:
            add_line(path, record)
        grown_to(place, ONE, EXPECTED)
        # Another file takes its place.
        other = tool_round(place.home)
        other.records[0]["message"]["content"] = "Something else, of another length"
        other.records[0]["uuid"] = "other"
        write_lines(moved / "new", other.records)
        (moved / "new").rename(path)
        until(lambda: "the file is another than what was read of it before" in follower.errors.read_text())
        until(lambda: "Something else, of another length" in dict(place.talk(ONE)))
        # A rollout is archived and compressed.
        rollout = codex_path(place.home, THREAD)
        meta = codex("session_meta", {"id": THREAD, "timestamp": "2026-03-01T10:00:00Z", "cwd": "/x"})
        lines = [meta, codex_event("user_message", message="Hello"), codex_item("assistant", "Hi.")]
        for line in lines:
            add_line(rollout, line)
        grown_to(place, THREAD, [("Hello", ["Hi."])])
        archived = place.home / ".codex" / "archived_sessions" / rollout.name
        archived.parent.mkdir()
        rollout.rename(archived)
        add_line(archived, codex_item("assistant", "Bye."))
        grown_to(place, THREAD, [("Hello", ["Hi.", "Bye."])])
        content = archived.read_bytes()
        if (zstandard := pytest.importorskip("zstandard")) is not None:
            archived.with_name(f"{archived.name}.zst").write_bytes(zstandard.compress(content))
        # Deleted: nothing goes.
        archived.unlink()
        shutil.rmtree(moved)
        time.sleep(0.5)
        grown_to(place, THREAD, [("Hello", ["Hi.", "Bye."])])
        assert len(place.sessions()) == 2
    run(place.workspace, "restore-transcript", THREAD, "--database", place.database, HOME=str(place.home))
    assert archived.read_bytes() == content
    assert place.is_sound()


def test_a_second_one_says_that_the_first_follows_already(place: Place) -> None:
    tool_round(place.home).write()
    with following(place) as first:
        told = place.bring("--follow", code=1)
        assert f"another process follows already, into {place.database}" in told.err
        # A plain import is no second one.
        place.bring()
        first.process.kill()
        first.process.wait()
        with following(place):
            first.process = _Gone(first.process)  # type: ignore[assignment]
    with following(place):
        pass
    assert not Path(f"{place.database}-run").exists() or "follow.lock" not in os.listdir(f"{place.database}-run")  # noqa: PTH208


class _Gone:
    """A process that was killed on purpose."""

    def __init__(self, process: object) -> None:
        self.stdout = process.stdout  # type: ignore[attr-defined]

    def poll(self) -> None:
        return None

    def send_signal(self, _number: int) -> None:
        """It is gone."""

    def wait(self, _seconds: float | None = None) -> int:
        return -signal.SIGKILL


@pytest.mark.parametrize("seed", range(2))
def test_a_kill_at_any_moment_loses_and_doubles_nothing(place: Place, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    talks = [tool_round(place.home, session) for session in (ONE, TWO)]
    for talk in talks:
        for number in range(30):
            talk.ask(f"Question {number}")
            talk.block({"type": "thinking", "thinking": f"Hm {number}"}, f"msg_{number}_a", stop=None)
            talk.say(f"Words {number}", f"msg_{number}_a", stop="tool_use")
            talk.call(f"call_{number}_a", f"msg_{number}_a")
            talk.answer(f"call_{number}_a", "x" * 3000)
            talk.say(f"Last words {number}", f"msg_{number}_b")
    waiting = [(talk.path, record) for talk in talks for record in talk.records]
    if seed:
        # Both at once.
        half = len(waiting) // 2
        waiting = [pair for both in zip(waiting[:half], waiting[half:], strict=True) for pair in both]
    lines = iter(waiting)
    follower: Follower | None = None
    for _ in range(12):
        follower = Follower(place)
        for _ in range(chance.randrange(10, 50)):
            if (line := next(lines, None)) is None:
                break
            add_line(*line)
            time.sleep(chance.random() * 0.01)
        follower.end(signal.SIGKILL)
    for line in lines:
        add_line(*line)
    place.bring()
    assert place.is_sound()
    for talk in talks:
        expected = [*EXPECTED, *((f"Question {n}", [f"Hm {n}", f"Words {n}", f"Last words {n}"]) for n in range(30))]
        assert place.talk(talk.session) == expected
        assert {each.response.status for each in place.rounds(talk.session)} == {"completed"}
        given = ("--database", place.database, "--to", tmp_path / talk.path.name)
        run(place.workspace, "restore-transcript", talk.session, *given, HOME=str(place.home))
        assert (tmp_path / talk.path.name).read_bytes() == talk.path.read_bytes()
    with SessionManager(place.database) as manager:
        used = manager.usage()
    assert (used.rounds, used.turns, used.tool_calls) == (64, 188, 62)
    assert used.totals[0].input_tokens == 2 * (30 + 30 * 20)


def test_what_somebody_deletes_meanwhile_stays_deleted(place: Place) -> None:
    talk, other = tool_round(place.home), tool_round(place.home, TWO)
    talk.write(upto=4)
    with following(place) as follower:
        add_line(talk.path, talk.records[4])
        until(lambda: place.rounds(ONE)[0].response.turns[1].tool_calls[0].status == "completed")
        (session,) = place.sessions()
        run(place.workspace, "delete", session.id, "--yes", "--database", place.database)
        for record in talk.records[5:]:
            add_line(talk.path, record)
        other.write()
        grown_to(place, TWO, EXPECTED)
        assert [each.external_id for each in place.sessions()] == [TWO]
        assert follower.errors.read_text() == ""
    assert place.is_sound()


def test_broken_lines_are_named_while_it_follows(place: Place) -> None:
    talk = tool_round(place.home)
    talk.write(upto=3)
    with following(place) as follower:
        add_line(talk.path, b"{nonsense\n")
        for record in talk.records[3:]:
            add_line(talk.path, record)
        grown_to(place, ONE, EXPECTED)
        until(lambda: f"{talk.path}:4: is no JSON" in follower.errors.read_text())


def test_only_what_is_named_is_followed(place: Place, tmp_path: Path) -> None:
    named, other = tmp_path / "named" / f"{ONE}.jsonl", tool_round(place.home, TWO)
    talk = tool_round(place.home)
    named.parent.mkdir()
    write_lines(named, talk.records[:3])
    with following(place, named):
        other.write()
        write_lines(named.with_name(f"{TWO}.jsonl"), other.records)
        for record in talk.records[3:]:
            add_line(named, record)
        grown_to(place, ONE, EXPECTED)
    assert len(place.sessions()) == 1


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_it_ends_where_the_store_is_another_one(place: Place, how: str) -> None:
    """Whoever runs it starts it again, and it brings all into the one that is there then."""
    talk = tool_round(place.home)
    talk.write()
    follower = Follower(place)
    try:
        grown_to(place, ONE, EXPECTED)
        if how == "replaced":
            with SessionManager(place.workspace / "other.sqlite") as manager:
                manager.create_session(title="Another")
            (place.workspace / "other.sqlite").rename(place.database)
        else:
            place.database.unlink()
        talk.ask("More?")
        add_line(talk.path, talk.records[-1])
        assert follower.process.wait(PATIENCE) == 1
    finally:
        follower.end()
    assert "was deleted, replaced or moved while it was followed; run it again" in follower.errors.read_text()
    with following(place):
        until(lambda: ("More?", []) in place.talk(ONE))
    assert len(place.sessions()) == (2 if how == "replaced" else 1)

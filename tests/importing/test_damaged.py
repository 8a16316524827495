"""Files that are damaged, or others than before: what can be read comes, what is kept stays, and it is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from commands.running import run
from importing.importing import Place
from importing.test_opencode import opencode
from importing.transcripts import Claude, claude, codex, codex_item, codex_path, write_lines
from mandrake_sessions import SessionManager

zstandard = pytest.importorskip("zstandard")

ONE = "11111111-1111-4111-8111-111111111111"
THREAD = "01a21705-b70c-7ec1-b748-b6ac50d90e32"


def _rollout(home: Path, rounds: int = 45) -> Path:
    path = codex_path(home, THREAD)
    records = [codex("session_meta", {"id": THREAD})]
    for number in range(rounds):
        records += [
            codex_item("user", f"Question {number}", 1),
            codex_item("assistant", " ".join(f"{number}.{each}" for each in range(3000)), 2),
        ]
    write_lines(path, records)
    return path


def _compressed(path: Path, part: float = 1.0, frames: int = 3) -> Path:
    """The file as the program leaves it when it compresses it, or as much of that."""
    text = path.read_bytes()
    step = len(text) // frames + 1
    packed = b"".join(zstandard.compress(text[at : at + step]) for at in range(0, len(text), step))
    path.unlink()
    into = path.with_name(f"{path.name}.zst")
    into.write_bytes(packed[: int(len(packed) * part)])
    return into


def _restored(place: Place, tmp_path: Path, name: str) -> bytes:
    to = tmp_path / f"again-{name}"
    run(place.workspace, "restore-transcript", name, "--to", to, "--database", place.database)
    return to.read_bytes()


@pytest.mark.parametrize("part", [0.05, 0.5, 0.999])
def test_a_compressed_file_that_was_cut_is_named(place: Place, part: float) -> None:
    path = _compressed(_rollout(place.home), part)
    told = place.bring(code=1).err
    assert f"{path}:" in told
    assert "cannot be decompressed: it ends in the middle; what follows is left out" in told
    if part > 0.4:
        talk = place.talk(THREAD)
        assert 0 < len(talk) <= 45
        assert [asked for asked, _ in talk] == [f"Question {number}" for number in range(len(talk))]
    assert place.is_sound()


@pytest.mark.parametrize("part", [0.05, 0.5, 0.999])
def test_what_is_kept_is_not_replaced_by_a_compressed_file_that_was_cut(
    place: Place, tmp_path: Path, part: float
) -> None:
    path = _rollout(place.home)
    whole = path.read_bytes()
    place.bring()
    cut = _compressed(path, part)
    assert str(cut) in place.bring(code=1).err
    assert _restored(place, tmp_path, THREAD) == whole
    assert len(place.talk(THREAD)) == 45


def test_what_is_kept_is_not_replaced_by_a_compressed_file_with_less_in_it(place: Place, tmp_path: Path) -> None:
    path = _rollout(place.home)
    whole = path.read_bytes()
    place.bring()
    _rollout(place.home, 20)
    place.bring(_compressed(path), code=1)
    assert _restored(place, tmp_path, THREAD) == whole


def test_whole_compressed_files_are_read_whole(place: Place, tmp_path: Path) -> None:
    path = _rollout(place.home)
    whole = path.read_bytes()
    _compressed(path)
    place.bring()
    assert len(place.talk(THREAD)) == 45
    assert _restored(place, tmp_path, THREAD) == whole


def test_a_compressed_file_has_the_branches_of_a_plain_one(place: Place) -> None:
    """Also where somebody goes on in a branch that was left, in the middle of the file."""
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    begun = talk.say("Hi.", "m1")
    talk.ask("This way?")
    this_way = talk.say("No.", "m2")
    talk.ask("That way?", parent=begun)
    talk.say("Yes.", "m3")
    talk.ask("And on?", parent=this_way)
    talk.say("On.", "m4")
    talk.write()
    _compressed(talk.path)
    place.bring()
    assert place.talk(ONE) == [("Hello", ["Hi."]), ("This way?", ["No."]), ("And on?", ["On."])]
    assert place.is_sound()


def _long_talk(place: Place) -> Claude:
    talk = claude(place.home, ONE)
    for number in range(45):
        talk.ask(f"Question {number}")
        talk.say(f"Answer {number} " * 600, f"m{number}")
    return talk


def test_a_change_in_the_middle_of_a_file_that_has_grown_is_told(place: Place, tmp_path: Path) -> None:
    talk = _long_talk(place)
    talk.write()
    place.bring()
    text = bytearray(talk.path.read_bytes())
    at = text.index(b"Question 20")
    text[at : at + 11] = b"Answered 20"
    talk.ask("More?")
    talk.write()
    grown = bytes(text) + talk.path.read_bytes()[len(text) :]
    with talk.path.open("r+b") as file:
        file.write(grown)
    assert f"{talk.path}: the file is another than what was read of it before" in place.bring(code=1).err
    assert _restored(place, tmp_path, ONE) == grown
    assert place.talk(ONE)[-1][0] == "More?"


def test_a_mark_of_the_encoding_before_the_first_line_is_no_part_of_it(place: Place, tmp_path: Path) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    talk.say("Hi.", "m1")
    talk.write()
    marked = b"\xef\xbb\xbf" + talk.path.read_bytes().replace(b"\n", b"\r\n")
    talk.path.write_bytes(marked)
    assert place.bring().err == ""
    assert place.talk(ONE) == [("Hello", ["Hi."])]
    assert _restored(place, tmp_path, ONE) == marked


def test_a_file_of_claude_code_is_known_by_any_of_its_first_records(place: Place, tmp_path: Path) -> None:
    talk = claude(place.home, ONE)
    talk.add("queue-operation", operation="enqueue", content="x" * 300_000)
    first = talk.records.pop()
    talk.records.append({"type": "queue-operation", **{name: first[name] for name in ("timestamp", "sessionId")},
                         "operation": "enqueue", "content": "x" * 300_000})  # fmt: skip
    talk.ask("Hello", parent=None)
    talk.say("Hi.", "m1")
    talk.write()
    moved = tmp_path / talk.path.name
    shutil.move(talk.path, moved)
    place.bring(moved)
    assert place.talk(ONE)[-1][1] == ["Hi."]


def test_a_turn_of_a_database_that_was_cut_off_goes_on(place: Place) -> None:
    """A row that a program still writes says more the next time."""
    with opencode(place) as database:
        database.session("s1")
        database.ask("m1", "s1", "Hello")
        database.message("m2", "s1", role="assistant", modelID="m")
        database.text("m2-1", "m2", "s1", "One")
        place.bring()
        assert place.talk("s1") == [("Hello", ["One"])]
        database.change("part", "m2-1", text="One and two")
        database.change("message", "m2", finish="stop")
        place.bring()
    assert place.talk("s1") == [("Hello", ["One and two"])]
    assert place.is_sound()


def test_a_branch_that_was_left_has_the_times_of_its_rounds(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    place_to_go_back_to = talk.say("Hi.", "m1")
    talk.ask("This way?")
    talk.say("No.", "m2")
    talk.ask("That way?", parent=place_to_go_back_to)
    talk.say("Yes.", "m3")
    talk.write()
    place.bring()
    with SessionManager(place.database) as manager:
        (fork,) = [each for each in manager.list_sessions().sessions if each.relation == "fork"]
        own = manager.get_session(external_id=ONE)
        left = manager.history(fork.id).rounds[-1]
    assert fork.created_at == left.created_at
    assert fork.active_at == max(turn.stream_end_time or 0 for turn in left.response.turns)
    assert own.created_at < fork.created_at < fork.active_at < own.active_at
    # Its words are in the file of the session that it came from.
    told = run(place.workspace, "restore-transcript", fork.id, "--database", place.database, code=1).err
    assert f"restore-transcript {own.id} has its file" in told


def test_a_session_that_was_recorded_under_any_spelling_is_not_brought_in_again(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    talk.say("Hi.", "m1")
    talk.write()
    with SessionManager(place.database) as manager:
        manager.create_session(agent="Claude Code", external_id=ONE)
    place.bring()
    assert len(place.sessions()) == 1

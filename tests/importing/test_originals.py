"""The files themselves are kept, and written again byte for byte where they were, or where somebody says."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commands.running import Ended, run
from importing.importing import Place
from importing.transcripts import Claude, claude, codex, codex_item, codex_path, write_lines
from mandrake_sessions import SessionManager
from wire import SERVER, clean_environment

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
THREAD = "01a21705-b70c-7ec1-b748-b6ac50d90e32"


def restore(place: Place, *arguments: str | Path, code: int = 0) -> Ended:
    given = ("--database", place.database, *arguments)
    return run(place.workspace, "restore-transcript", *given, code=code, HOME=str(place.home))


def talk_of(place: Place, session: str = ONE, rounds: int = 2, size: int = 3) -> Claude:
    talk = claude(place.home, session)
    for number in range(rounds):
        talk.ask(f"Hello {number}")
        talk.say("Hi. " * size, f"msg_{number}")
    return talk


def with_subagent(place: Place) -> tuple[Claude, Claude, Path]:
    talk = talk_of(place)
    talk.call("call_1", "msg_9")
    talk.write()
    agent = Claude(talk.path.parent / ONE / "subagents" / "agent-abc.jsonl", ONE)
    agent.ask("Look", isSidechain=True)
    agent.say("Seen.", "msg_a", isSidechain=True)
    agent.write()
    meta = agent.path.with_name("agent-abc.meta.json")
    meta.write_text('{"agentType": "Explore",  "toolUseId": "call_1"}')
    return talk, agent, meta


def contents(*paths: Path) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def noise(size: int) -> bytes:
    """Bytes that cannot be packed, without a line end."""
    return bytes(random.Random(3).choices(range(32, 127), k=size))


def test_what_was_deleted_is_written_again_with_its_subagents(place: Place) -> None:
    talk, agent, meta = with_subagent(place)
    files = (talk.path, agent.path, meta)
    before = contents(*files)
    place.bring()
    for path in files:
        path.unlink()
    agent.path.parent.rmdir()
    told = restore(place, ONE)
    assert [line.partition(": ")[0] for line in told.out.splitlines()] == [str(path) for path in files]
    assert contents(*files) == before
    assert place.told()[-1]["problems"] == 0
    assert len(place.sessions()) == 2
    assert [path.name for path in talk.path.parent.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_is_there_is_never_overwritten(place: Place) -> None:
    talk, agent, meta = with_subagent(place)
    place.bring()
    before = contents(agent.path)
    meta.unlink()
    talk.path.write_bytes(b"mine")
    told = restore(place, ONE, code=1)
    assert f"not written: {talk.path} is there already, and says something else; say with --to where else" in told.err
    assert f"{agent.path}: is there already, and is the same" in told.out
    assert [talk.path.read_bytes(), *contents(agent.path)] == [b"mine", *before]
    assert meta.exists()
    # A link that leads nowhere is there too.
    talk.path.unlink()
    talk.path.symlink_to(place.home / "elsewhere")
    assert "is there already" in restore(place, ONE, code=1).err
    assert not (place.home / "elsewhere").exists()


def test_to_names_a_file_or_a_directory(place: Place, tmp_path: Path) -> None:
    talk, agent, meta = with_subagent(place)
    place.bring()
    restore(place, ONE, "--to", tmp_path / "one.jsonl")
    assert contents(tmp_path / "one.jsonl") == contents(talk.path)
    assert "is there already, and is the same" in restore(place, ONE, "--to", tmp_path / "one.jsonl").out
    (tmp_path / "one.jsonl").write_bytes(talk.path.read_bytes() + b"{}\n")
    assert "is there already, and says" in restore(place, ONE, "--to", tmp_path / "one.jsonl", code=1).err
    restore(place, ONE, "--to", f"{tmp_path}/all/")
    below = tmp_path / "all" / ONE / "subagents"
    assert contents(tmp_path / "all" / talk.path.name, below / agent.path.name, below / meta.name) == contents(
        talk.path, agent.path, meta
    )
    assert "there is no directory" in restore(place, ONE, "--to", tmp_path / "gone" / "x.jsonl", code=2).err
    assert "to: is empty" in restore(place, ONE, "--to", "", code=2).err


def test_several_files_of_one_conversation_lie_beside_each_other(place: Place, tmp_path: Path) -> None:
    """Of several folders, two of which have the same name."""
    talk, files = talk_of(place), []
    for number, folder in enumerate(["first", "second", "third/second"]):
        talk.ask(f"More {number}")
        talk.path = place.home / ".claude" / "projects" / folder / f"{ONE}.jsonl"
        talk.write()
        files.append(talk.path)
    place.bring()
    to = tmp_path / "to"
    for _ in range(2):
        restore(place, ONE, "--to", f"{to}/")
        written = sorted(path for path in to.rglob("*") if path.is_file())
        assert sorted(contents(*written)) == sorted(contents(*files))
        assert len(written) == 3
        assert {path.name for path in written} == {f"{ONE}.jsonl"}
    (to / f"{ONE}.jsonl").write_text("Another.\n")
    assert "says something else" in restore(place, ONE, "--to", f"{to}/", code=1).err
    assert (to / f"{ONE}.jsonl").read_text() == "Another.\n"


def test_no_link_is_followed_and_nothing_is_written_elsewhere(place: Place, tmp_path: Path) -> None:
    talk = talk_of(place)
    talk.write()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy = elsewhere / talk.path.name
    copy.write_bytes(talk.path.read_bytes())
    place.bring(talk.path)
    talk.path.unlink()
    talk.path.parent.rmdir()
    talk.path.parent.symlink_to(elsewhere, target_is_directory=True)
    copy.unlink()
    assert "is no directory of its own, but a link or a file" in restore(place, ONE, code=1).err
    assert list(elsewhere.iterdir()) == []
    # What a store says of a path is not trusted.
    talk.path.parent.unlink()
    own = place.home / ".claude" / "projects"
    odd = (f"{own}/../../x", f"{own}/./x", place.home / ".bashrc", "x", "/", "", "a\0b", own, f"{own}/", f"{own}x/y")
    for path in odd:
        with closing(sqlite3.connect(place.database)) as database, database:
            database.execute("UPDATE original_file SET path = ?", (str(path),))
        assert "is not where claude-code keeps its files; say where with --to" in restore(place, ONE, code=1).err
    assert not (place.home / ".claude" / "projects" / "-home-somebody-project").exists()


def test_a_file_from_elsewhere_needs_a_place(place: Place, tmp_path: Path) -> None:
    talk = Claude(tmp_path / "saved" / f"{ONE}.jsonl", ONE)
    talk.ask("Hello")
    talk.write()
    place.bring(talk.path)
    assert "say where with --to" in restore(place, ONE, code=1).err
    restore(place, ONE, "--to", tmp_path)
    assert contents(tmp_path / talk.path.name) == contents(talk.path)


@pytest.mark.parametrize("sizes", [[2000, 60_000, 70_000], [65_536, 65_537], [3_000_000, 3_000_001, 3_100_000]])
def test_a_file_that_grows_is_kept_as_it_grows(place: Place, sizes: list[int], tmp_path: Path) -> None:
    talk = talk_of(place)
    talk.write()
    whole = talk.path.read_bytes() + noise(max(sizes))
    for number, size in enumerate(sizes):
        talk.path.write_bytes(whole[:size])
        place.told()
        restore(place, ONE, "--to", tmp_path / str(number))
        assert (tmp_path / str(number)).read_bytes() == whole[:size]
    with closing(sqlite3.connect(place.database)) as database:
        (blocks,) = database.execute("SELECT count(*) FROM original_block").fetchone()
    assert blocks == -(-max(sizes) // (64 * 1024))
    assert place.is_sound()


@pytest.mark.parametrize("how", ["tail of zeros", "all zeros", "another word"])
def test_a_damaged_file_takes_nothing_from_what_is_kept(place: Place, how: str, tmp_path: Path) -> None:
    talk = talk_of(place, rounds=40, size=100)
    talk.write()
    place.bring()
    before = talk.path.read_bytes()
    kept = {"tail of zeros": len(before) - 4000, "all zeros": 0, "another word": 0}[how]
    talk.path.write_bytes(b"x\n" if how == "another word" else before[:kept] + bytes(len(before) - kept))
    assert "what is kept of it stays as it was" in place.bring(code=1).err
    # It is told once, and nothing changes it later.
    place.bring()
    talk.path.unlink()
    restore(place, ONE, "--to", tmp_path / "x")
    assert contents(tmp_path / "x") == [before]


@pytest.mark.parametrize("how", ["shorter", "other", "middle"])
def test_of_a_file_that_was_written_again_the_latest_form_is_kept(place: Place, how: str, tmp_path: Path) -> None:
    talk = talk_of(place, rounds=400, size=100)
    talk.write()
    place.bring()
    before = talk.path.read_bytes()
    if how == "middle":
        # At the beginning, of the same length, and then longer.
        talk.path.write_bytes(before.replace(b"Hello 0", b"Jello 0") + before.splitlines(keepends=True)[-1])
    else:
        talk.path.write_bytes(before[:1000] if how == "shorter" else before.replace(b"Hi", b"Ho, "))
    place.bring(code=1)
    restore(place, ONE, "--to", tmp_path / "x")
    # What has less in it does not take the place of what is kept.
    assert contents(tmp_path / "x") == ([before] if how == "shorter" else contents(talk.path))
    # One that was emptied is not taken for a form of it.
    talk.path.write_bytes(b"")
    place.bring(code=1)
    restore(place, ONE, "--to", tmp_path / "y")
    assert contents(tmp_path / "y") == contents(tmp_path / "x")


@pytest.mark.parametrize("how", ["in place", "another file", "recorded live"])
def test_a_word_of_another_kind_in_the_middle_is_noticed(place: Place, how: str, tmp_path: Path) -> None:
    """The file is as long as before, and its beginning and its end say the same."""
    talk = talk_of(place, rounds=400, size=100)
    talk.write()
    if how == "recorded live":
        with SessionManager(place.database) as manager:
            manager.create_session(agent="claude-code", external_id=ONE, source="acp")
    place.bring()
    content = talk.path.read_bytes().replace(b"Hello 200", b"Jello 200")
    before = place.talk(ONE)
    # A new time alone says nothing.
    os.utime(talk.path)
    (end,) = [line for line in place.told() if line["type"] == "end"]
    assert (end["rounds"], end["turns"]) == (0, 0)
    if how == "another file":
        talk.path.unlink()
    talk.path.write_bytes(content)
    told = place.bring(code=0 if how == "recorded live" else 1).err
    assert ("the file is another than what was read of it before" in told) == (how != "recorded live")
    assert place.bring().err == ""
    assert place.talk(ONE) == before
    restore(place, ONE, "--to", tmp_path / "x")
    assert contents(tmp_path / "x") == [content]


def test_what_is_inside_a_compressed_file_is_kept(place: Place, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    meta = codex("session_meta", {"id": THREAD, "timestamp": "2026-03-01T10:00:00Z", "cwd": "/x"})
    path = codex_path(place.home, THREAD)
    write_lines(path, [meta, codex_item("user", "Hello"), codex_item("assistant", "Hi." * 200_000)])
    content = path.read_bytes()
    path.unlink()
    packed = path.with_name(f"{path.name}.zst")
    packed.write_bytes(zstandard.compress(content))
    place.bring()
    packed.unlink()
    assert restore(place, THREAD).out.startswith(f"{path}: ")
    assert path.read_bytes() == content
    restore(place, THREAD, "--to", tmp_path)
    assert (tmp_path / path.name).read_bytes() == content


def test_a_setting_turns_it_off(place: Place) -> None:
    talk_of(place).write()
    place.bring("--no-originals", "claude-code")
    talk_of(place, TWO).write()
    run(place.workspace, "import", "--database", place.database, HOME=str(place.home),
        MANDRAKE_SESSIONS_NO_ORIGINALS="true")  # fmt: skip
    assert "import --no-originals left it out" in restore(place, ONE, code=1).err
    assert "import --no-originals left it out" in restore(place, TWO, code=1).err
    # What was left out comes later, without anything else.
    kept = [(line["what"], line["kept"] > 0) for line in place.told() if line["type"] == "source"]
    assert kept in ([], [("unchanged", True), ("unchanged", True)])
    restore(place, ONE, "--to", place.home)


def test_prune_shows_what_they_take_and_a_deletion_takes_them_too(place: Place) -> None:
    talk = talk_of(place, rounds=100, size=500)
    talk.write()
    place.bring()
    (session,) = place.sessions()
    told = run(place.workspace, "prune", "--older-than", "1d", "--dry-run", "--database", place.database).out
    assert "originals " in told
    run(place.workspace, "delete", session.id, "--yes", "--database", place.database)
    with closing(sqlite3.connect(place.database)) as database:
        assert database.execute("SELECT count(*) FROM original_file").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM original_block").fetchone() == (0,)
    place.bring()
    assert place.sessions() == []


def test_a_backup_has_them(place: Place, tmp_path: Path) -> None:
    talk = talk_of(place)
    talk.write()
    place.bring()
    saved = tmp_path / "saved.sqlite"
    run(place.workspace, "backup", saved, "--database", place.database)
    place.database.unlink()
    run(place.workspace, "restore", saved, "--database", place.database)
    restore(place, ONE, "--to", tmp_path)
    assert contents(tmp_path / talk.path.name) == contents(talk.path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE original_block SET bytes = x'00' WHERE start > 0",
        "UPDATE original_block SET size = size - 1",
        "DELETE FROM original_block WHERE start = 0",
        "UPDATE original_block SET bytes = zeroblob(100)",
    ],
)
def test_doctor_finds_and_mends_what_is_damaged_and_an_import_goes_on(
    place: Place, damage: str, tmp_path: Path
) -> None:
    talk = talk_of(place, rounds=100, size=500)
    talk.write()
    place.bring()
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(damage)
    told = run(place.workspace, "doctor", "--database", place.database, code=1).out
    assert "1 of the files that sessions were brought in from cannot be written again" in told
    failed = restore(place, ONE, "--to", tmp_path / "x", code=1)
    assert "is damaged" in failed.err
    assert list(tmp_path.glob("*.partial")) == []
    assert not (tmp_path / "x").exists()
    run(place.workspace, "doctor", "--fix", "--database", place.database)
    assert place.is_sound()
    place.bring()
    restore(place, ONE, "--to", tmp_path / "x")
    assert contents(tmp_path / "x") == contents(talk.path)


def test_what_hangs_from_nothing_is_mended(place: Place) -> None:
    talk_of(place).write()
    place.bring()
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("UPDATE import_source SET session_pk = 999999")
        database.execute("UPDATE original_block SET file_pk = 77")
        database.execute("UPDATE original_file SET session_pk = 888888")
    run(place.workspace, "doctor", "--fix", "--database", place.database)
    assert place.is_sound()


def test_of_a_session_that_was_recorded_live_only_the_file_is_kept(place: Place, tmp_path: Path) -> None:
    """In whichever of the user's stores it is."""
    talk = talk_of(place)
    talk.write()
    other = tmp_path / "other"
    other.mkdir()
    own = {"HOME": str(place.home), "MANDRAKE_HOME": clean_environment(place.workspace)["MANDRAKE_HOME"]}
    run(other, "new", "--title", "Live", "--agent", "claude-code", "--external-id", ONE, code=0, **own)
    (line, end) = place.told()
    assert (line["what"], line["rounds"], line["kept"]) == ("live", 0, talk.path.stat().st_size)
    assert end["sessions"] == 0
    assert place.sessions() == []
    with SessionManager(other / ".ws" / "db.sqlite") as manager:
        (session,) = manager.list_sessions().sessions
        assert (session.id, session.title, session.round_count) == (line["sessionId"], "Live", 0)
    run(other, "restore-transcript", ONE, "--to", tmp_path, code=0, **own)
    assert contents(tmp_path / talk.path.name) == contents(talk.path)
    talk.ask("More")
    talk.write()
    place.bring()
    run(other, "restore-transcript", ONE, "--to", tmp_path / "grown", code=0, **own)
    assert contents(tmp_path / "grown") == contents(talk.path)


def test_a_kill_at_any_moment_loses_and_doubles_nothing(place: Place, tmp_path: Path) -> None:
    """Each run is killed a little later than the one before, until one ends."""
    for number in range(30):
        talk_of(place, f"{number:08}-1111-4111-8111-111111111111", rounds=30, size=1 + number % 7 * 700).write()
    talk_of(place, ONE, rounds=1500, size=300).write()
    words = [*SERVER, "import", "--database", str(place.database)]
    environment: dict[str, Any] = place.environment
    for delay in range(30):
        with subprocess.Popen(words, cwd=place.workspace, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                process.wait(0.3 * 1.25**delay)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        if process.returncode == 0:
            break
        time.sleep(0.01)
    assert process.returncode == 0
    assert {session.round_count for session in place.sessions()} == {30, 1500}
    assert place.is_sound()
    with SessionManager(place.database) as manager:
        assert manager.usage().rounds == 30 * 30 + 1500
    # Each restoring is a process: the largest one, and some.
    for path in sorted((place.home / ".claude").rglob("*.jsonl"), key=lambda path: -path.stat().st_size)[::4]:
        restore(place, path.stem, "--to", tmp_path / path.name)
        assert contents(tmp_path / path.name) == contents(path)
        os.unlink(tmp_path / path.name)  # noqa: PTH108

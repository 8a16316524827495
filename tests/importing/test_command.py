"""The command: what it finds, where it puts it, what it says, and how it stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from commands.running import Ended, run, run_program
from commands.test_terminal import on_a_terminal
from importing.importing import Place
from importing.transcripts import claude, codex, codex_item, codex_path, write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.importing.agents import agent_word
from wire import SERVER

ONE = "11111111-1111-4111-8111-111111111111"
THREAD = "01a21705-b70c-7ec1-b748-b6ac50d90e32"


def write_both(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    talk.say("Hi.", "msg_1")
    talk.write()
    meta = codex("session_meta", {"id": THREAD, "timestamp": "2026-03-01T10:00:00Z", "cwd": "/x"})
    write_lines(codex_path(place.home, THREAD), [meta, codex_item("user", "Hello"), codex_item("assistant", "Hi.")])


def test_it_ends_with_where_they_are_seen(place: Place) -> None:
    own: Any = {"HOME": str(place.home), "MANDRAKE_HOME": str(place.home / "own")}
    meta = codex("session_meta", {"id": THREAD, "timestamp": "2026-03-01T10:00:00Z", "cwd": str(place.workspace)})
    write_lines(codex_path(place.home, THREAD), [meta, codex_item("user", "Hello")])
    for flags, where in (
        ([], ""),
        (["--workspace", "."], "list --workspace . "),
        (["--database", "a b"], "list --database 'a b' "),
    ):
        told = run(place.workspace, "import", *flags, **own).out
        assert where in told if where else "shows them" not in told
        assert "Hello" in run(place.workspace, "list", *flags, **own).out
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    talk.write()
    assert "list --all shows them" in run(place.workspace, "import", "claude-code", **own).out
    assert "shows them" not in run(place.workspace, "import", **own).out
    assert len(run(place.workspace, "list", "--all", **own).out.splitlines()) > 2


# Its commands have no time for the search index when they end.
WITHOUT_TIME = (
    "from mandrake_sessions.commands import writing; writing._SEARCHABLE_SECONDS = 0;"
    " import sys; from mandrake_sessions.cli import main; sys.exit(main())"
)


def test_all_that_came_is_in_the_search_index_however_long_that_takes(place: Place) -> None:
    write_both(place)
    done = run_program(
        place.workspace, sys.executable, "-c", WITHOUT_TIME, "import", "--database", place.database,
        environment={"HOME": str(place.home)},
    )  # fmt: skip
    assert done.code == 0, done
    report = json.loads(run(place.workspace, "doctor", "--database", place.database, "--json").out)
    assert [found["text"] for found in report["findings"] if found["check"] == "search"] == ["the index is whole"]


def test_on_a_terminal_nothing_flashes_where_there_is_nothing_to_bring_in(place: Place) -> None:
    own: Any = {"HOME": str(place.home), "MANDRAKE_HOME": str(place.home / "own")}
    for flags in ([], ["--follow"]):
        _, shown = on_a_terminal(
            place.workspace, "import", *flags, question="Following;", answer="\x03", environment=own
        )
        assert "There is nothing to bring in" in shown
        assert "bytes" not in shown


def test_it_finds_what_this_user_has(place: Place) -> None:
    write_both(place)
    store = place.home / "own"
    told = run(place.workspace, "import", HOME=str(place.home), MANDRAKE_HOME=str(store)).out.splitlines()
    assert told[0].startswith("claude-code: 1 conversation, ")
    assert told[1].startswith("codex: 1 conversation, ")
    assert told[2:] == [
        f"into {store}/db.sqlite", "2 sessions, 2 rounds, 2 turns, 0 tool calls brought in",
        "mandrake-sessions list --all shows them",
    ]  # fmt: skip
    with SessionManager(store / "db.sqlite") as manager:
        found = {session.agent: session for session in manager.list_sessions().sessions}
    assert {name: session.source for name, session in found.items()} == {
        "claude-code": "import:claude-code", "codex": "import:codex",
    }  # fmt: skip
    assert found["codex"].created_at == 1772359200000
    assert not (place.workspace / ".ws").exists()


def test_a_dry_run_makes_nothing(place: Place) -> None:
    write_both(place)
    assert "claude-code: 1 conversation" in place.bring("--dry-run").out
    assert not place.database.exists()
    lines = place.told("--dry-run")
    assert [(line["type"], line["agent"], line["what"]) for line in lines] == [
        ("source", "claude-code", "new"), ("source", "codex", "new"),
    ]  # fmt: skip


def test_nothing_to_bring_in_is_said(place: Place) -> None:
    assert "There is nothing to bring in" in place.bring().out


def test_a_source_is_a_program_a_file_or_a_directory(place: Place) -> None:
    write_both(place)
    place.bring("codex")
    assert [session.agent for session in place.sessions()] == ["codex"]
    place.bring(claude(place.home, ONE).path)
    assert len(place.sessions()) == 2
    (end,) = place.told(place.home)
    assert (end["sources"], end["sessions"]) == (2, 0)


def test_a_source_that_is_not_there_is_an_error(place: Place) -> None:
    told = place.bring("nobody", code=2).err
    assert "there is no file 'nobody', and no program of that name; known are claude-code, codex" in told


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_whole_sessions(place: Place, times: int) -> None:
    for number in range(250):
        talk = claude(place.home, f"{number:08}-1111-4111-8111-111111111111")
        for each in range(20):
            talk.ask(f"Hello {each}")
            talk.say("Hi." * 500, f"msg_{each}")
        talk.write()
    words = [*SERVER, "import", "--database", str(place.database)]
    environment = place.environment
    with subprocess.Popen(words, cwd=place.workspace, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(0.4)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Run it again" in err or times == 2
    assert {session.round_count for session in place.sessions()} <= {20}
    (end,) = [line for line in place.told() if line["type"] == "end"]
    assert end["isComplete"]
    with SessionManager(place.database) as manager:
        assert (manager.usage().rounds, manager.usage().turns) == (5_000, 5_000)
    assert place.is_sound()


def test_what_a_killed_run_has_not_completed_is_done_by_the_next(place: Place) -> None:
    talk = claude(place.home, ONE)
    for each in range(6000):
        talk.ask(f"Hello {each}")
        talk.say("Hi.", f"msg_{each}")
    talk.write()
    words = [*SERVER, "import", "--database", str(place.database)]
    environment = place.environment
    with subprocess.Popen(words, cwd=place.workspace, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(0.7)
        process.kill()
    assert place.sessions() == []
    place.bring()
    (session,) = place.sessions()
    assert session.round_count == 6000
    assert place.is_sound()


def test_another_package_brings_a_reader(place: Place, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    about = packages / "other-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[mandrake_sessions.readers]\nother = other:reader\nbad = gone:reader\n")
    (packages / "other.py").write_text(
        "from mandrake_sessions.importing.events import Requested, Said\n"
        "from mandrake_sessions.importing.reading import Source, file_facts\n"
        "class Other:\n"
        "    name = agent = 'other'\n"
        "    def discover(self, home, environment):\n"
        "        return self.sources_at(home + '/talk.other')\n"
        "    def sources_at(self, path):\n"
        "        facts = file_facts(path) if path.endswith('.other') else None\n"
        "        return iter([Source('other', 'other', path, 'one', 'one', **facts)] if facts else [])\n"
        "    def read(self, source, position):\n"
        "        yield Requested('1', open(source.path).read(), 1000)\n"
        "        yield Said('2', 'r', 'message', 'Yes', 2000)\n"
        "        yield Said('3', 'r', 'thought', 4 if 'odd' in source.path else 'So', 2000)\n"
        "        yield from () if 'good' in source.path else [1 / 0]\n"
        "reader = Other\n"
    )
    for name in ("good", "wrong", "odd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "talk.other").write_text("Any words?")

    def bring(*sources: Path, code: int = 0) -> Ended:
        given: tuple[str | Path, ...] = ("import", "--database", place.database, *sources)
        return run(place.workspace, *given, code=code, PYTHONPATH=str(packages), HOME=str(place.home))

    told = bring(tmp_path / "good" / "talk.other")
    assert "other: 1 conversation" in told.out
    assert place.talk("one") == [("Any words?", ["Yes", "So"])]
    # One that fails takes nothing else with it.
    write_both(place)
    place.database.unlink()
    told = bring(tmp_path / "wrong" / "talk.other", place.home, code=1)
    assert "the reader cannot read it (ZeroDivisionError" in told.err
    assert len(place.sessions()) == 2
    told = bring(tmp_path / "odd" / "talk.other", code=1)
    assert "what its reader gives cannot be brought in (" in told.err
    assert len(place.sessions()) == 2
    assert place.is_sound()


@pytest.mark.parametrize(
    ("name", "word"),
    [("Claude Code", "claude-code"), ("/usr/bin/claude", "claude-code"), ("@zed-industries/codex-acp", "codex"),
     ("gemini", "gemini-cli"), ("New Agent", "new-agent"), ("opencode", "opencode")],
)  # fmt: skip
def test_what_agents_call_themselves_is_one_word(name: str, word: str) -> None:
    assert agent_word(name) == word


def test_its_json_is_for_programs(place: Place) -> None:
    write_both(place)
    lines = place.told()
    source = next(line for line in lines if line.get("agent") == "codex")
    assert source == json.loads(json.dumps(source))
    assert (source["externalId"], source["rounds"], source["turns"], source["broken"]) == (THREAD, 1, 1, [])
    assert source["sessionId"] in {session.id for session in place.sessions()}

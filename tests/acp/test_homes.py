"""In which store a session is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acp.recorded import Store, Talk, recording, until, waiting_files
from acp.test_waiting import locked
from commands.running import run
from faults.mounts import switch
from importing.importing import Place
from importing.transcripts import Claude
from mandrake_sessions import SessionManager
from mandrake_sessions.acp.homes import Homes
from mandrake_sessions.errors import WorkspaceNotFound
from mandrake_sessions.settings import BadSetting
from wire import TIMEOUT, store_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the user's own store."""
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("MANDRAKE_HOME", str(directory))
    return directory


def one_round(homes: Homes, name: str, cwd: str | Path | None, **began: str) -> None:
    talk = Talk(homes.put, name, cwd=None if cwd is None else str(cwd), **began)
    talk.ask("?")
    talk.end()


def names(database: Path) -> set[str | None]:
    return {session.external_id for session in Store(database).sessions()} if database.exists() else set()


def test_a_session_is_where_an_editor_in_its_directory_finds_it(workspace: Path, tmp_path: Path, home: Path) -> None:
    below = workspace / "src" / "deep"
    below.mkdir(parents=True)
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    (tmp_path / "file").touch()
    homes = Homes()
    one_round(homes, "here", workspace)
    one_round(homes, "below", below)
    one_round(homes, "other", other)
    for name, directory in (("gone", tmp_path / "gone"), ("file", tmp_path / "file"), ("relative", "src"),
                            ("none", None), ("odd", "/\0"), ("surrogate", "/\ud800")):  # fmt: skip
        one_round(homes, name, directory)
    one_round(homes, "child", other, relation="subagent", parent="here")
    assert homes.end(TIMEOUT)
    assert names(store_of(workspace)) == {"here", "below", "child"}
    assert names(store_of(other)) == {"other"}
    assert names(home / "db.sqlite") == {"gone", "file", "relative", "none", "odd", "surrogate"}


def test_a_directory_that_cannot_be_written_has_its_sessions_in_the_users_own_store(
    workspace: Path, home: Path
) -> None:
    with switch(workspace) as directory:
        directory.set(writable=False)
        homes = Homes()
        one_round(homes, "here", workspace)
        assert homes.end(TIMEOUT)
        directory.set(writable=True)
    assert names(home / "db.sqlite") == {"here"}
    assert not store_of(workspace).exists()


@pytest.mark.parametrize("how", ["workspace", "database", "system"])
def test_flags_name_one_store_for_all(workspace: Path, tmp_path: Path, home: Path, how: str) -> None:
    database = tmp_path / "mine.sqlite"
    given: Any = {
        "workspace": {"workspace": str(workspace)},
        "database": {"database": str(database)},
        "system": {"scope": "system"},
    }[how]
    homes = Homes(**given)
    one_round(homes, "here", tmp_path)
    one_round(homes, "there", None)
    assert homes.end(TIMEOUT)
    place = {"workspace": store_of(workspace), "database": database, "system": home / "db.sqlite"}[how]
    assert names(place) == {"here", "there"}


def test_flags_that_name_no_store() -> None:
    with pytest.raises(BadSetting, match="--database: cannot be given beside --scope system"):
        Homes(database="x", scope="system")
    with pytest.raises(WorkspaceNotFound):
        Homes(workspace="~nobody-has-this-name/x")


def test_one_store_that_is_held_holds_no_other_up(workspace: Path, tmp_path: Path, home: Path) -> None:
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    homes = Homes()
    one_round(homes, "before", workspace)
    until(lambda: names(store_of(workspace)) == {"before"})
    with locked(store_of(workspace)):
        one_round(homes, "here", workspace)
        one_round(homes, "other", other)
        until(lambda: names(store_of(other)) == {"other"})
        assert names(store_of(workspace)) == {"before"}
    assert homes.end(TIMEOUT)
    assert names(store_of(workspace)) == {"before", "here"}


def test_the_store_is_found_by_commands_that_look_everywhere(workspace: Path, home: Path) -> None:
    homes = Homes()
    one_round(homes, "here", workspace)
    assert homes.end(TIMEOUT)
    told = run(workspace.parent, "list", "--all", "--json", MANDRAKE_HOME=str(home)).out
    assert '"externalId":"here"' in told.replace('": "', '":"')
    assert run(workspace.parent, "search", "?", "--all", code=None, MANDRAKE_HOME=str(home)).code in (0, 1)


def test_files_that_wait_do_not_trouble_the_care_of_a_store(workspace: Path, home: Path) -> None:
    database = store_of(workspace)
    homes = Homes(str(workspace))
    one_round(homes, "before", workspace)
    until(lambda: names(database) == {"before"})
    with locked(database):
        one_round(homes, "later", workspace)
        assert not homes.end(0.2)
    assert len(waiting_files(database.parent)) == 1
    told = run(workspace, "doctor", MANDRAKE_HOME=str(home))
    assert "0 problems" in told.out


def test_a_conversation_that_was_brought_in_and_is_recorded_by_now_is_brought_in_no_further(tmp_path: Path) -> None:
    workspace, home = tmp_path / "workspace", tmp_path / "user"
    (workspace / ".git").mkdir(parents=True)
    place = Place(home, workspace)
    name = "11111111-2222-4333-8444-555555555555"
    talk = Claude(home / ".claude" / "projects" / "-home-somebody-project" / f"{name}.jsonl", name)
    talk.ask("first")
    talk.say("1", "r1")
    talk.write()
    place.bring()
    assert [each[0] for each in place.talk(name)] == ["first"]
    with recording(place.database) as homes:
        live = Talk(homes.put, name, "claude-code")
        live.ask("second")
        live.say("2")
        live.end()
    talk.ask("second")
    talk.say("2", "r2")
    talk.write()
    assert "1 recorded here while they went on" in place.bring().out
    assert place.talk(name) == [("first", ["1"]), ("second", ["2"])]
    (session,) = place.sessions()
    assert session.source == "acp"
    with SessionManager(place.database) as manager:
        assert manager.get_session(external_id=name, agent="claude-code").round_count == 2
    # All of the file is kept, as of every conversation that was recorded.
    back = home / "back"
    run(workspace, "restore-transcript", name, "--database", place.database, "--to", f"{back}/", HOME=str(home))
    (path,) = [path for path in back.rglob("*") if path.is_file()]
    assert path.read_bytes() == talk.path.read_bytes()
    assert place.is_sound()

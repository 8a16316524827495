"""Which file is meant, and what is made when it is first used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import StorageFailure
from strict import StrictSyncClient, connected
from wire import run_script, store_of

CREATE = {"jsonrpc": "2.0", "id": 1, "method": "session/create"}
INFO = {"jsonrpc": "2.0", "id": 2, "method": "server/info"}


def make_store(directory: Path) -> None:
    run_script(directory, CREATE, flags=("--workspace", str(directory)))
    assert store_of(directory).exists()


@pytest.mark.parametrize(
    ("git", "stores", "start", "expected"),
    [
        (None, [], "a/b", "a/b"),
        ("a", [], "a/b", "a"),
        ("a", ["a"], "a/b/c", "a"),
        ("a", ["a", "a/b"], "a/b/c", "a/b"),
        ("a/b", ["a"], "a/b/c", "a/b"),
        (None, ["a"], "a/b/c", "a"),
        (None, [""], "a", "a"),
    ],
)
def test_an_agent_that_starts_below_finds_the_store_of_the_editor(
    tmp_path: Path, git: str | None, stores: list[str], start: str, expected: str
) -> None:
    """``tmp_path`` is the home directory here: nothing at or above it is ever a workspace."""
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    if git is not None:
        (tmp_path / git / ".git").mkdir()
    for name in stores:
        make_store(tmp_path / name)
    with connected(tmp_path / start, environment={"HOME": str(tmp_path)}) as client:
        client.session_create()
        found = client.server_info()
    assert found.workspace == str(tmp_path / expected)
    assert store_of(tmp_path / expected).exists()


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"workspaceFolders": [{"uri": "{b}", "name": "b"}], "rootUri": "{a}"}, "b"),
        ({"rootUri": "{a}", "rootPath": "/nowhere"}, "a"),
        ({"rootPath": "{path}", "rootUri": None}, "b"),
        ({"workspaceFolders": None, "rootUri": None}, "workspace"),
    ],
)
def test_initialize_names_the_workspace(workspace: Path, params: dict[str, Any], expected: str) -> None:
    for name in "ab":
        (workspace.parent / name).mkdir()
    names = {"{a}": (workspace.parent / "a").as_uri(), "{b}": (workspace.parent / "b").as_uri()}
    names["{path}"] = str(workspace.parent / "b")
    with connected(workspace) as client:
        client.initialize(**_filled(params, names))
        client.session_create()
        assert client.server_info().workspace == str(workspace.parent / expected)
    assert store_of(workspace.parent / expected).exists()


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    return names.get(value, value)


def test_a_flag_wins_over_initialize(workspace: Path) -> None:
    (workspace / "flag").mkdir()
    with connected(workspace, "--workspace", "flag") as client:
        client.initialize(rootUri=workspace.as_uri())
        client.session_create()
    assert store_of(workspace / "flag").exists()
    assert not store_of(workspace).exists()


def test_one_directory_is_one_store_however_the_flag_spells_it(workspace: Path) -> None:
    folder = workspace / "a b"
    (folder / "sub").mkdir(parents=True)
    for spelling in (f"{folder}/sub/..", f"/{folder}//sub/../", "a b/./sub/.."):
        with connected(workspace, "--workspace", spelling) as client:
            assert client.session_list(where={"workspace": folder.as_uri()}).sessions == []
            info = client.server_info()
            assert (info.workspace, info.stores[0].path) == (str(folder), str(store_of(folder)))


@pytest.mark.parametrize("named_by", ["--workspace", "MANDRAKE_SESSIONS_WORKSPACE", "the folders that the editor"])
def test_a_directory_that_is_not_there_is_traced_to_what_named_it(workspace: Path, named_by: str) -> None:
    missing = workspace / "missing"
    flags = ("--workspace", str(missing)) if named_by == "--workspace" else ()
    environment = {named_by: str(missing)} if named_by.startswith("MANDRAKE") else {}
    with connected(workspace, *flags, environment=environment) as client:
        if named_by.startswith("the"):
            client.initialize(workspaceFolders=[{"uri": missing.as_uri(), "name": "m"}])
        error = client.error("session/create")
        assert (error.kind, error.data["workspace"]) == ("workspaceNotFound", str(missing))
        assert f"check {named_by}" in str(error)
        assert ("editor" in str(error)) is named_by.startswith("the")


def test_what_is_made_is_private_and_kept_out_of_git(workspace: Path, client: StrictSyncClient) -> None:
    client.session_create()
    made = {path.name: path.stat().st_mode & 0o777 for path in (workspace / ".ws").iterdir()}
    assert made.pop(".gitignore") is not None
    assert (workspace / ".ws" / ".gitignore").read_text() == "*\n"
    assert made == {"db.sqlite": 0o600, "db.sqlite-wal": 0o600, "db.sqlite-shm": 0o600}
    assert (workspace / ".ws").stat().st_mode & 0o777 == 0o700


def test_nothing_is_made_before_a_store_is_used(workspace: Path) -> None:
    run_script(workspace, INFO, {"jsonrpc": "2.0", "id": 3, "method": "server/health"})
    assert not (workspace / ".ws").exists()


@pytest.mark.parametrize("name", ["~/own.sqlite", "deep/er/own.sqlite"])
def test_database_names_the_file_itself(workspace: Path, name: str) -> None:
    home = workspace / "home"
    home.mkdir()
    run_script(workspace, CREATE, flags=("--database", name))
    expected = home / "own.sqlite" if name.startswith("~") else workspace / name
    assert expected.exists()
    assert not (workspace / ".ws").exists()


def test_the_users_own_store_is_another(workspace: Path, client: StrictSyncClient) -> None:
    here = client.session_create(title="here")
    there = client.session_create(title="there", where={"scope": "system"})
    assert client.session_list().sessions == [here]
    assert client.session_list(where={"scope": "system"}).sessions == [there]
    assert client.error("session/get", sessionId=there.id).code == -32010
    assert (workspace / "home" / ".mandrake" / "db.sqlite").exists()
    assert {store.scope for store in client.server_info().stores} == {"workspace", "system"}


@pytest.mark.parametrize("uri", ["file:///elsewhere", "http://[bad", "nonsense", "untitled:x", "file:///a%00b"])
def test_a_folder_that_is_not_the_clients_is_refused(client: StrictSyncClient, uri: str) -> None:
    error = client.error("session/list", workspace=uri)
    assert (error.code, error.kind, error.data["workspace"]) == (-32014, "workspaceNotFound", uri)


@pytest.mark.parametrize("name", ["with space", "ünï", "a%41b", "c#d?e"])
def test_folders_of_any_name(workspace: Path, name: str) -> None:
    folder = workspace / name
    folder.mkdir()
    with connected(workspace) as client:
        client.initialize(rootUri=folder.as_uri())
        client.session_create(where={"workspace": folder.as_uri()})
    assert store_of(folder).exists()


def test_a_database_may_be_named_by_its_uri(workspace: Path, tmp_path: Path) -> None:
    run_script(workspace, CREATE, flags=("--database", (tmp_path / "named here.sqlite").as_uri()))
    assert (tmp_path / "named here.sqlite").exists()


def test_a_url_of_another_kind_of_store_is_refused_and_its_secret_told_nowhere(workspace: Path) -> None:
    before = sorted(workspace.rglob("*"))
    log = workspace.parent / "log"
    flags = ("--database", "postgresql://user:secret@host/name", "--log-level", "debug", "--log-file", str(log))
    with connected(workspace, *flags) as client:
        error = client.error("session/create")
        assert (error.code, error.data["reason"], error.data["path"]) == (-32013, "open", "postgresql://…")
        assert "postgresql://…: there is no store of this kind; name a file with --database" in str(error)
        assert "secret" not in repr((error.data, client.server_info(), client.server_health()))
    assert "secret" not in log.read_text()
    assert sorted(workspace.rglob("*")) == before
    with pytest.raises(StorageFailure, match="there is no store of this kind; name a file with db_path"):
        SessionManager("postgresql://user:secret@host/name")


def test_the_original_mandrakes_database_is_refused_by_name(workspace: Path, client: StrictSyncClient) -> None:
    (workspace / ".ws").mkdir()
    with closing(sqlite3.connect(store_of(workspace))) as connection:
        connection.execute("CREATE TABLE sessions (id TEXT)")
    before = store_of(workspace).read_bytes()
    error = client.error("session/create")
    assert (error.code, error.data["reason"]) == (-32013, "foreignDatabase")
    assert "mandrake-sessions import" in str(error)
    assert error.data["path"] == str(store_of(workspace))
    assert store_of(workspace).read_bytes() == before
    assert client.told("server/healthChanged").status == "down"


def test_a_workspace_that_cannot_hold_a_store_is_named(workspace: Path, client: StrictSyncClient) -> None:
    (workspace / ".ws").write_text("a file")
    error = client.error("session/create")
    assert (error.code, error.data["reason"]) == (-32013, "createDirectory")
    assert "Failed to create database directory" in str(error)
    assert client.told("server/healthChanged").status == "down"


def test_health_tells_of_a_store_before_and_after_it_is_used(workspace: Path, client: StrictSyncClient) -> None:
    (before,) = client.server_health().stores
    assert (before.open, before.status, before.store_id) == (False, "ok", None)
    assert before.path == str(store_of(workspace))
    client.session_create()
    (after,) = client.server_health().stores
    assert (after.open, after.status, after.schema_version, after.ref_count) == (True, "ok", 6, 1)


def test_health_says_why_a_store_is_down(workspace: Path, client: StrictSyncClient) -> None:
    (workspace / ".ws").write_text("a file")
    client.error("session/create")
    for health in client.server_health(), client.told("server/healthChanged"):
        assert health.status == health.stores[0].status == "down"
        assert "Failed to create database directory" in (health.stores[0].last_error or "")

"""Who may read a store, and what a checked-out directory may not lead to."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from strict import StrictSyncClient, Talk, connected
from wire import SERVER, TIMEOUT, clean_environment, run_script, store_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes and links are another thing there")

SECRET = "xyzzy-plugh-"


def files_of(workspace: Path) -> list[Path]:
    return [path for path in (workspace / ".ws").rglob("*") if path.is_file()]


def test_everything_that_is_made_is_the_owners_alone(workspace: Path) -> None:
    with connected(workspace) as client:
        Talk(client).turn()
        modes = {path.name: path.stat().st_mode & 0o777 for path in (workspace / ".ws").rglob("*")}
        assert (workspace / ".ws").stat().st_mode & 0o777 == 0o700
        assert {name for name in modes if name.startswith("db.sqlite")} >= {
            "db.sqlite",
            "db.sqlite-wal",
            "db.sqlite-run",
        }
        modes.pop(".gitignore")
        assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}
        assert client.server_health().stores[0].warnings == build_warnings(client)


def build_warnings(client: StrictSyncClient) -> list[str]:
    """What this machine's SQLite is warned of, which is none of the test's business."""
    return [w for w in client.server_health().stores[0].warnings if w.startswith("SQLite ")]


@pytest.mark.parametrize(("name", "mode"), [("db.sqlite", 0o644), ("db.sqlite", 0o660), (".", 0o755)])
def test_what_others_may_read_is_warned_of(workspace: Path, name: str, mode: int) -> None:
    run_script(workspace, {"jsonrpc": "2.0", "id": 1, "method": "session/create"})
    (workspace / ".ws" / name).chmod(mode)
    with connected(workspace) as client:
        client.session_list()
        health = client.server_health()
        assert health.status == "ok"
        assert any(f"mode {mode:o}" in warning for warning in health.stores[0].warnings)
        client.wait_for_log("other users may use")


def lay(workspace: Path, link: str, target: Path) -> None:
    path = workspace / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target, target_is_directory=target.is_dir())


@pytest.mark.parametrize(
    "link", [".ws", ".ws/db.sqlite", ".ws/db.sqlite-wal", ".ws/db.sqlite-shm", ".ws/db.sqlite-run"]
)
@pytest.mark.parametrize("there", [True, False])
def test_links_out_of_the_workspace_are_not_followed(workspace: Path, tmp_path: Path, link: str, there: bool) -> None:
    """A repository that is checked out may hold such links; what they lead to is neither read nor written."""
    victim = tmp_path / "victim"
    if there and (link == ".ws" or link.endswith("-run")):
        victim.mkdir()
    elif there:
        with closing(sqlite3.connect(victim)) as connection:
            connection.execute("CREATE TABLE secret (text)")
    before = victim.read_bytes() if victim.is_file() else None
    lay(workspace, link, victim)
    with connected(workspace) as client:
        error = client.error("session/create")
        assert (error.code, error.data["reason"]) == (-32013, "open")
        named = f"link in {workspace / '.ws'}" if link == ".ws/db.sqlite" else f"{workspace / link} is a symbolic link"
        assert named in str(error)
        assert client.told("server/healthChanged").status == "down"
    assert victim.exists() is there
    if victim.is_dir():
        assert list(victim.iterdir()) == []
    elif there:
        assert victim.read_bytes() == before


@pytest.mark.parametrize("there", [True, False])
def test_a_gitignore_that_is_a_link_is_let_be(workspace: Path, tmp_path: Path, there: bool) -> None:
    """A repository may bring it; what it leads to is neither written nor made."""
    victim = tmp_path / "victim"
    if there:
        victim.write_text("precious")
    lay(workspace, ".ws/.gitignore", victim)
    with connected(workspace) as client:
        client.session_create()
    assert victim.exists() is there
    assert not there or victim.read_text() == "precious"


def test_a_file_that_was_named_may_be_a_link(workspace: Path, tmp_path: Path) -> None:
    """`--database` says what is meant."""
    (tmp_path / "real").mkdir()
    lay(workspace, "link.sqlite", tmp_path / "real" / "db.sqlite")
    (tmp_path / "real" / "db.sqlite").touch(mode=0o600)
    with connected(workspace, "--database", str(workspace / "link.sqlite")) as client:
        client.session_create()
    assert (tmp_path / "real" / "db.sqlite").stat().st_size > 0


def test_deleted_text_is_gone_from_all_files_soon(workspace: Path) -> None:
    """Overwritten in the database, and gone from the -wal with the next checkpoint, while the server runs on."""
    with connected(workspace, "--feed-max-bytes", "1024") as client:
        conversation = Talk(client, title=SECRET + "title", metadata={"m": SECRET + "metadata"})
        client.request_update(request_id=conversation.request, content=SECRET + "request")
        turn = conversation.turn(content=SECRET + "created")
        for n in range(50):
            client.turn_append(turn_id=turn, content=f"{SECRET}{n}", raw_response=f"{SECRET}raw{n}")
        client.tool_call_upsert(turn_id=turn, tool_call={"id": "1", "arguments": {"a": SECRET}})
        assert any(SECRET.encode() in path.read_bytes() for path in files_of(workspace))
        client.session_delete(session_id=conversation.session)
        deadline = time.monotonic() + TIMEOUT
        while found := [path.name for path in files_of(workspace) if SECRET.encode() in path.read_bytes()]:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)


def test_lock_files_that_cannot_be_made_are_named_by_health_and_doctor(workspace: Path) -> None:
    """Turns go on without them."""
    run = Path(f"{store_of(workspace)}-run")
    with connected(workspace) as client:
        client.session_create()
        run.touch()
        Talk(client).turn(content="here")
        (store,) = client.server_health().stores
    assert store.status == "ok"
    assert f"{run} is not a directory, so no lock files can be created in it; remove it" in store.warnings
    doctor = subprocess.run([*SERVER, "doctor"], cwd=workspace, env=clean_environment(workspace), check=False,
                            capture_output=True, text=True, timeout=TIMEOUT)  # fmt: skip
    assert doctor.returncode == 0
    assert f"{run} is not a directory" in doctor.stdout

"""Files and directories that may only be read, from the start or all at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from faults.mounts import switch
from mandrake_sessions.client import RequestFailed
from strict import Talk, connected
from wire import SERVER


def fill(workspace: Path) -> str:
    with connected(workspace) as client:
        return Talk(client, title="kept").session


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="modes do not bind root")
@pytest.mark.parametrize("mode", [0o400, 0o444])
def test_a_file_that_may_only_be_read_is_read(workspace: Path, mode: int) -> None:
    session = fill(workspace)
    store = workspace / ".ws" / "db.sqlite"
    store.chmod(mode)
    with connected(workspace) as client:
        assert client.session_get(session_id=session).title == "kept"
        assert client.error("session/create").data["reason"] == "readOnly"
        client.let_be("server/healthChanged")


def bound_by_modes() -> tuple[str, ...]:
    """What begins the command of a server that modes bind, for root too."""
    if os.name == "nt":
        pytest.skip("modes are another thing there")
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root cannot be bound by modes here")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")


def test_a_file_that_may_be_written_again_is_not_held_up_by_what_reading_it_left_behind(workspace: Path) -> None:
    """SQLite gives the -wal and -shm the file's mode, and a reader leaves them there."""
    session = fill(workspace)
    store = workspace / ".ws" / "db.sqlite"
    command = (*bound_by_modes(), *SERVER, "serve")
    store.chmod(0o400)
    with connected(workspace, command=command) as client:
        assert client.session_get(session_id=session).title == "kept"
        client.let_be("server/healthChanged")
    store.chmod(0o600)
    with connected(workspace, command=command) as client:
        assert client.session_create().id
        assert client.server_health().status == "ok"


def test_a_directory_that_may_only_be_read_is_read_and_written_again_when_it_may_be(workspace: Path) -> None:
    session = fill(workspace)
    with switch(workspace / ".ws") as directory:
        directory.set(writable=False)
        with connected(workspace) as client:
            assert client.session_get(session_id=session).title == "kept"
            for _ in range(2):
                error = client.error("session/create")
                assert (error.code, error.data["reason"]) == (-32013, "readOnly")
            assert len(client.session_list().sessions) == 1
            told = client.told("server/healthChanged")
            assert (told.status, told.stores[0].status) == ("degraded", "degraded")
            directory.set(writable=True)
            assert client.session_create().id
            assert client.told("server/healthChanged").status == "ok"
            assert len(client.session_list().sessions) == 2


def test_a_file_system_that_becomes_read_only_under_a_server(workspace: Path) -> None:
    """Handles that are open may go on working, where only modes changed; what is acknowledged is stored in any case."""
    fill(workspace)
    stored = 1
    with switch(workspace / ".ws") as directory, connected(workspace) as client:
        client.session_create()
        directory.set(writable=False)
        for _ in range(3):
            error = client.submit("session/create").exception()
            if error is not None:
                assert isinstance(error, RequestFailed)
                assert error.data["reason"] == "readOnly"
            else:
                stored += 1
        directory.set(writable=True)
        client.session_create()
        assert len(client.session_list().sessions) == 2 + stored
        assert client.server_health().status == "ok"
        client.let_be("server/healthChanged")


def test_a_workspace_in_which_nothing_can_be_made_is_told_of(workspace: Path) -> None:
    with switch(workspace) as directory:
        directory.set(writable=False)
        with connected(workspace) as client:
            error = client.error("session/create")
            assert (error.code, error.data["reason"]) == (-32013, "createDirectory")
            assert client.told("server/healthChanged").status == "down"
            directory.set(writable=True)
            assert client.told("server/healthChanged").status == "ok"
            assert client.session_create().id


def test_who_owns_what_cannot_be_written_is_said(workspace: Path) -> None:
    """`Permission denied` alone leaves people to guess which user is meant, and of which directory."""
    with switch(workspace) as directory:
        directory.set(writable=False)
        with connected(workspace) as client:
            client.let_be("server/healthChanged")
            message = client.error("session/create").message
            assert "belongs to" in message or "Read-only file system" in message, message

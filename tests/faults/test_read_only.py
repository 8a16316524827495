"""Files and directories that may only be read, from the start or all at once."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from faults.mounts import switch
from wire import SERVER, Conversation, Wire, serving


def fill(workspace: Path) -> str:
    with serving(workspace) as wire:
        session: str = Conversation(wire, title="kept").session
    return session


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="modes do not bind root")
@pytest.mark.parametrize("mode", [0o400, 0o444])
def test_a_file_that_may_only_be_read_is_read(workspace: Path, mode: int) -> None:
    session = fill(workspace)
    store = workspace / ".ws" / "db.sqlite"
    store.chmod(mode)
    with serving(workspace) as wire:
        assert wire.request("session/get", sessionId=session)["title"] == "kept"
        assert wire.error("session/create")["data"]["reason"] == "readOnly"
        wire.let_be("server/healthChanged")


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
    with closing(Wire(workspace, command=command)) as wire:
        assert wire.request("session/get", sessionId=session)["title"] == "kept"
        wire.let_be("server/healthChanged")
    store.chmod(0o600)
    with closing(Wire(workspace, command=command)) as wire:
        assert wire.request("session/create")["id"]
        assert wire.request("server/health")["status"] == "ok"


def test_a_directory_that_may_only_be_read_is_read_and_written_again_when_it_may_be(workspace: Path) -> None:
    session = fill(workspace)
    with switch(workspace / ".ws") as directory:
        directory.set(writable=False)
        with serving(workspace) as wire:
            assert wire.request("session/get", sessionId=session)["title"] == "kept"
            for _ in range(2):
                error = wire.error("session/create")
                assert (error["code"], error["data"]["reason"]) == (-32013, "readOnly")
            assert len(wire.request("session/list")["sessions"]) == 1
            told = wire.notification("server/healthChanged")
            assert (told["status"], told["stores"][0]["status"]) == ("degraded", "degraded")
            directory.set(writable=True)
            assert wire.request("session/create")["id"]
            assert wire.notification("server/healthChanged")["status"] == "ok"
            assert len(wire.request("session/list")["sessions"]) == 2


def test_a_file_system_that_becomes_read_only_under_a_server(workspace: Path) -> None:
    """Handles that are open may go on working, where only modes changed; what is acknowledged is stored in any case."""
    fill(workspace)
    stored = 1
    with switch(workspace / ".ws") as directory, serving(workspace) as wire:
        wire.request("session/create")
        directory.set(writable=False)
        for _ in range(3):
            answer = wire.answer(wire.post("session/create"))
            if "error" in answer:
                assert answer["error"]["data"]["reason"] == "readOnly"
            else:
                stored += 1
        directory.set(writable=True)
        wire.request("session/create")
        assert len(wire.request("session/list")["sessions"]) == 2 + stored
        assert wire.request("server/health")["status"] == "ok"
        wire.let_be("server/healthChanged")


def test_a_workspace_in_which_nothing_can_be_made_is_told_of(workspace: Path) -> None:
    with switch(workspace) as directory:
        directory.set(writable=False)
        with serving(workspace) as wire:
            error = wire.error("session/create")
            assert (error["code"], error["data"]["reason"]) == (-32013, "createDirectory")
            assert wire.notification("server/healthChanged")["status"] == "down"
            directory.set(writable=True)
            assert wire.notification("server/healthChanged")["status"] == "ok"
            assert wire.request("session/create")["id"]


def test_who_owns_what_cannot_be_written_is_said(workspace: Path) -> None:
    """`Permission denied` alone leaves people to guess which user is meant, and of which directory."""
    with switch(workspace) as directory:
        directory.set(writable=False)
        with serving(workspace) as wire:
            wire.let_be("server/healthChanged")
            message = wire.error("session/create")["message"]
            assert "belongs to" in message or "Read-only file system" in message, message

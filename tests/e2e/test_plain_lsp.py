"""What the libraries of editors do by themselves: their flags, the process they name, what they send in passing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strict import connected
from wire import SERVER, TIMEOUT, Framing, Wire, clean_environment, serving

# Linux and macOS give no process such an id.
NOBODY = 2**31 - 1


@pytest.mark.parametrize("command", [[], ["serve"]], ids=["bare", "serve"])
@pytest.mark.parametrize(
    "flags",
    [
        ["--stdio"],
        ["--clientProcessId=N"],
        ["--clientProcessId", "N"],
        ["--stdio", "--clientProcessId=N"],
        ["--clientProcessId=N", "--log-level", "info", "--stdio"],
    ],
    ids=" ".join,
)
def test_the_flags_of_lsp_are_taken(workspace: Path, command: list[str], flags: list[str]) -> None:
    given = [flag.replace("N", str(os.getpid())) if flag.endswith("N") else flag for flag in flags]
    asked = '{"jsonrpc": "2.0", "id": 1, "method": "session/list"}\n'
    done = subprocess.run([*SERVER, *command, *given], input=asked, capture_output=True, text=True, check=False,
                          cwd=workspace, env=clean_environment(workspace), timeout=TIMEOUT)  # fmt: skip
    assert (done.returncode, '"sessions":[]' in done.stdout) == (0, True), (done.stdout, done.stderr)


@pytest.mark.parametrize("flag", ["--pipe=x", "--socket=5", "--port=5", "--node-ipc"])
def test_another_transport_is_told_of_the_one_that_there_is(workspace: Path, flag: str) -> None:
    done = subprocess.run([*SERVER, flag], input="", capture_output=True, text=True, check=False, cwd=workspace,
                          env=clean_environment(workspace), timeout=TIMEOUT)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    said = done.stderr.splitlines()[-1]
    assert flag.partition("=")[0] in said
    assert "start it with --stdio" in said


@pytest.mark.parametrize("value", ["", "x", "0", "-5", "1.5", "9" * 5000])
def test_an_invalid_process_id_is_reported(workspace: Path, value: str) -> None:
    done = subprocess.run([*SERVER, f"--clientProcessId={value}"], input="", capture_output=True, text=True,
                          check=False, cwd=workspace, env=clean_environment(workspace), timeout=TIMEOUT)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not the id of a process" in done.stderr
    assert len(done.stderr) < 4000


def named(workspace: Path, process_id: int, way: str) -> Wire:
    """A server that was told of a parent, in one of the two ways."""
    if way == "flag":
        wire = Wire(workspace, "lines", f"--clientProcessId={process_id}")
        wire.request("session/list")
    else:
        wire = Wire(workspace)
        wire.initialize(processId=process_id)
    return wire


@pytest.mark.parametrize("way", ["flag", "initialize"])
def test_it_ends_with_its_parent(workspace: Path, way: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    wire = named(workspace, parent.pid, way)
    assert parent.stdin is not None
    parent.stdin.close()
    # Nobody has waited for the parent yet: it is gone all the same.
    if sys.platform == "linux":
        assert wire.process.wait(TIMEOUT) == 0
    parent.wait(TIMEOUT)
    assert wire.process.wait(TIMEOUT) == 0
    assert wire.unread() == []


@pytest.mark.parametrize("way", ["flag", "initialize"])
def test_a_parent_that_cannot_be_seen_is_not_watched(workspace: Path, way: str) -> None:
    """A process of another container, say, whose id means nothing here; or one that has ended before."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(TIMEOUT)
    for process_id in (NOBODY, ended.pid):
        wire = named(workspace, process_id, way)
        with pytest.raises(subprocess.TimeoutExpired):
            wire.process.wait(2.5)
        wire.request("session/list")
        wire.close()


def test_both_parents_are_watched(workspace: Path) -> None:
    editor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    wire = Wire(workspace, "lines", f"--clientProcessId={editor.pid}")
    wire.initialize()
    editor.communicate(b"\n", timeout=TIMEOUT)
    assert wire.process.wait(TIMEOUT) == 0
    assert wire.unread() == []


def test_what_means_nothing_here_leaves_no_line(workspace: Path, framing: Framing) -> None:
    with serving(workspace, framing) as wire:
        wire.initialize()
        for token in ("unknown", 5):
            wire.notify("window/workDoneProgress/cancel", token=token)
        wire.send({"jsonrpc": "2.0", "id": 77, "result": None})
        error = wire.error("workspace/executeCommand", command="nobody.has.this", arguments=[])
        assert (error["code"], error["data"]["kind"], error["data"]["path"]) == (
            -32602, "invalidParams", "params.command",
        )  # fmt: skip
        assert "'nobody.has.this'" in error["message"]
        wire.request("session/list")
    assert wire.stderr == ""


def test_a_store_that_cannot_be_opened_is_told_once_as_a_warning(workspace: Path) -> None:
    """Also to a client that knows nothing of server/healthChanged; and when it is well again."""
    store = workspace / ".ws" / "db.sqlite"
    store.mkdir(parents=True)
    with connected(workspace, framing="headers") as client:
        client.initialize(rootUri=workspace.as_uri())
        client.let_be("server/healthChanged")
        assert client.error("session/list").kind == "storage"
        told = client.told("window/logMessage")
        assert told["type"] == 2
        assert str(store) in told["message"]
        assert "is a directory" in told["message"]
        assert client.error("session/list").kind == "storage"
        store.rmdir()
        assert client.told("window/logMessage")["message"].endswith("the store is ok again")
        client.session_create()
    # An editor writes stderr and logMessage into one log.
    assert (client.stderr, client.log.count("is a directory"), client.log.count("ok again")) == ("", 1, 1)


def test_a_warning_is_on_stderr_until_the_client_has_initialized(workspace: Path) -> None:
    store = workspace / ".ws" / "db.sqlite"
    store.mkdir(parents=True)
    with connected(workspace, "--workspace", str(workspace), framing="headers") as client:
        client.let_be("server/healthChanged")
        assert client.error("session/list").kind == "storage"
        client.wait_for_log("is a directory")
    assert client.stderr.count("is a directory") == 1

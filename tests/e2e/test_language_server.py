"""pygls is loaded after ``initialize`` is answered: what needs it waits for it, and nothing else does."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wire import Message, Wire, store_of

# The server itself, whose import of pygls waits until a file named `go` says whether it succeeds.
_HELD = """
import os, runpy, sys, time
from importlib.machinery import PathFinder, SourceFileLoader

class Held(SourceFileLoader):
    def exec_module(self, module):
        with open("asked", "w"):
            pass
        while not os.path.exists("go"):
            time.sleep(0.005)
        with open("go") as go:
            if (how := go.read()) != "succeed":
                raise {"fail": ImportError, "exit": SystemExit}[how]("it is broken")
        super().exec_module(module)

class Hold:
    def find_spec(self, name, path=None, target=None):
        # It must not wait here: while a module is looked for, no thread can load another.
        if name != "pygls":
            return None
        spec = PathFinder.find_spec(name, path)
        spec.loader = Held(name, spec.origin)
        return spec

sys.meta_path.insert(0, Hold())
sys.argv = ["mandrake-sessions", "serve"]
runpy.run_module("mandrake_sessions", run_name="__main__")
"""


@pytest.fixture
def held(workspace: Path) -> Iterator[Wire]:
    wire = Wire(workspace, command=(sys.executable, "-c", _HELD))
    yield wire
    wire.kill()


def let_go(workspace: Path, how: str = "succeed") -> None:
    before = workspace / "before"
    before.write_text(how)
    before.rename(workspace / "go")


def wait_until_asked(workspace: Path) -> None:
    deadline = time.monotonic() + 20
    while not (workspace / "asked").exists():
        assert time.monotonic() < deadline, "nobody loads pygls"
        time.sleep(0.005)


def test_it_is_loaded_after_initialize_without_being_asked(workspace: Path, held: Wire) -> None:
    held.initialize()
    wait_until_asked(workspace)
    let_go(workspace)
    held.request("shutdown")
    held.notify("exit")
    assert held.process.wait(20) == 0
    assert held.unread() == []


def test_our_own_methods_do_not_wait_for_pygls(workspace: Path, held: Wire) -> None:
    folder = workspace / "folder"
    folder.mkdir()
    held.initialize()
    wait_until_asked(workspace)
    held.request("session/create")
    added = {"added": [{"uri": folder.as_uri(), "name": "folder"}], "removed": []}
    held.notify("workspace/didChangeWorkspaceFolders", event=added)
    held.request("session/create", workspace=folder.as_uri())
    assert store_of(folder).exists()
    assert held.error("workspace/executeCommand", command="none")["code"] == -32602
    let_go(workspace)
    held.close()


def test_shutdown_waits_for_it_and_exit_for_that(workspace: Path, held: Wire) -> None:
    held.initialize()
    asked = held.post("shutdown")
    wait_until_asked(workspace)
    assert held.error("session/list")["code"] == -32600
    held.notify("exit")
    with pytest.raises(TimeoutError):
        wait(held, 0.3)
    let_go(workspace)
    assert held.result(asked) is None
    assert held.process.wait(20) == 0
    assert held.unread() == []


def wait(wire: Wire, seconds: float) -> None:
    """Raises TimeoutError where the process goes on."""
    deadline = time.monotonic() + seconds
    while wire.process.poll() is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["fail", "exit"])
def test_where_it_cannot_be_loaded_the_server_answers_shutdown(workspace: Path, held: Wire, how: str) -> None:
    held.initialize()
    asked = held.post("shutdown")
    wait_until_asked(workspace)
    let_go(workspace, how)
    assert held.result(asked) is None
    told = held.notification("window/logMessage")
    assert (told["type"], "could not be loaded" in told["message"]) == (2, True)
    held.notify("exit")
    assert held.process.wait(20) == 0
    assert held.unread() == []


def test_messages_that_wait_for_pygls_are_bounded(workspace: Path, held: Wire) -> None:
    """Nothing more is taken in while 1 MiB waits; then all of it is."""
    held.initialize()
    wait_until_asked(workspace)
    folders = [{"uri": f"file:///nowhere/{number}", "name": "n" * 1000} for number in range(300)]
    change = {"event": {"added": folders, "removed": folders}}
    message: Message = {"jsonrpc": "2.0", "method": "workspace/didChangeWorkspaceFolders", "params": change}
    for _ in range(5):
        held.send(message)
    late = held.post("session/list", scope="system")
    assert held.request("server/info")["version"]
    with pytest.raises(AssertionError, match="nothing came"):
        held.wait_for(lambda message: message.get("id") == late, timeout=0.3)
    let_go(workspace)
    held.result(late)
    held.close()


def test_a_burst_ends_in_order(workspace: Path) -> None:
    """A client may send everything that it has to say at once."""
    wire = Wire(workspace)
    initialize: Message = {"processId": None, "rootUri": workspace.as_uri(), "capabilities": {}}
    calls: list[Message] = [
        {"id": 1, "method": "initialize", "params": initialize},
        {"method": "initialized", "params": {}},
        {"id": 2, "method": "session/create"},
        {"id": 3, "method": "shutdown"},
        {"method": "exit"},
    ]
    wire.send_bytes(b"".join(wire.frame(json.dumps({"jsonrpc": "2.0", **call}).encode()) for call in calls))
    assert [wire.answer(number)["result"] is None for number in (1, 2, 3)] == [False, False, True]
    assert wire.process.wait(20) == 0
    assert wire.unread() == []

"""Four walks through the program pass each room once, downwards.

The test compares what a server does with the rooms that are written down here by hand, and not with the drawing in
ARCHITECTURE.md: who changes one changes the other. A server notes which rooms are on the stack when it calls SQLite.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mandrake_sessions.client import SyncClient
from wire import clean_environment

# From the top. What stands on the stack between them (rules, paging, protocol) is called and calls nothing below.
ROOMS = ("transport", "connection", "handlers", "open_stores", "manager", "operations", "store")
# By where the stack of a walk leads through: module, and function if only one of it counts.
WALKS: dict[str, tuple[str, str | None]] = {
    "append": ("operations.turns", "append_pieces"),
    "snapshot": ("connection.reads", "take_snapshot"),
    "history": ("operations.history", None),
    "commit": ("connection.store_changes", None),
    "opening": ("open_stores", "open"),
}

SERVER = """
import json, sqlite3, sys, threading

PACKAGE = "mandrake_sessions."
seen = {}


def note(frame, event, function):
    if event == "c_call" and isinstance(getattr(function, "__self__", None), (sqlite3.Connection, sqlite3.Cursor)):
        seen[tuple(stack(frame))] = None


def stack(frame):
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == "asyncio.events":
            return
        if module.startswith(PACKAGE):
            yield module.removeprefix(PACKAGE), frame.f_code.co_name
        frame = frame.f_back


import mandrake_sessions.connection.server
from mandrake_sessions.cli import main

threading.setprofile(note)
sys.setprofile(note)
code = main(sys.argv[2:])
sys.setprofile(None)
with open(sys.argv[1], "w") as file:
    json.dump(list(seen), file)
sys.exit(code)
"""

Stack = list[list[str]]


@contextmanager
def noted(workspace: Path, name: str, stacks: list[Stack]) -> Iterator[SyncClient]:
    """A client of a server that notes; at its end ``stacks`` has each stack above SQLite, from the innermost frame."""
    script, file = workspace / f"{name}.py", workspace / f"{name}.json"
    script.write_text(SERVER)
    command = [sys.executable, str(script), str(file), "serve"]
    with SyncClient(workspace, command=command, environment=clean_environment(workspace)) as client:
        yield client
    stacks += json.loads(file.read_text())


def rooms(stack: Stack) -> tuple[str, ...]:
    """The rooms that a stack passes, from the top."""
    passed: list[str] = []
    for module, _ in reversed(stack):
        room = module.partition(".")[0]
        if room in ROOMS and passed[-1:] != [room]:
            passed.append(room)
    return tuple(passed)


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, ...]]]:
    workspace, stacks = tmp_path_factory.mktemp("walks"), list[Stack]()
    with noted(workspace, "writer", stacks) as writer:
        session_id = writer.session_create().id
        response_id = writer.round_create(session_id=session_id, content="?").response.id
        turn_id = writer.turn_create(response_id=response_id).id
        with noted(workspace, "follower", stacks) as follower:
            changes = follower.follow_turns(session_id=session_id)
            next(changes)
            writer.turn_append(turn_id=turn_id, content="!")
            assert getattr(next(changes), "content", None) == "!"
        assert writer.session_history(session_id=session_id).rounds[0].response.turns[0].content == "!"
    return {
        walk: {
            rooms(stack) for stack in stacks if any(module == of and function in (None, name) for module, name in stack)
        }
        for walk, (of, function) in WALKS.items()
    }


@pytest.mark.parametrize(
    ("walk", "expected"),
    [
        ("append", {("connection", "operations", "store")}),
        ("snapshot", {("connection", "manager", "store"), ("connection", "store")}),
        ("history", {("connection", "handlers", "operations", "store"), ("connection", "operations", "store")}),
        ("commit", {("connection", "store"), ("connection", "operations", "store")}),
        (
            "opening",
            {
                ("connection", "open_stores", "manager", "store"),
                ("connection", "open_stores", "manager", "operations", "store"),
            },
        ),
    ],
)
def test_a_walk_passes_each_room_once_downwards(
    walks: dict[str, set[tuple[str, ...]]], walk: str, expected: set[tuple[str, ...]]
) -> None:
    # Any of them may begin where bytes arrived.
    assert {tuple(room for room in passed if room != "transport") for passed in walks[walk]} == expected
    for passed in walks[walk]:
        assert list(passed) == [room for room in ROOMS if room in passed]

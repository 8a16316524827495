"""How long each command takes for little to do, from starting the process to its end: mostly its start."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import fill
from benchmarks.driver import connected, environment
from benchmarks.report import Options, Row, at_most, median, milliseconds
from mandrake_sessions.protocol.params import Operation

SESSIONS, FULL_SESSIONS = 1000, 10_000
FILL_SECONDS = 120.0
# What each is given. None needs a terminal, and each has something to do every time.
COMMANDS: dict[str, Sequence[str]] = {
    "list": ("list",),
    "list --json": ("list", "--json"),
    "show": ("show", "@last"),
    "search": ("search", "lighthouse"),
    "usage": ("usage",),
    "new": ("new", "a name"),
    "append": ("append", "--prompt", "a question"),
    "record": ("record", "--", "true"),
    "fork": ("fork", "@last"),
    "rename": ("rename", "@last", "another name"),
    "archive": ("archive", "@last"),
    "export": ("export", "@last", "--format", "markdown"),
    "stores": ("stores",),
    "path": ("path",),
    "call": ("call", "server/info"),
    "delete": ("delete", "@last", "--yes"),
    "--version": ("--version",),
}
LIST_SECONDS = 0.25


def run(options: Options) -> list[Row]:
    count = FULL_SESSIONS if options.full else SESSIONS
    with connected(options.directory) as client:
        fill.carry_out(client, _sessions(count), FILL_SECONDS)
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        taken[""].append(_seconds((sys.executable, "-c", "pass"), options.directory))
        for name, arguments in COMMANDS.items():
            command = (sys.executable, "-m", "mandrake_sessions", *arguments)
            taken[name].append(_seconds(command, options.directory))
    bare = f"Python alone {milliseconds(median(taken.pop('')))}"
    return [_row(name, count, median(found), bare) for name, found in taken.items()]


def _row(name: str, count: int, seconds: float, bare: str) -> Row:
    target = at_most(LIST_SECONDS, "s") if name == "list" else None
    return Row(f"command {name}, {count:,} sessions", milliseconds(seconds), bare, seconds, target, "s")


def _seconds(command: Sequence[str], directory: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=directory, env=environment(directory), input=b"text", capture_output=True, check=True)
    return time.perf_counter() - begun


def _sessions(count: int) -> Iterable[Operation]:
    """Each with one round, in this workspace."""
    for number in range(count):
        session, response = str(uuid.uuid4()), str(uuid.uuid4())
        yield {"method": "session/create", "params": {"id": session, "title": f"session {number}"}}
        asked = {"session_id": session, "response_id": response, "content": f"what about the lighthouse {number}?"}
        yield {"method": "round/create", "params": asked}
        told = {"response_id": response, "content": "It stands.", "status": "completed"}
        yield {"method": "turn/create", "params": told}

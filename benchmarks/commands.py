"""How long each command takes for little to do, from starting the process to its end: mostly its start."""

from __future__ import annotations

import resource
import select
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import fill
from benchmarks.driver import connected, environment
from benchmarks.report import TIMES, Options, Row, at_most, median, milliseconds
from mandrake_sessions.protocol.params import Operation

SESSIONS, FULL_SESSIONS = 1000, 10_000
FILL_SECONDS = 120.0
# What each is given. None needs a terminal, and each has something to do every time.
COMMANDS: dict[str, Sequence[str]] = {
    "list": ("list",),
    "list --json": ("list", "--json"),
    "show": ("show", "@last"),
    "show --format text": ("show", "@last", "--format", "text"),
    "search": ("search", "lighthouse"),
    "usage": ("usage",),
    "new": ("new", "a name"),
    "append": ("append", "--prompt", "a question"),
    "record": ("record", "--", "true"),
    "acp": ("acp", "--", "cat"),
    "import --dry-run": ("import", "--dry-run"),
    "fork": ("fork", "@last"),
    "rename": ("rename", "@last", "another name"),
    "archive": ("archive", "@last"),
    "unarchive": ("unarchive", "@last"),
    "export": ("export", "@last", "--format", "markdown"),
    "export --format html": ("export", "@last", "--format", "html", "--no-redact"),
    "stores": ("stores",),
    "path": ("path",),
    "call": ("call", "server/info"),
    "delete": ("delete", "@last", "--yes"),
    "completion": ("completion", "bash"),
    "doctor": ("doctor",),
    "backup": ("backup", "copy.sqlite", "--force"),
    "restore": ("restore", "copy.sqlite"),
    "migrate": ("migrate",),
    "prune": ("prune", "--older-than", "90d", "--dry-run"),
    "demo": ("demo",),
    "--version": ("--version",),
}
LIST_SECONDS = 0.25
# As a shell does to complete what somebody types.
_LINE = "mandrake-sessions show "
_ASK = f"_ARGCOMPLETE=1 COMP_LINE='{_LINE}' COMP_POINT={len(_LINE)} exec \"$0\" -m mandrake_sessions 8>&1 9>&2"
_ASKED = ("sh", "-c", _ASK, sys.executable)
# Seconds, and those of a processor: on a busy machine the latter say more.
Taken = tuple[float, float]
# The demonstration streams as fast as it can.
_FAST = {"MANDRAKE_SESSIONS_DEMO_SPEED": "10000"}


def run(options: Options) -> list[Row]:
    count = FULL_SESSIONS if options.full else SESSIONS
    with connected(options.directory) as client:
        fill.carry_out(client, _sessions(count), FILL_SECONDS)
    taken: dict[str, list[Taken]] = defaultdict(list)
    for _ in range(options.rounds):
        taken[""].append(_seconds((sys.executable, "-c", "pass"), options.directory))
        for name, arguments in COMMANDS.items():
            command = (sys.executable, "-m", "mandrake_sessions", *arguments)
            taken[name].append(_seconds(command, options.directory))
        taken["tail, to the first piece"].append(_seconds_of_tail(options.directory))
        taken["what a shell asks for show"].append(_seconds(_ASKED, options.directory))
    bare = _medians(taken.pop(""))
    return [_row(name, count, _medians(found), bare) for name, found in taken.items()]


def _medians(found: Sequence[Taken]) -> Taken:
    walls, processors = zip(*found, strict=True)
    return median(walls), median(processors)


def _row(name: str, count: int, taken: Taken, bare: Taken) -> Row:
    target = at_most(LIST_SECONDS, "s") if name == "list" else None
    beside = f"Python alone: {_words(bare)}; {taken[1] / bare[1]:.1f} {TIMES} its processor time"
    return Row(f"command {name}, {count:,} sessions", _words(taken), beside, taken[0], target, "s")


def _words(taken: Taken) -> str:
    return f"{milliseconds(taken[0])}, {milliseconds(taken[1])} of a processor"


def _seconds(command: Sequence[str], directory: Path) -> Taken:
    begun, used = time.perf_counter(), _processor()
    of_ours = environment(directory) | _FAST
    subprocess.run(command, cwd=directory, env=of_ours, input=b"text", capture_output=True, check=True)
    return time.perf_counter() - begun, _processor() - used


def _processor() -> float:
    """What processes that have ended used, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds_of_tail(directory: Path) -> Taken:
    """Until it shows something that is said, while somebody speaks all the time."""
    with connected(directory) as client:
        session = client.session_create(title="said all the time")
        response = client.round_create(session_id=session.id, content="?").response
        turn = client.turn_create(response_id=response.id)
        begun, used = time.perf_counter(), _processor()
        with subprocess.Popen(
            (sys.executable, "-m", "mandrake_sessions", "tail"), cwd=directory, env=environment(directory),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        ) as tail:  # fmt: skip
            assert tail.stdout is not None
            while not select.select([tail.stdout], [], [], 0.01)[0]:
                client.turn_append(turn_id=turn.id, content="a piece\n")
            taken = time.perf_counter() - begun
            tail.terminate()
            tail.communicate()
        taken_by_processor = _processor() - used
        client.session_delete(session_id=session.id)
    return taken, taken_by_processor


def _sessions(count: int) -> Iterable[Operation]:
    """Each with one round, in this workspace."""
    for number in range(count):
        session, response = str(uuid.uuid4()), str(uuid.uuid4())
        yield {"method": "session/create", "params": {"id": session, "title": f"session {number}"}}
        asked = {"session_id": session, "response_id": response, "content": f"what about the lighthouse {number}?"}
        yield {"method": "round/create", "params": asked}
        told = {"response_id": response, "content": "It stands.", "status": "completed"}
        yield {"method": "turn/create", "params": told}

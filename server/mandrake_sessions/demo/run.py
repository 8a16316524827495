"""The watcher: starts the agent, draws what is pushed, and reads back what was stored."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from attrs import frozen
from rich.console import Console
from rich.text import Text

from mandrake_sessions.demo.client import PYTHON, Client, ServerFailed, last_line
from mandrake_sessions.demo.display import Display, is_live, make_console, print_header, printable
from mandrake_sessions.demo.figures import Stored, is_what_was_drawn, print_figures, print_how_to_look, read_back
from mandrake_sessions.demo.live import LiveDisplay
from mandrake_sessions.demo.plain import PlainDisplay
from mandrake_sessions.demo.watched import Watched

SPEED_VARIABLE = "MANDRAKE_SESSIONS_DEMO_SPEED"
PIPE_SPEED = 10.0
FRAME_SECONDS = 0.05
SILENCE_SECONDS = 20.0
AGENT_END_SECONDS = 5.0


class DemoFailed(Exception):
    """The demonstration did not come to its end."""


@frozen
class Agent:
    """The agent's process and the file that is its stderr."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]


def run_demo(workspace: str) -> int:
    """Run the demonstration on a directory, whose store is left behind; gives the exit code.

    0: all of it went well. 1: something failed, which stderr explains. 2: it could not begin. 130: Ctrl-C.
    ``MANDRAKE_SESSIONS_DEMO_SPEED`` is a factor: 1 is a pace at which people read, which is that of a terminal.
    """
    errors = Console(stderr=True, highlight=False)
    directory = Path(workspace).expanduser().resolve()
    try:
        speed = _speed()
        if not directory.is_dir():
            raise ValueError(f"{workspace} is not a directory")
    except ValueError as error:
        errors.print(Text(printable(f"mandrake-sessions demo: {error}")), soft_wrap=True)
        return 2
    try:
        _demonstrate(make_console(), directory, speed)
    except BrokenPipeError:
        # Whoever read our output has gone; what is left in the buffer must not be an error of its own at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DemoFailed, ServerFailed, OSError) as error:
        errors.print(Text(printable(f"mandrake-sessions demo: {error}")), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        errors.print("Stopped. What had been said until then is stored.")
        return 130
    return 0


def _demonstrate(console: Console, workspace: Path, speed: float) -> None:
    watched = Watched(str(uuid4()))
    with Client(workspace) as client:
        # The agent is started only after these were answered, so that nothing of what it says can be missed.
        client.request("turn/subscribe", includeRaw=True)
        client.request("session/subscribe")
        store: str = client.request("server/info")["stores"][0]["path"]
        with _started_agent(workspace, watched.session_id, speed) as agent:
            print_header(console, store, client.pid, agent.process.pid)
            with LiveDisplay(console) if is_live() else PlainDisplay(console) as display:
                _watch(client, agent, watched, display)
                stored = read_back(client, watched.session_id)
                _catch_up(client, stored, watched, display)
                display.finish(watched)
    if not is_what_was_drawn(stored, watched):
        raise DemoFailed("what was pushed differs from what is stored")
    print_figures(console, stored, watched, store)
    print_how_to_look(console, workspace, watched.session_id, store)


def _watch(client: Client, agent: Agent, watched: Watched, display: Display) -> None:
    """Draw until the answer is complete. Raises DemoFailed."""
    heard = time.monotonic()
    while watched.response_status == "open":
        has_ended = agent.process.poll() is not None
        notification = client.notification(timeout=FRAME_SECONDS)
        if notification is not None:
            heard = time.monotonic()
            if notification.method == "subscription/ended":
                raise DemoFailed(f"the subscription ended: {notification.params['reason']}")
            watched.apply(notification)
        elif has_ended and agent.process.returncode != 0:
            ending = f"the agent ended with {agent.process.returncode}"
            raise DemoFailed(f"{ending}: {last_line(agent.log) or 'it said nothing'}")
        elif time.monotonic() - heard > SILENCE_SECONDS:
            raise DemoFailed(f"nothing was pushed for {SILENCE_SECONDS:.0f} s")
        display.show(watched)
    if watched.response_status != "completed":
        raise DemoFailed(f"the answer ended as {watched.response_status}")


def _catch_up(client: Client, stored: Stored, watched: Watched, display: Display) -> None:
    """Hear the rest: the two subscriptions are two streams, and the end may be told on one of them first."""
    while watched.seq < stored.seq:
        notification = client.notification(timeout=SILENCE_SECONDS)
        if notification is None:
            raise DemoFailed("the last changes were not pushed")
        watched.apply(notification)
        display.show(watched)


@contextmanager
def _started_agent(workspace: Path, session_id: str, speed: float) -> Iterator[Agent]:
    """The agent's process; it has ended when the block is left, by itself if all went well."""
    command = [*PYTHON, "mandrake_sessions.demo.agent", "--workspace", str(workspace)]
    command += ["--session", session_id, "--speed", str(speed)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, process_group=0
        )
        try:
            yield Agent(process, log)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the agent's leash go, at which it stops and says in the store that it was stopped."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(AGENT_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _speed() -> float:
    """The pace. Raises ValueError, which says what the environment should have."""
    given = os.environ.get(SPEED_VARIABLE)
    if not given:
        return 1.0 if sys.stdout.isatty() else PIPE_SPEED
    try:
        speed = float(given)
    except ValueError:
        speed = 0.0
    if not 0.01 <= speed <= 10_000:
        raise ValueError(f"{SPEED_VARIABLE}: {given!r}: must be a number from 0.01 to 10000")
    return speed

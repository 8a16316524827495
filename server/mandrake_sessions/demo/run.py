"""The watcher: it starts the agent, draws the notifications, and reads the stored session at the end."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from pathlib import Path
from uuid import uuid4

from rich.console import Console

from mandrake_sessions.client import Client, ClientError
from mandrake_sessions.demo.agent_process import AgentProcess, started_agent
from mandrake_sessions.demo.display import Display, is_live, make_console, print_header
from mandrake_sessions.demo.figures import Stored, is_what_was_drawn, print_figures, print_how_to_look, read_back
from mandrake_sessions.demo.hearing import DemoFailed, Hearing
from mandrake_sessions.demo.live import LiveDisplay
from mandrake_sessions.demo.plain import PlainDisplay
from mandrake_sessions.demo.watched import Watched
from mandrake_sessions.folding import hint
from mandrake_sessions.model import ResponseStatus
from mandrake_sessions.transport.standard_streams import NOBODY_READS, discard_stdout

SPEED_VARIABLE = "MANDRAKE_SESSIONS_DEMO_SPEED"
PIPE_SPEED = 10.0
FRAME_SECONDS = 0.05
REPLY_SECONDS = 30.0


def run_demo(workspace: str) -> int:
    """Run the demonstration on a directory, whose store is left behind; gives the exit code.

    0: all of it went well. 1: something failed, which stderr explains. 2: it could not begin. 130: Ctrl-C. 141:
    nobody reads the output.
    ``MANDRAKE_SESSIONS_DEMO_SPEED`` is a factor: 1 is a pace at which people read, which is that of a terminal.
    """
    directory = Path(workspace).expanduser().resolve()
    try:
        speed = _speed()
        if not directory.is_dir():
            raise ValueError(f"{workspace} is not a directory")
    except ValueError as error:
        hint(f"mandrake-sessions demo: {error}")
        return 2
    try:
        asyncio.run(_demonstrate(make_console(), directory, speed))
    except BrokenPipeError:
        # Nobody reads the output any more. What the buffer still holds must not cause a second error at the end.
        discard_stdout()
        return NOBODY_READS
    except (DemoFailed, ClientError, OSError) as error:
        hint(f"mandrake-sessions demo: {_reason(error)}")
        return 1
    except KeyboardInterrupt:
        hint("Stopped. What had been said until then is stored.")
        return 130
    return 0


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return f"cannot write to stdout: {error.strerror}"
    return str(error)


async def _demonstrate(console: Console, workspace: Path, speed: float) -> None:
    watched = Watched(str(uuid4()))
    async with (
        Client(workspace, timeout=REPLY_SECONDS) as client,
        # The agent starts only after these answers, so that the watcher misses nothing.
        client.follow_turns(include_raw=True) as turns,
        client.follow_sessions() as sessions,
        Hearing(watched, turns, sessions) as hearing,
    ):
        store = (await client.server_info()).stores[0].path
        async with started_agent(workspace, watched.session_id, speed) as agent:
            await _begin(hearing, agent, watched)
            print_header(console, store, client.pid, agent.pid)
            with LiveDisplay(console) if is_live() else PlainDisplay(console) as display:
                await _watch(hearing, agent, watched, display)
                stored = await read_back(client, watched.session_id)
                await _catch_up(hearing, stored, watched, display)
                display.finish(watched)
    if not is_what_was_drawn(stored, watched):
        raise DemoFailed("what was pushed differs from what is stored")
    print_figures(console, stored, watched, store)
    print_how_to_look(console, workspace, watched.session_id, store)


async def _begin(hearing: Hearing, agent: AgentProcess, watched: Watched) -> None:
    """Wait for the question: where the store cannot be written, the error is all that is printed. Raises DemoFailed."""
    while not watched.question:
        failure = agent.failure()
        if not await hearing.has_more(FRAME_SECONDS) and failure is not None:
            raise DemoFailed(failure)


async def _watch(hearing: Hearing, agent: AgentProcess, watched: Watched, display: Display) -> None:
    """Draw until the answer is complete. Raises DemoFailed."""
    while watched.response_status is ResponseStatus.OPEN:
        failure = agent.failure()
        if not await hearing.has_more(FRAME_SECONDS) and failure is not None:
            raise DemoFailed(failure)
        display.show(watched)
    if watched.response_status is not ResponseStatus.COMPLETED:
        raise DemoFailed(f"the answer ended as {watched.response_status}")


async def _catch_up(hearing: Hearing, stored: Stored, watched: Watched, display: Display) -> None:
    """Wait for the rest: the two subscriptions are two streams, and either may deliver the end first."""
    while watched.seq < stored.seq:
        await hearing.has_more(FRAME_SECONDS)
        display.show(watched)


def _speed() -> float:
    """The pace. Raises ValueError, which says what the variable must be."""
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

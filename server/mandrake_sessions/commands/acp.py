"""The command ``mandrake-sessions acp``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from mandrake_sessions.acp.client_log import ClientLog
from mandrake_sessions.commands.arguments import add_store, path, settings_of
from mandrake_sessions.commands.ending import ENDED_BY_SIGNAL
from mandrake_sessions.folding import hint
from mandrake_sessions.settings import BadSetting

if TYPE_CHECKING:
    from mandrake_sessions.acp.proxy import Passing
    from mandrake_sessions.acp.tap import Tap
    from mandrake_sessions.commands.recording.passed_signals import PassedSignals

DESCRIPTION = (
    "Run an agent that speaks the Agent Client Protocol, for an editor that starts this command in place of the agent, "
    "and store their conversations as they go on. What the editor and the agent say to each other passes unchanged, as "
    "do the agent's stderr and exit code. The options of acp come before AGENT.\n\n"
    "Without --workspace, --database or --scope a session is stored where an editor in its directory would look for "
    "it: in the store of that workspace, or in your own where that cannot be written.\n\n"
    "Another process stores the conversations, so a store that is locked, full or damaged holds nothing up; stderr "
    "says so once."
)
EXAMPLE = "mandrake-sessions acp -- some-agent --acp"
# After the agent has ended, we wait so long for what it said last to be stored. What takes longer goes on without us.
_STORING_SECONDS: Final = 3.0


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = "%(prog)s [OPTIONS] -- AGENT [ARG…]"
    add_store(parser, scope=None, waits=False)
    parser.add_argument(
        "program",
        metavar="AGENT [ARG…]",
        nargs=argparse.REMAINDER,
        type=path,
        help="the agent, and its arguments",
    )


def run(options: Namespace) -> int:
    """0: the agent ended with 0; all other codes of an agent pass through too. 1: the agent ended with 0, and its
    output could not be passed on. 126: the agent cannot be started. 127: there is no such program. 128 + N: signal N
    ended the agent."""
    if sys.platform == "win32":
        hint("mandrake-sessions acp: it needs pipes and signals as Unix has them; on Windows start the agent itself")
        return 1
    from mandrake_sessions.commands.recording.passed_signals import PassedSignals
    from mandrake_sessions.commands.recording.program import CannotStart, check_program

    settings_of(options)
    command = _command(options)
    try:
        check_program(command[0])
        with PassedSignals() as signals:
            return _Work(options, signals).run(command)
    except CannotStart as error:
        hint(f"mandrake-sessions acp: {error}")
        return error.code


def _command(options: Namespace) -> list[str]:
    command: list[str] = options.program
    if command[:1] == ["--"]:
        del command[0]
    if not command:
        raise BadSetting("AGENT", "there is no agent to run; name it: mandrake-sessions acp -- AGENT")
    return command


@frozen
class _Agent:
    """``stdin``, ``stdout``: our ends of its pipes."""

    pid: int
    stdin: int
    stdout: int


@define(eq=False)
class _Work:
    options: Namespace
    signals: PassedSignals
    log: ClientLog = field(factory=ClientLog)

    def run(self, command: list[str]) -> int:
        """Run the agent to its end; gives our exit code. Raises CannotStart."""
        from mandrake_sessions.acp.proxy import Passing, Streams
        from mandrake_sessions.acp.tap import Tap
        from mandrake_sessions.commands.recording.passed_signals import start_without_signals
        from mandrake_sessions.commands.recording.program import STDIN, STDOUT, Program

        agent = _started(command)
        frames, pipe = os.pipe()
        tap = Tap(pipe, self.log.say)
        passing = Passing(Streams(STDIN, STDOUT, agent.stdin, agent.stdout), tap.put)
        # The agent does not wait for the recorder's start; what passes until then waits in its pipe.
        start_without_signals(*passing.threads, tap.thread)
        recorder = self._start_recorder(agent.pid, frames, tap)
        self.signals.pass_to(Program(agent.pid, (), None, False))
        status = os.waitstatus_to_exitcode(self.signals.waited(agent.pid))
        code = status if status >= 0 else ENDED_BY_SIGNAL - status
        self._finish(code, passing, tap, recorder)
        if passing.failed is not None:
            self.log.say(f"the agent's output cannot be passed on: {passing.failed.strerror}")
            code = code or 1
        self.log.settle()
        return code

    def _start_recorder(self, agent: int, frames: int, tap: Tap) -> int | None:
        """Gives its id, None where it cannot start."""
        from mandrake_sessions.commands.recording.program import CannotStart

        try:
            return _recorder(self.options, agent, frames)
        except CannotStart as error:
            tap.give_up()
            self.log.say(
                f"nothing is stored, since the recorder cannot be started: {error}; the conversation itself goes on"
            )
            return None
        finally:
            os.close(frames)

    def _finish(self, code: int, passing: Passing, tap: Tap, recorder: int | None) -> None:
        """Pass on what the agent has left, and wait for a while until all is stored. A signal ends both."""
        from mandrake_sessions.commands.recording.passed_signals import Stopped

        self.signals.pass_to(None)
        try:
            self.signals.may_stop(True)
            passing.finish()
            tap.end(code)
            if recorder is not None:
                self._wait_for(recorder, tap)
        except Stopped:
            pass
        finally:
            self.signals.may_stop(False)

    def _wait_for(self, recorder: int, tap: Tap) -> None:
        ended = self.signals.waited_for(recorder, _STORING_SECONDS)
        untaken = tap.untaken(0)
        if untaken:
            self.log.say(
                f"the recorder has not taken the last {untaken} bytes of the conversation, so they are not stored"
            )
        elif ended and os.WIFSIGNALED(ended) and not tap.is_dead:
            self.log.say("the recorder was killed, so the end of the conversation may not be stored")


def _started(command: list[str]) -> _Agent:
    """Start the agent, with pipes of its own for stdin and stdout. Raises CannotStart."""
    from mandrake_sessions.commands.recording.program import STDIN, STDOUT, spawned

    with ExitStack() as own, ExitStack() as its:
        its_in, stdin = os.pipe()
        stdout, its_out = os.pipe()
        for each in (its_in, its_out):
            its.callback(os.close, each)
        for each in (stdin, stdout):
            own.callback(os.close, each)
        pid = spawned(command, ((os.POSIX_SPAWN_DUP2, its_in, STDIN), (os.POSIX_SPAWN_DUP2, its_out, STDOUT)))
        own.pop_all()
        return _Agent(pid, stdin, stdout)


def _recorder(options: Namespace, agent: int, frames: int) -> int:
    """Start the process that stores what passes; gives its id. It reads ``frames`` on its stdin, and has a session of
    its own: what ends us, or our terminal, does not end it. Raises CannotStart."""
    from mandrake_sessions.commands.recording.program import STDIN, STDOUT, spawned

    given: dict[str, Any] = {name: getattr(options, name) for name in ("workspace", "database", "scope")}
    # It may be gone before the recorder can ask whose child it is.
    given["proxy"] = os.getpid()
    given["program"] = os.fsencode(options.program[0]).decode(errors="replace")
    actions = ((os.POSIX_SPAWN_DUP2, frames, STDIN), (os.POSIX_SPAWN_OPEN, STDOUT, os.devnull, os.O_WRONLY, 0))
    with ExitStack() as held:
        if (handle := _handle(agent)) is not None:
            held.callback(os.close, handle)
            os.set_inheritable(handle, True)
            given["agent"] = handle
        command = [sys.executable, "-P", "-m", "mandrake_sessions.acp.recorder_process", json.dumps(given)]
        return spawned(command, actions, apart=True)


def _handle(agent: int) -> int | None:
    """A descriptor that means this process and no later one with its number; Linux has that."""
    if sys.platform == "linux":
        with suppress(OSError):
            return os.pidfd_open(agent)
    return None

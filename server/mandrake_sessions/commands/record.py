"""The command ``mandrake-sessions record``."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from attrs import define

from mandrake_sessions.commands.arguments import check_not_empty, path
from mandrake_sessions.commands.ending import ENDED_BY_SIGNAL
from mandrake_sessions.commands.new import about
from mandrake_sessions.commands.results import add_json, json_of
from mandrake_sessions.commands.shared import FAILED, told
from mandrake_sessions.commands.target import add_session_and_prompt, add_where, target
from mandrake_sessions.errors import Busy, InvalidValue, SessionsError
from mandrake_sessions.fields import NewSession
from mandrake_sessions.folding import hint
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.model import TurnStatus
from mandrake_sessions.quoting import shorten

if TYPE_CHECKING:
    from mandrake_sessions.commands.recording.kept_round import Ending, KeptRound
    from mandrake_sessions.commands.recording.passed_signals import PassedSignals
    from mandrake_sessions.commands.recording.program import Program
    from mandrake_sessions.commands.recording.recorder import Recorder
    from mandrake_sessions.commands.recording.relay import Relay
    from mandrake_sessions.manager import SessionManager

DESCRIPTION = (
    "Run a program, and store what it says as it comes, so that everybody who follows the session sees it live. The "
    "program's input, output and exit code pass through unchanged. The options of record come before COMMAND.\n\n"
    "Stdout becomes a message, and stderr a turn of kind stderr. On a terminal, all that the terminal shows becomes "
    "the message. The text leaves out the control codes of terminals, and a carriage return ends a line in it; the "
    "turn's rawResponse keeps them.\n\n"
    "Without --session it makes a session. Without --prompt the request is the command line.\n\n"
    "Where stderr is a terminal, record names the session there at the end. Elsewhere stderr has only what the program "
    'writes. A script makes the session first, to know its id: --session "$(mandrake-sessions new TITLE)".\n\n'
    "COMMAND may leave programs in the background. Where the output of record is a pipe, it records them to their end; "
    "elsewhere it stops when COMMAND ends."
)
EXAMPLE = "mandrake-sessions record -- make test"
_TITLE_CHARACTERS: Final = 80


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = "%(prog)s [OPTIONS] -- COMMAND [ARG…]"
    add_session_and_prompt(parser, prompt="the request of the round (default: the command line)")
    parser.add_argument("--title", metavar="TITLE", help="of the session that is made (default: the command line)")
    at_the_end = parser.add_mutually_exclusive_group()
    at_the_end.add_argument("-q", "--quiet", action="store_true", help="do not name the session on stderr at the end")
    add_json(at_the_end, "the last line on stderr is a JSON object with the ids of session, round and turns")
    add_where(parser)
    parser.add_argument(
        "program",
        metavar="COMMAND [ARG…]",
        nargs=argparse.REMAINDER,
        type=path,
        help="the program, and its arguments",
    )


def run(options: Namespace) -> int:
    """0: the program ended with 0; all other codes of a program pass through too. 1: the store cannot be used, and the
    program was not started; or it ended with 0, and its output could not be passed on. 126: the program cannot be
    started. 127: there is no such program. 128 + N: signal N ended the program."""
    if sys.platform == "win32":
        hint(
            "mandrake-sessions record: it needs terminals and pipes as Unix has them; on Windows: COMMAND | "
            "mandrake-sessions append --prompt COMMAND"
        )
        return 1
    from mandrake_sessions.commands.recording.program import CannotStart

    work = _Work(options)
    try:
        code = told(options, work.run)
    except CannotStart as error:
        hint(f"mandrake-sessions record: {error}")
        return error.code
    return code if work.code is None else work.code


@define(eq=False)
class _Work:
    """``code``: how the program ended, once it did. What fails after that does not change it."""

    options: Namespace
    code: int | None = None

    def run(self) -> int:
        from mandrake_sessions.commands.recording.kept_round import KeptRound, asked
        from mandrake_sessions.commands.recording.program import check_program

        check_not_empty(self.options)
        command = self._command()
        check_program(command[0])
        words = [_text(word) for word in command]
        line = shlex.join(words)
        fields = _new_session(self.options, line)
        with target(self.options) as (manager, session_id):
            kept = KeptRound(manager, session_id, fields, asked(line, {"command": words}, self.options.prompt))
            recorder = self._recorded(command, manager, kept)
            assert self.code is not None
            self._tell(manager, recorder, kept)
            return self.code

    def _command(self) -> list[str]:
        command: list[str] = self.options.program
        if command[:1] == ["--"]:
            del command[0]
        if not command:
            raise InvalidValue("", "there is no program to run; name it: mandrake-sessions record -- COMMAND")
        return command

    def _recorded(self, command: list[str], manager: SessionManager, kept: KeptRound) -> Recorder:
        """Run the program to its end."""
        from mandrake_sessions.commands.recording.own_terminal import is_for_us, raw
        from mandrake_sessions.commands.recording.passed_signals import PassedSignals
        from mandrake_sessions.commands.recording.program import start
        from mandrake_sessions.commands.recording.relay import Relay

        with PassedSignals() as signals:
            with ExitStack() as while_it_runs:
                modes = while_it_runs.enter_context(raw()) if is_for_us() else None
                program, recorder = _begun(manager, kept, lambda: start(command, modes))
                relay = Relay(program, recorder.put)
                signals.pass_to(program)
                ending = _ended(signals.waited(program.pid))
                self.code = ending.code
                _finish(relay, signals)
            recorder.end(ending)
        if relay.failed is not None:
            why = f"the output cannot be passed on: {relay.failed.strerror}; what was written until then is stored"
            hint(f"mandrake-sessions record: {why}")
            self.code = self.code or FAILED
        return recorder

    def _tell(self, manager: SessionManager, recorder: Recorder, kept: KeptRound) -> None:
        """Last, so that it stands in nothing that the program shows."""
        lost = recorder.lost()
        if lost is not None:
            hint(f"mandrake-sessions record: {lost}")
        elif self.options.json:
            turns = manager.list_turns(kept.response_id, include_text=False, limit=MAX_LIMIT).turns
            ids = {"session_id": kept.session_id, "round_id": kept.round_id, "turn_ids": [turn.id for turn in turns]}
            # The program may have left a line open.
            if recorder.has_open_line:
                hint("")
            hint(json_of({**ids, "exit_code": self.code}), is_to_copy=True)
        elif sys.stderr.isatty() and not self.options.quiet:
            assert kept.session_id is not None
            words = ["mandrake-sessions", "show", kept.session_id, *_where(self.options)]
            hint(f"Recorded: {shlex.join(words)}", is_to_copy=True)


def _begun(manager: SessionManager, kept: KeptRound, begin: Callable[[], Program]) -> tuple[Program, Recorder]:
    """Start the program and what records it. The round is made with it, or not at all. While another process holds the
    store's lock, the program does not wait for the round.

    Raises CannotStart, and what the store raises before the program has begun.
    """
    from mandrake_sessions.commands.recording.recorder import Recorder

    program = None
    try:
        with manager.transaction(wait=False):
            kept.make()
            program = begin()
    except Busy:
        if program is None:
            return begin(), Recorder(kept, is_made=False)
        raise
    except SessionsError as error:
        if program is None:
            raise
        return program, Recorder(kept, is_made=False, failed=error)
    return program, Recorder(kept, is_made=True)


def _ended(waited: int) -> Ending:
    """How a program ended, by what waiting for it gave."""
    from mandrake_sessions.commands.recording.kept_round import Ending

    code = os.waitstatus_to_exitcode(waited)
    if code == 0:
        return Ending(0, TurnStatus.COMPLETED)
    if code > 0:
        return Ending(code, TurnStatus.ERROR, f"the program ended with exit code {code}")
    status = TurnStatus.CANCELLED if -code == signal.SIGINT else TurnStatus.INTERRUPTED
    return Ending(ENDED_BY_SIGNAL - code, status, f"the program was ended by {_signal_name(-code)}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _finish(relay: Relay, signals: PassedSignals) -> None:
    """Pass on what the program has left. A reader that does not read it can be left by a signal."""
    from mandrake_sessions.commands.recording.passed_signals import Stopped

    signals.pass_to(None)
    try:
        signals.may_stop(True)
        relay.finish()
    except Stopped:
        pass
    finally:
        signals.may_stop(False)


def _new_session(options: Namespace, line: str) -> NewSession:
    """Raises BadSetting."""
    fields = about(options)
    if options.title is None:
        fields["title"] = shorten(" ".join(line.split()), _TITLE_CHARACTERS)
    return fields


def _text(word: str) -> str:
    """An argument of the command line as text: a byte of it that is not UTF-8 is shown by its number."""
    return os.fsencode(word).decode("utf-8", "backslashreplace")


def _where(options: Namespace) -> list[str]:
    """The flags that lead to the store."""
    given = [(f"--{name}", getattr(options, name)) for name in ("workspace", "database", "scope")]
    return [f"{flag}={value}" for flag, value in given if value] + (["--all"] if options.all else [])

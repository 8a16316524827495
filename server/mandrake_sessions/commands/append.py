"""The command ``mandrake-sessions append``."""

from __future__ import annotations

import codecs
import signal
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from typing import Any

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.arriving import Arriving
from mandrake_sessions.commands.new import about
from mandrake_sessions.commands.shared import DONE, FAILED, OutputFailed, hint, say, told
from mandrake_sessions.commands.target import add_session_and_prompt, add_where, target
from mandrake_sessions.errors import TooLarge
from mandrake_sessions.files import explain
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Origin, ResponseStatus, TurnStatus

DESCRIPTION = (
    "Store what comes on stdin as a turn, as it comes, so that everybody who follows the session sees it live. Without "
    "--session it makes a session, with --prompt a round in it. It prints the session's id. Where the input ends, the "
    "turn is completed; after Ctrl-C it is cancelled, after another signal interrupted."
)
EXAMPLE = 'some-agent | mandrake-sessions append --prompt "What is in here?"'
_ENDED_BY_SIGNAL = 128


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_session_and_prompt(parser, prompt="the request of a new round, which the text answers")
    parser.add_argument("--title", metavar="TITLE", help="the title of the session that is made")
    parser.add_argument("--kind", metavar="KIND", default="message", help="of the turn (default: message)")
    parser.add_argument("--model", metavar="MODEL", help="the model that says it")
    add_where(parser)


def run(options: Namespace) -> int:
    """0: all of it is stored. 1: something was not. 128 and the signal's number: a signal ended it, and what came until
    then is stored."""
    return told(options, lambda: _append(options))


def _append(options: Namespace) -> int:
    with Arriving() as pieces, target(options) as (manager, named_id):
        session_id = named_id or manager.create_session(**about(options)).id
        response_id = _response(manager, session_id, options.prompt)
        with suppress(BrokenPipeError, OutputFailed):
            # Whoever reads it may follow the session from now on.
            say(session_id)
            sys.stdout.flush()
        if sys.stdin.isatty():
            hint("Type the text; Ctrl-D ends it.")
        return _stored(manager, response_id, pieces, options)


def _response(manager: SessionManager, session_id: str, prompt: str | None) -> str:
    """That of a new round, or without ``prompt`` of the latest one. Where there is none, nobody asked."""
    if prompt is None:
        latest = manager.history(session_id, limit=1, order="desc", include_text=False).rounds
        if latest:
            return latest[0].response.id
        return manager.create_round(session_id, content="", origin=Origin.AGENT).response.id
    return manager.create_round(session_id, content=prompt).response.id


def _stored(manager: SessionManager, response_id: str, pieces: Arriving, options: Namespace) -> int:
    given: dict[str, Any] = {} if options.model is None else {"model": options.model}
    turn = manager.create_turn(response_id, kind=options.kind, **given)
    # A byte that is no UTF-8 is shown by its number.
    decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
    try:
        for piece in pieces:
            if text := decoder.decode(piece):
                manager.append_turn(turn.id, content=text)
        if text := decoder.decode(b"", final=True):
            manager.append_turn(turn.id, content=text)
    except TooLarge:
        manager.update_turn(turn.id, status=TurnStatus.ERROR, error="the input is longer than a turn can be")
        manager.update_response(response_id, status=ResponseStatus.ERROR)
        raise
    status, error, code = _end(pieces)
    manager.update_turn(turn.id, status=status, error=error)
    manager.update_response(response_id, status=ResponseStatus(status))
    return code


def _end(pieces: Arriving) -> tuple[TurnStatus, str | None, int]:
    """How the turn ended, what went wrong, and the exit code."""
    if pieces.failed is not None:
        error = f"stdin cannot be read: {explain(pieces.failed, 'stdin')}"
        hint(f"mandrake-sessions append: {error}")
        return TurnStatus.ERROR, error, FAILED
    if pieces.stopped_by is None:
        return TurnStatus.COMPLETED, None, DONE
    is_cancelled = pieces.stopped_by is signal.SIGINT
    return (
        (TurnStatus.CANCELLED if is_cancelled else TurnStatus.INTERRUPTED),
        None,
        _ENDED_BY_SIGNAL + pieces.stopped_by,
    )

"""The command ``mandrake-sessions append``."""

from __future__ import annotations

import codecs
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain
from typing import Final, TypeVar

from attrs import frozen

from mandrake_sessions.commands.arguments import check_not_empty, usage
from mandrake_sessions.commands.arriving import Arriving
from mandrake_sessions.commands.ending import ENDED_BY_SIGNAL
from mandrake_sessions.commands.filling_turns import FillingTurns, at_last, what_is_kept
from mandrake_sessions.commands.new import about
from mandrake_sessions.commands.results import add_json, say_result
from mandrake_sessions.commands.shared import DONE, FAILED, OutputFailed, check_stdin, flush, told
from mandrake_sessions.commands.target import add_session_and_prompt, add_where, target
from mandrake_sessions.commands.writing import check_store
from mandrake_sessions.errors import Busy, NotFound, SessionsError
from mandrake_sessions.fields import PLAIN, NewTurn, Piece
from mandrake_sessions.files import explain
from mandrake_sessions.folding import hint
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Origin, ResponseStatus, TurnStatus
from mandrake_sessions.transport.standard_streams import discard_stdout

DESCRIPTION = (
    "Store what comes on stdin as a turn, as it comes, so that everybody who follows the session sees it live. Without "
    "--session it makes a session, with --prompt a round in it. It prints the session's id. Without --session, --title "
    "and --prompt it does both once the first text comes. The text is taken for Markdown, which joins lines to "
    "paragraphs where it is shown; for a log or JSON lines give --plain. Where the input ends, the turn is completed; "
    "after Ctrl-C it is cancelled, after another signal interrupted. It waits for another process's lock, and a text "
    "beyond 64 MiB goes on in another turn."
)
EXAMPLE = 'some-agent | mandrake-sessions append --prompt "What is in here?"'
# Between two tries, where another process holds the lock for long.
_PAUSE: Final = 0.05
T = TypeVar("T")


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_session_and_prompt(parser, prompt="the request of a new round, which the text answers")
    parser.add_argument("--title", metavar="TITLE", help="the title of the session that is made")
    parser.add_argument("--kind", metavar="KIND", default="message", help="of the turn (default: message)")
    parser.add_argument("--model", metavar="MODEL", help="the model that says it")
    parser.add_argument(
        "--plain", action="store_true", help="take the text as it is, not for Markdown: its lines stay lines"
    )
    add_where(parser)
    add_json(parser, "print the ids of session, round and turn as a JSON object, for a program")


def run(options: Namespace) -> int:
    """0: all of it is stored. 1: something was not, or nothing came. 128 and the signal's number: a signal ended it,
    and what came until then is stored, as far as the store could be written."""
    return told(options, lambda: _append(options))


def _append(options: Namespace) -> int:
    check_not_empty(options)
    check_stdin("with --prompt, </dev/null stores an empty text")
    with Arriving() as pieces, ExitStack() as stores:
        first = b""
        if options.session is options.prompt is options.title is None:
            # Without a text, the session would hold nothing at all.
            check_store(options)
            _tell_to_type()
            first = next(iter(pieces), b"")
            if not first:
                return _nothing_came(pieces)
        try:
            manager, named_id = _patiently(pieces, lambda: stores.enter_context(target(options)))
            answer = _patiently(pieces, lambda: _begun(manager, named_id, options), manager)
        except Busy as error:
            if pieces.stopped_by is None:
                raise
            hint(f"mandrake-sessions append: {what_is_kept(0, 'input', error)}")
            return ENDED_BY_SIGNAL + pieces.stopped_by
        is_told = _tell_ids(answer, options)
        if not first:
            _tell_to_type()
        is_only_text = options.prompt is options.title is None
        code = _stored(manager, answer, pieces, first, is_only_text=is_only_text)
        return code if is_told else code or FAILED


def _tell_ids(answer: _Answer, options: Namespace) -> bool:
    """Whoever reads it may follow the session from now on. False: it could not be told, which ends nothing."""
    ids = {"session_id": answer.session_id, "round_id": answer.round_id, "turn_id": answer.turns.turn_id}
    try:
        say_result(options, ids, answer.session_id)
        flush()
    except BrokenPipeError:
        discard_stdout()
    except OutputFailed as error:
        discard_stdout()
        hint(f"mandrake-sessions append: {error}; the session is {answer.session_id}")
        return False
    return True


def _tell_to_type() -> None:
    if sys.stdin.isatty():
        hint("Type the text; Ctrl-D ends it.")


def _nothing_came(pieces: Arriving) -> int:
    _, error, code = _end(pieces)
    if error is None:
        hint("mandrake-sessions append: nothing came on stdin, so no session was made")
    return code or FAILED


def _undo(manager: SessionManager, answer: _Answer) -> None:
    """Nothing came: the response stands as it did."""
    with suppress(NotFound), manager.transaction():
        assert answer.turns.turn_id is not None
        manager.delete_turn(answer.turns.turn_id)
        if answer.is_round_new:
            manager.delete_round(answer.round_id)


@frozen
class _Answer:
    """What the input becomes."""

    session_id: str
    round_id: str
    response_id: str
    turns: FillingTurns
    is_round_new: bool


def _begun(manager: SessionManager, session_id: str | None, options: Namespace) -> _Answer:
    """All that is missing until the turn, or nothing of it."""
    given: NewTurn = {"kind": options.kind}
    if options.model is not None:
        given["model"] = options.model
    if options.plain:
        given["metadata"] = {**PLAIN}
    with manager.transaction():
        session_id = session_id or manager.create_session(**about(options)).id
        round_id, response_id, is_new = _round(manager, session_id, options.prompt)
        turns = FillingTurns(manager, response_id, **given)
        turns.add(0, [])
    return _Answer(session_id, round_id, response_id, turns, is_new)


def _round(manager: SessionManager, session_id: str, prompt: str | None) -> tuple[str, str, bool]:
    """The ids of a new round and its response, or without ``prompt`` of the latest one, and whether it is new. Where
    there is none, nobody asked."""
    if prompt is None:
        latest = manager.history(session_id, limit=1, order="desc", include_text=False).rounds
        if latest:
            return latest[0].id, latest[0].response.id, False
        made = manager.create_round(session_id, content="", origin=Origin.AGENT)
    else:
        made = manager.create_round(session_id, content=prompt)
    return made.round.id, made.response.id, True


def _stored(manager: SessionManager, answer: _Answer, pieces: Arriving, first: bytes, *, is_only_text: bool) -> int:
    """``is_only_text``: there is nothing else to store."""
    kept = 0
    try:
        for size, text in _texts(chain([first], pieces)):
            piece: Piece = {"content": text}
            _patiently(pieces, partial(answer.turns.add, len(text.encode()), [piece]), manager)
            kept += size
        status, error, code = _end(pieces)
        if is_only_text and not kept and status is TurnStatus.COMPLETED:
            _patiently(pieces, partial(_undo, manager, answer), manager)
            hint("mandrake-sessions append: nothing came on stdin, so nothing was stored")
            return FAILED
        _patiently(pieces, partial(_finish, manager, answer, status, error), manager)
    except SessionsError as failed:
        why = what_is_kept(kept, "input", failed)
        hint(f"mandrake-sessions append: {why}")
        at_last(partial(_finish, manager, answer, TurnStatus.ERROR, why))
        return FAILED if pieces.stopped_by is None else ENDED_BY_SIGNAL + pieces.stopped_by
    return code


def _texts(pieces: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Each piece as text, with the number of bytes that it had. A byte that is no UTF-8 is shown by its number."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
    for piece in pieces:
        if text := decoder.decode(piece):
            yield len(piece), text
    if text := decoder.decode(b"", final=True):
        yield 0, text


def _patiently(pieces: Arriving, work: Callable[[], T], manager: SessionManager | None = None) -> T:
    """Wait as long as another process holds the lock; meanwhile nothing is read, so whoever gives the input waits too.

    Raises Busy after a signal.
    """
    is_told = False
    while True:
        try:
            if manager is None or not is_told:
                return work()
            # A signal need not wait for the timeout.
            with manager.transaction(wait=False):
                return work()
        except Busy as error:
            if pieces.stopped_by is not None:
                raise
            if not is_told:
                who = error.holder or "another process"
                hint(f"mandrake-sessions append: {error.path} is locked by {who}; waiting until it is free")
                is_told = True
        time.sleep(_PAUSE)


def _finish(manager: SessionManager, answer: _Answer, status: TurnStatus, error: str | None) -> None:
    with manager.transaction():
        assert answer.turns.turn_id is not None
        manager.update_turn(answer.turns.turn_id, include_text=False, status=status, error=error)
        manager.update_response(answer.response_id, status=ResponseStatus(status))


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
        ENDED_BY_SIGNAL + pieces.stopped_by,
    )

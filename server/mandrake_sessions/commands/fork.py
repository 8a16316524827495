"""The command ``mandrake-sessions fork SESSION``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import usage, whole_number
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import add_session, named
from mandrake_sessions.commands.shared import say, told
from mandrake_sessions.commands.writing import make_searchable
from mandrake_sessions.fields import NewFork
from mandrake_sessions.maintenance.words import plural
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Session
from mandrake_sessions.settings import BadSetting

DESCRIPTION = "Copy a session, or its beginning, as a session of its own in the same store, and print the copy's id."
EXAMPLE = "mandrake-sessions fork @last --through 1"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION")
    add_session(parser)
    parser.add_argument(
        "--through", metavar="N", type=whole_number, help="only the rounds up to this one, as show numbers them"
    )
    parser.add_argument("--title", metavar="TITLE", help="the copy's title (default: that of the session)")
    add_looking(parser)


def run(options: Namespace) -> int:
    """0: it made the copy. 1: there is no such session, or it cannot be copied."""
    return told(options, lambda: _fork(options))


def _fork(options: Namespace) -> int:
    with Looking(options) as looking:
        meant = named(looking, options)
        given: NewFork = {} if options.title is None else {"title": options.title}
        if options.through is not None:
            given["through_round_id"] = _round_of(meant.manager, meant.session, options.through)
        say(meant.manager.fork_session(meant.session.id, **given).id)
        make_searchable(meant.manager)
        return looking.code


def _round_of(manager: SessionManager, session: Session, number: int) -> str:
    """Raises BadSetting."""
    cursor = None
    while True:
        page = manager.list_rounds(session.id, cursor=cursor)
        for each in page.rounds:
            if each.index == number - 1:
                return each.id
        cursor = page.next_cursor
        if cursor is None:
            has = plural(session.round_count, "round")
            raise BadSetting("--through", f"there is no round {number}; the session has {has}, and show numbers them")

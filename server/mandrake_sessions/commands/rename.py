"""The command ``mandrake-sessions rename SESSION TITLE``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import add_session, named
from mandrake_sessions.commands.results import add_json, tell_done
from mandrake_sessions.commands.shared import told
from mandrake_sessions.commands.writing import make_searchable

DESCRIPTION = "Give a session another title."
EXAMPLE = 'mandrake-sessions rename @last "A talk on badgers"'

_UNTITLED: Final = "It has no title now; lists show its first request"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION", "TITLE")
    add_session(parser)
    parser.add_argument("title", metavar="TITLE", help='the title; "" for none')
    add_looking(parser)
    add_json(parser, "print the session as a JSON object, for a program")


def run(options: Namespace) -> int:
    """0: it has the title. 1: there is no such session, or it cannot be written."""
    return told(options, lambda: _rename(options))


def _rename(options: Namespace) -> int:
    with Looking(options) as looking:
        meant = named(looking, options)
        session = meant.manager.update_session(meant.session.id, title=options.title or None)
        tell_done(options, session, "Renamed" if session.title else _UNTITLED)
        make_searchable(meant.manager)
        return looking.code

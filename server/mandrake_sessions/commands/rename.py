"""The command ``mandrake-sessions rename SESSION TITLE``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import typed, usage
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import add_session, named
from mandrake_sessions.commands.shared import told
from mandrake_sessions.commands.writing import make_searchable

DESCRIPTION = "Give a session another title."
EXAMPLE = 'mandrake-sessions rename @last "A talk on badgers"'


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION", "TITLE")
    add_session(parser)
    parser.add_argument("title", metavar="TITLE", type=typed, help='the title; "" for none')
    add_looking(parser)


def run(options: Namespace) -> int:
    """0: it has the title. 1: there is no such session, or it cannot be written."""
    return told(options, lambda: _rename(options))


def _rename(options: Namespace) -> int:
    with Looking(options) as looking:
        meant = named(looking, options)
        meant.manager.update_session(meant.session.id, title=options.title or None)
        make_searchable(meant.manager)
        return looking.code

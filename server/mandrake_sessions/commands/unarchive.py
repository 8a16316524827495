"""The command ``mandrake-sessions unarchive SESSION…``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import add_looking
from mandrake_sessions.commands.naming import add_sessions, for_each_named
from mandrake_sessions.commands.shared import told

DESCRIPTION = "Take sessions back that were put away."
EXAMPLE = "mandrake-sessions unarchive @last"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION…")
    add_sessions(parser)
    add_looking(parser)


def run(options: Namespace) -> int:
    """0: all are unarchived. 1: one was not."""
    return told(
        options,
        lambda: for_each_named(options, lambda each: each.manager.update_session(each.session.id, archived=False)),
    )

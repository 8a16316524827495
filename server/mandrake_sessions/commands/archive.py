"""The command ``mandrake-sessions archive SESSION…``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import add_looking
from mandrake_sessions.commands.naming import Named, add_sessions, for_each_named
from mandrake_sessions.commands.results import add_json, tell_done
from mandrake_sessions.commands.shared import told

DESCRIPTION = "Put sessions away: list and search leave them out then, unless you ask for them with --archived."
EXAMPLE = "mandrake-sessions archive @last"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION…")
    add_sessions(parser)
    add_looking(parser)
    add_json(parser, "print each session as one JSON object a line, for a program")


def run(options: Namespace) -> int:
    """0: all are archived. 1: one was not."""
    return set_archived(options, archived=True)


def set_archived(options: Namespace, *, archived: bool) -> int:
    """Put the sessions away that the options name, or take them back; gives the exit code."""

    def work(each: Named) -> None:
        session = each.manager.update_session(each.session.id, archived=archived)
        tell_done(options, session, "Archived" if archived else "Unarchived")

    return told(options, lambda: for_each_named(options, work))

"""The command ``mandrake-sessions unarchive SESSION…``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands import archive

DESCRIPTION = "Take sessions back that were put away."
EXAMPLE = "mandrake-sessions unarchive @last"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    archive.declare(parser)
    # @last is the last one that was put away.
    parser.set_defaults(archived=True)


def run(options: Namespace) -> int:
    """0: all are unarchived. 1: one was not."""
    return archive.set_archived(options, archived=False)

"""The command ``mandrake-sessions unarchive SESSION…``."""

from __future__ import annotations

from argparse import Namespace

from mandrake_sessions.commands.archive import declare as declare
from mandrake_sessions.commands.archive import set_archived

DESCRIPTION = "Take sessions back that were put away."
EXAMPLE = "mandrake-sessions unarchive @last"


def run(options: Namespace) -> int:
    """0: all are unarchived. 1: one was not."""
    return set_archived(options, archived=False)

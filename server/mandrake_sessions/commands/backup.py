"""``mandrake-sessions backup DEST``."""

from __future__ import annotations

from argparse import Namespace

from mandrake_sessions.commands.shared import DONE, ended, say, shown_progress
from mandrake_sessions.maintenance import back_up
from mandrake_sessions.maintenance.words import plural, size_text


def run(options: Namespace) -> int:
    """0: it is there, whole. 1: it could not be made. 2: DEST cannot be used."""
    return ended(options, lambda meant: _back_up(options, meant.database, meant.busy_timeout))


def _back_up(options: Namespace, database: str, busy_timeout: float) -> int:
    with shown_progress() as progress:
        made = back_up(
            database, options.destination, replace=options.force, busy_timeout=busy_timeout, progress=progress
        )
    say(f"{database} → {made.path}: {plural(made.sessions, 'session')}, {size_text(made.size)}, verified")
    return DONE

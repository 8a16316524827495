"""The command ``mandrake-sessions restore SRC``."""

from __future__ import annotations

from argparse import Namespace

from mandrake_sessions.commands.shared import DONE, ended, say, shown_progress
from mandrake_sessions.maintenance import restore
from mandrake_sessions.maintenance.words import plural


def run(options: Namespace) -> int:
    """0: the backup is the store now. 1: it failed, and nothing has changed. 2: SRC cannot be used."""
    return ended(options, lambda meant: _restore(options.source, meant.database, meant.busy_timeout))


def _restore(source: str, database: str, busy_timeout: float) -> int:
    with shown_progress() as progress:
        made = restore(source, database, busy_timeout=busy_timeout, progress=progress)
    say(f"{source} → {made.path}: {plural(made.sessions, 'session')}, verified; its storeId is {made.store_id}")
    if made.previous is not None:
        say(f"the previous file: {made.previous}")
    return DONE

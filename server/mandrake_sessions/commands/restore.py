"""The command ``mandrake-sessions restore SRC``."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace

from attrs import asdict

from mandrake_sessions.amounts import plural
from mandrake_sessions.commands.arguments import add_store, path, usage
from mandrake_sessions.commands.progress import shown_progress
from mandrake_sessions.commands.results import add_json, say_result
from mandrake_sessions.commands.shared import DONE, ended
from mandrake_sessions.maintenance import Restored, restore

DESCRIPTION = (
    "Verify a backup and make a copy of it the store, while servers run. The previous file is kept beside the store."
)
EXAMPLE = "mandrake-sessions restore ~/saved.sqlite"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SRC")
    add_store(parser)
    parser.add_argument("source", metavar="SRC", type=path, help="a backup")
    add_json(parser, "one JSON object, for a program")


def run(options: Namespace) -> int:
    """0: the backup is the store now. 1: it failed, and nothing has changed. 2: SRC cannot be used."""
    return ended(options, lambda meant: _restore(options, meant.database, meant.busy_timeout))


def _restore(options: Namespace, database: str, busy_timeout: float) -> int:
    source: str = options.source
    with shown_progress() as progress:
        made = restore(source, database, busy_timeout=busy_timeout, progress=progress)
    lines = [f"{source} → {made.path}: {plural(made.sessions, 'session')}, verified; its storeId is {made.store_id}"]
    if made.previous is not None:
        lines += _of_previous(options, made, made.previous)
    say_result(options, {"source": source, **asdict(made)}, *lines)
    return DONE


def _of_previous(options: Namespace, made: Restored, previous: str) -> list[str]:
    """What was replaced, and how it comes back."""
    if made.previous_sessions is None:
        return [f"the previous file, which cannot be read as a store: {previous}"]
    is_usual = not (options.database or options.workspace or options.scope == "system")
    back = shlex.join(["mandrake-sessions", "restore", previous, *([] if is_usual else ["--database", made.path])])
    return [f"the previous file, with {plural(made.previous_sessions, 'session')}: {previous}", f"to go back: `{back}`"]

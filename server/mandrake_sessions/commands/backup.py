"""The command ``mandrake-sessions backup DEST``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.amounts import plural, size_text
from mandrake_sessions.commands.arguments import add_store, path, usage
from mandrake_sessions.commands.progress import shown_progress
from mandrake_sessions.commands.results import add_json, say_result
from mandrake_sessions.commands.shared import DONE, FAILED, ended
from mandrake_sessions.commands.words import COMMAND_WORDS
from mandrake_sessions.maintenance import back_up, salvage
from mandrake_sessions.settings import BadSetting

DESCRIPTION = "Copy a store, as it is at one moment, to one verified file. Servers may write meanwhile."
EXAMPLE = "mandrake-sessions backup ~/saved.sqlite"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("DEST")
    add_store(parser)
    parser.add_argument(
        "destination", metavar="DEST", type=path, help="a file, or a directory for a file named after the time"
    )
    parser.add_argument("--force", action="store_true", help="replace DEST if it exists")
    add_json(parser, "one JSON object, for a program")
    faulty = parser.add_mutually_exclusive_group()
    faulty.add_argument("--as-is", action="store_true", help="copy a store with faults too; list them, and exit with 1")
    faulty.add_argument("--salvage", action="store_true", help="copy the rows that can be read of a damaged store")


def run(options: Namespace) -> int:
    """0: the copy is whole. 1: the copy failed, or has faults. 2: DEST cannot be used."""
    if options.destination == "-":
        raise BadSetting("DEST", "a database cannot be written to stdout; name a file (./- is one of that name)")
    work = _salvage if options.salvage else _back_up
    return ended(options, lambda meant: work(options, meant.database, meant.busy_timeout))


def _back_up(options: Namespace, database: str, busy_timeout: float) -> int:
    with shown_progress() as progress:
        made = back_up(
            database,
            options.destination,
            replace=options.force,
            as_is=options.as_is,
            busy_timeout=busy_timeout,
            progress=progress,
        )
    held = (
        size_text(made.size) if made.sessions is None else f"{plural(made.sessions, 'session')}, {size_text(made.size)}"
    )
    advice = made.advice(COMMAND_WORDS)
    values = {
        "database": database,
        "path": made.path,
        "bytes": made.size,
        "sessions": made.sessions,
        "store_id": made.store_id,
        "verified": not made.faults,
        "faults": made.faults,
        "advice": advice,
    }
    lines = [f"{database} → {made.path}: {held}, verified"]
    if made.faults:
        problems = plural(len(made.faults), "problem")
        lines = [f"{database} → {made.path}: {held}, copied as it is, not verified; {problems}:"]
        lines += [f"- {fault}" for fault in made.faults]
        lines += [] if advice is None else [advice]
    say_result(options, values, *lines)
    return FAILED if made.faults else DONE


def _salvage(options: Namespace, database: str, busy_timeout: float) -> int:
    made = salvage(database, options.destination, replace=options.force, busy_timeout=busy_timeout)
    lost = f"; rows are lost in {plural(made.gaps, 'place')}" if made.gaps else ""
    lines = [f"{database} → {made.path}: {plural(made.rows, 'row')}, {size_text(made.size)}{lost}"]
    if made.faults:
        mend = COMMAND_WORDS.maintenance("repair", made.path)
        lines.append(f"{plural(len(made.faults), 'problem')} in the copy. Mend it before you restore it: {mend}")
    values = {
        "database": database,
        "path": made.path,
        "bytes": made.size,
        "rows": made.rows,
        "gaps": made.gaps,
        "faults": made.faults,
    }
    say_result(options, values, *lines)
    return FAILED if made.gaps or made.faults else DONE

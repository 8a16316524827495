"""The command ``mandrake-sessions migrate [--check]``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from attrs import asdict

from mandrake_sessions.amounts import plural
from mandrake_sessions.commands.arguments import add_store, usage
from mandrake_sessions.commands.results import add_json, say_result
from mandrake_sessions.commands.shared import DONE, FAILED, UNUSABLE, Meant, ended
from mandrake_sessions.maintenance import Schema, migrate, schema

PENDING = 1


DESCRIPTION = "Bring a store to the schema of this program, after a backup. The next use of the store does the same."
EXAMPLE = "mandrake-sessions migrate --check"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_store(parser)
    parser.add_argument("--check", action="store_true", help="only list pending migrations; write nothing")
    add_json(parser, "one JSON object, for a program")


def run(options: Namespace) -> int:
    """0: the schema is current. 1: with ``--check``, migrations are pending; without it, they failed. 2: with
    ``--check``, the store cannot be checked."""
    if options.check:
        return ended(options, lambda meant: _check(options, meant), failed=UNUSABLE)
    return ended(options, lambda meant: _migrate(options, meant), failed=FAILED)


def _check(options: Namespace, meant: Meant) -> int:
    found = schema(meant.database, busy_timeout=meant.busy_timeout)
    waiting = f"{plural(len(found.pending), 'migration')} pending: {', '.join(found.pending)}"
    state = f", {waiting}" if found.pending else " is current"
    _say(options, meant, found, f"schema {found.version}{state}", is_done=False)
    return PENDING if found.pending else DONE


def _migrate(options: Namespace, meant: Meant) -> int:
    done = migrate(
        meant.database,
        busy_timeout=meant.busy_timeout,
        allow_network_filesystem=meant.allow_network_filesystem,
    )
    state = f" → {done.latest}: {', '.join(done.pending)}" if done.pending else " is current"
    _say(options, meant, done, f"schema {done.version}{state}", is_done=bool(done.pending))
    return DONE


def _say(options: Namespace, meant: Meant, found: Schema, text: str, *, is_done: bool) -> None:
    """``is_done``: the migrations that were pending are applied."""
    values = {"database": meant.database, **asdict(found), "migrated": is_done}
    say_result(options, values, f"{meant.database}: {text}")

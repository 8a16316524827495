"""The command ``mandrake-sessions migrate [--check]``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import add_store, usage
from mandrake_sessions.commands.shared import DONE, FAILED, UNUSABLE, Meant, ended, say
from mandrake_sessions.maintenance import migrate, schema
from mandrake_sessions.maintenance.words import plural

PENDING = 1


DESCRIPTION = "Bring a store to the schema of this program, after a backup. The next use of the store does the same."
EXAMPLE = "mandrake-sessions migrate --check"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_store(parser)
    parser.add_argument("--check", action="store_true", help="only list pending migrations; write nothing")


def run(options: Namespace) -> int:
    """0: the schema is current. 1: with ``--check``, migrations are pending; without it, they failed. 2: with
    ``--check``, the store cannot be checked."""
    if options.check:
        return ended(options, _check, failed=UNUSABLE)
    return ended(options, _migrate, failed=FAILED)


def _check(meant: Meant) -> int:
    found = schema(meant.database, busy_timeout=meant.busy_timeout)
    if not found.pending:
        say(f"{meant.database}: schema {found.version} is current")
        return DONE
    waiting = f"{plural(len(found.pending), 'migration')} pending: {', '.join(found.pending)}"
    say(f"{meant.database}: schema {found.version}, {waiting}")
    return PENDING


def _migrate(meant: Meant) -> int:
    done = migrate(
        meant.database,
        busy_timeout=meant.busy_timeout,
        allow_network_filesystem=meant.allow_network_filesystem,
    )
    if done.pending:
        say(f"{meant.database}: schema {done.version} → {done.latest}: {', '.join(done.pending)}")
    else:
        say(f"{meant.database}: schema {done.version} is current")
    return DONE

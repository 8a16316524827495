"""The command ``mandrake-sessions list``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from mandrake_sessions.commands.arguments import directory, typed, usage, whole_number
from mandrake_sessions.commands.looking import Looking, add_looking, elsewhere, listed
from mandrake_sessions.commands.moments import ago, since
from mandrake_sessions.commands.shared import hint, say_entity, say_line, told
from mandrake_sessions.commands.table import Column, table
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.model import SessionOfStore
from mandrake_sessions.operations.joining import JoinedSessions

DESCRIPTION = (
    "List conversations, the one that moved last first: those of this workspace's store, and those of your own store "
    "that are about this workspace. @1, @2 … and the beginning of an id name a session in other commands."
)
EXAMPLE = "mandrake-sessions list --since 2d"
_ON_A_TERMINAL = 30
_COLUMNS = (
    Column(""),
    Column("ID", is_dim=True),
    Column("ACTIVE", is_number=True, may_go=2),
    Column("STATE", may_go=3),
    Column("AGENT", may_go=4),
    Column("TITLE", is_rest=True),
)


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_looking(parser)
    parser.add_argument(
        "--query", metavar="TEXT", type=typed, help="only those with this text in the title or the first request"
    )
    parser.add_argument("--agent", metavar="AGENT", type=typed, help="only those of this program, such as claude-code")
    parser.add_argument("--cwd", metavar="PATH", help="only those about this directory, or one below it")
    parser.add_argument("--since", metavar="WHEN", help="only those that moved since then: 12h, 2d, 6w or 2026-01-31")
    parser.add_argument(
        "--state",
        metavar="STATE",
        choices=("running", "requires_action", "failed", "idle"),
        help="only those that stand so: running, requires_action, failed or idle",
    )
    parser.add_argument("--archived", action="store_true", help="those that are archived, instead of the others")
    parser.add_argument(
        "--limit", metavar="N", type=whole_number, help="at most so many (default: 30 on a terminal, all elsewhere)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for a program")


def run(options: Namespace) -> int:
    """0: it listed them. 1: a store could not be read."""
    return told(options, lambda: _list(options))


def _list(options: Namespace) -> int:
    wanted: dict[str, Any] = {
        "query": options.query,
        "agent": options.agent,
        "cwd": directory("--cwd", options.cwd),
        "active_since": since("--since", options.since),
        "state": options.state,
        "archived": options.archived,
    }
    with Looking(options) as looking:
        if options.json:
            for session in listed(looking, options.limit, **wanted):
                say_entity(session)
            return looking.code
        limit = options.limit or (_ON_A_TERMINAL if sys.stdout.isatty() else None)
        # One more, to know whether there are more.
        found = list(listed(looking, None if limit is None else limit + 1, **wanted))
        if found:
            _show(found[:limit])
        else:
            hint(elsewhere(looking, options, "conversation", lambda: _count(looking, wanted)))
        if limit is not None and len(found) > limit:
            hint(f"There are more: --limit {limit * 10} lists further ones.")
        return looking.code


def _count(looking: Looking, wanted: dict[str, Any]) -> int:
    """How many every store has, but no more than one page."""
    page = looking.joined(JoinedSessions(limit=MAX_LIMIT, sort="active", **wanted), everywhere=True)
    return sum(1 for _ in page.sessions)


def _show(found: list[SessionOfStore]) -> None:
    rows = [
        (
            f"@{number}",
            short_id(session),
            ago(session.active_at),
            session.state.replace("_", " "),
            session.agent or "",
            title_of(session),
        )
        for number, session in enumerate(found, 1)
    ]
    for line in table(_COLUMNS, rows):
        say_line(line)

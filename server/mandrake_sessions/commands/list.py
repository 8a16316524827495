"""The command ``mandrake-sessions list``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from mandrake_sessions.commands.arguments import add_limit, usage
from mandrake_sessions.commands.filters import add_filters, filters
from mandrake_sessions.commands.looking import Looking, add_looking, count_listed, listed, tell_nothing
from mandrake_sessions.commands.moments import ago
from mandrake_sessions.commands.pager import say_lines
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import told
from mandrake_sessions.commands.table import Column, table
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.folding import hint
from mandrake_sessions.model import SessionOfStore

DESCRIPTION = (
    "List conversations, the one that was active last first: those of this workspace's store, and those of your own "
    "store that are about this workspace.\n\n"
    "Other commands name a session by the beginning of its ID, or by its place in the list: @1, @2 and so on. Give "
    "them the same --all, --scope and --agent, since these change the places."
)
EXAMPLE = "mandrake-sessions list --since 2d"
_ON_A_TERMINAL = 30
_COLUMNS = (
    Column("ID", is_dim=True),
    Column("ACTIVE", is_number=True, may_go=2),
    Column("STATE", may_go=3),
    Column("AGENT", may_go=4),
    Column("TITLE", is_rest=True),
)

# What other commands cannot be told: there @2 would be another session.
_ONLY_HERE = ("query", "state", "archived", "cwd", "active_since")


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_looking(parser)
    parser.add_argument("--query", metavar="TEXT", help="only those with this text in the title or the first request")
    add_filters(parser, since="those that were active", archived=True)
    parser.add_argument(
        "--state",
        metavar="STATE",
        choices=("running", "requires_action", "failed", "idle"),
        help="only those that stand so: running, requires_action, failed or idle",
    )
    add_limit(parser, "at most so many (default: 30 on a terminal, all elsewhere)")
    add_json(parser)


def run(options: Namespace) -> int:
    """0: it listed them. 1: a store could not be read."""
    return told(options, lambda: _list(options))


def _list(options: Namespace) -> int:
    wanted: Any = {"query": options.query, "state": options.state, "archived": options.archived, **filters(options)}
    with Looking(options) as looking:
        is_found = _say(looking, options.limit, wanted) if options.json else _show(looking, options, wanted)
        if not is_found:
            tell_nothing(looking, options, "conversation", partial(count_listed, looking, wanted))
        return looking.code


def _say(looking: Looking, limit: int | None, wanted: Any) -> bool:
    """Print them for a program; gives whether there are any."""
    is_found = False
    for session in listed(looking, limit, **wanted):
        say_json(session)
        is_found = True
    return is_found


def _show(looking: Looking, options: Namespace, wanted: Any) -> bool:
    """Print them for people; gives whether there are any."""
    limit = options.limit or (_ON_A_TERMINAL if sys.stdout.isatty() else None)
    # One more, to know whether there are more.
    found = list(listed(looking, None if limit is None else limit + 1, **wanted))
    if found:
        _show_table(found[:limit], is_numbered=not any(wanted.get(name) for name in _ONLY_HERE))
    if limit is not None and len(found) > limit:
        hint(f"There are more: --limit {limit * 10} lists further ones.")
    return bool(found)


def _show_table(found: list[SessionOfStore], *, is_numbered: bool) -> None:
    rows = [
        (
            short_id(session),
            ago(session.active_at),
            session.state.replace("_", " "),
            session.agent or "",
            title_of(session) if session.relation is None else f"({session.relation.value}) {title_of(session)}",
        )
        for session in found
    ]
    if is_numbered:
        numbered = [(f"@{number}", *row) for number, row in enumerate(rows, 1)]
        say_lines(table((Column(""), *_COLUMNS), numbered))
    else:
        say_lines(table(_COLUMNS, rows))

"""The flags with which a person asks for some of the sessions, the same in each command that has them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from mandrake_sessions.commands.arguments import directory, path
from mandrake_sessions.commands.moments import since as since_moment
from mandrake_sessions.model import Session

WHEN = "12h, 2d, 6w, today, yesterday or 2026-01-31"


def add_agent(parser: ArgumentParser) -> None:
    """The flag that says whose sessions are meant."""
    parser.add_argument("--agent", metavar="AGENT", help="only sessions of this program, such as claude-code")


def add_filters(parser: ArgumentParser, *, since: str | None = None, archived: bool = False) -> None:
    """``--agent`` and ``--cwd``; with ``since``, which says what counts from then on, ``--since``."""
    add_agent(parser)
    parser.add_argument("--cwd", metavar="PATH", type=path, help="only sessions about this directory, or one below it")
    if since is not None:
        parser.add_argument("--since", metavar="WHEN", help=f"only {since} since then: {WHEN}")
    if archived:
        parser.add_argument("--archived", action="store_true", help="sessions that are archived, instead of the others")


def filters(options: Namespace, *, since: str = "active_since") -> Any:
    """What these flags say, for those that were given: ``agent``, ``cwd``, and the beginning under the name ``since``.
    Raises BadSetting."""
    found = {
        "agent": getattr(options, "agent", None),
        "cwd": directory("--cwd", getattr(options, "cwd", None)),
        since: since_moment("--since", getattr(options, "since", None)),
    }
    return {name: value for name, value in found.items() if value is not None}


def is_about(session: Session, cwd: str) -> bool:
    """Whether it is about this directory, or one below it."""
    return session.cwd is not None and (session.cwd + "/").startswith(cwd.rstrip("/") + "/")

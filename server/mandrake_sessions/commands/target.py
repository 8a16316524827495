"""The session that a command adds to: one that is there, or a new one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import HOW_TO_NAME, named
from mandrake_sessions.commands.new import add_about
from mandrake_sessions.commands.writing import make_searchable, store_to_write
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.settings import BadSetting


def add_session_and_prompt(parser: ArgumentParser, *, prompt: str) -> None:
    """The flags that come first. ``prompt``: what the request is for."""
    parser.add_argument("--session", metavar="SESSION", help=HOW_TO_NAME)
    parser.add_argument("--prompt", metavar="TEXT", help=prompt)


def add_where(parser: ArgumentParser) -> None:
    """The flags that say whose a new session is, and where it is stored."""
    add_about(parser)
    add_looking(parser)


@contextmanager
def target(options: Namespace) -> Iterator[tuple[SessionManager, str | None]]:
    """The store, and the id of the session that is named; None where one is to be made.

    Raises BadSetting, and what ``named`` and opening a store raise.
    """
    if options.session is None:
        with store_to_write(options) as manager:
            yield manager, None
        return
    if options.title or options.external_id:
        flag = "--title" if options.title else "--external-id"
        raise BadSetting(flag, "is for a session that is made, and cannot be given beside --session")
    with Looking(options) as looking:
        found = named(looking, options, options.session)
        yield found.manager, found.session.id
        make_searchable(found.manager)

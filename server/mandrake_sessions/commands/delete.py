"""The command ``mandrake-sessions delete SESSION…``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.naming import Named, add_sessions, has_part, has_title, named_each
from mandrake_sessions.commands.shared import DONE, asked, hint, told
from mandrake_sessions.commands.table import fitted
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.maintenance.words import plural
from mandrake_sessions.model import Session
from mandrake_sessions.quoting import one_line, shorten
from mandrake_sessions.settings import BadSetting

DESCRIPTION = (
    "Delete sessions for good. On a terminal it asks before; in scripts it deletes without asking. prune deletes what "
    "is old, and archive only puts away."
)
EXAMPLE = "mandrake-sessions delete @last --yes"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION…")
    add_sessions(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask, not even on a terminal")
    add_looking(parser)


def run(options: Namespace) -> int:
    """0: they are deleted, or somebody said no. 1: one was not found, and nothing is deleted; or it failed."""
    return told(options, lambda: _delete(options))


def _delete(options: Namespace) -> int:
    with Looking(options) as looking:
        meant = named_each(looking, options)
        if not _is_wanted(options, meant):
            hint("Nothing was deleted.")
            return DONE
        for each in meant:
            each.manager.delete_session(each.session.id)
            hint(f"Deleted: {each.session.id}  {title_of(each.session)}")
        return looking.code


def _is_wanted(options: Namespace, meant: list[Named]) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        _check_names(options, meant)
        return True
    for each in meant:
        rounds = plural(each.session.round_count, "round")
        title = fitted(one_line(title_of(each.session)), sys.stderr, beside=f"{short_id(each.session)}    ({rounds})")
        hint(f"{short_id(each.session)}  {title}  ({rounds})")
    return asked(f"Delete {plural(len(meant), 'session')} for good?")


def _check_names(options: Namespace, meant: list[Named]) -> None:
    """Nobody is asked, so nobody could say that it is another session whose title has this part. Raises BadSetting."""
    sessions = [each.session for each in meant]
    for name in options.sessions:
        if name.startswith("@") or any(_is_whole(name, each) for each in sessions):
            continue
        session = next(each for each in sessions if has_part(each, name))
        raise BadSetting(
            "SESSION",
            f"{shorten(repr(name))} is only a part of the title of {session.id}, {shorten(repr(title_of(session)))}; "
            "name it by its id, or add --yes",
        )


def _is_whole(name: str, session: Session) -> bool:
    """Whether it is the beginning of the id, another program's name, or the title."""
    return name == session.external_id or session.id.startswith(name.lower()) or has_title(session, name)

"""The command ``mandrake-sessions stores``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import suppress

from mandrake_sessions.commands.arguments import add_store, settings_of, usage
from mandrake_sessions.commands.moments import ago
from mandrake_sessions.commands.pager import say_lines
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import DONE, place_of, told
from mandrake_sessions.commands.table import Column, table
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.files import is_gone, stays_empty
from mandrake_sessions.folding import hint
from mandrake_sessions.known_stores import KnownStore, known_stores

DESCRIPTION = (
    "List the stores that you have used, the one that was used last first; also those that are gone, for 90 days."
)
EXAMPLE = "mandrake-sessions stores"
_COLUMNS = (Column("USED", is_number=True), Column("STATE", may_go=1), Column("STORE", is_rest=True, keeps_end=True))


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    add_store(parser, scope=None)
    add_json(parser)


def run(options: Namespace) -> int:
    """0: it listed them."""
    return told(options, lambda: _stores(options))


def _stores(options: Namespace) -> int:
    settings = settings_of(options)
    places = []
    for scope in ("workspace", "system"):
        with suppress(SessionsError):
            places.append(place_of(settings, scope))
    found = [each for each in known_stores((), places) if options.scope in (None, each.scope)]
    if options.json:
        from mandrake_sessions.protocol.results import ListedStore

        for each in found:
            last = each.last_used_at
            say_json(ListedStore(each.store_id, each.scope, each.workspace, each.path, last, each.available))
    elif found:
        say_lines(table(_COLUMNS, [_row(each) for each in found]))
    else:
        hint("You have used no store yet: the first session that is stored makes one.")
    return DONE


def _row(store: KnownStore) -> tuple[str, str, str]:
    return ago(store.last_used_at), _state(store), store.path


def _state(store: KnownStore) -> str:
    if store.available:
        return ""
    if is_gone(store.path):
        return "gone"
    return "empty" if stays_empty(store.path) else "unreadable"

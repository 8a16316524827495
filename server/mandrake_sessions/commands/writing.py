"""The store that commands write to which make something; it is noted as used."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from mandrake_sessions.commands.arguments import settings_of
from mandrake_sessions.commands.shared import place_of
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.ids import now_ms
from mandrake_sessions.known_stores import note_used
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store_places import OpenStore

_SEARCHABLE_SECONDS: Final = 1.0


@contextmanager
def store_to_write(options: Namespace) -> Iterator[SessionManager]:
    """The store of the workspace, or the user's own with ``--scope system``; it is made if it is not there.

    Raises what opening it raises.
    """
    settings = settings_of(options)
    place = place_of(settings, options.scope or "workspace")
    stores = OpenStores(settings)
    try:
        manager = stores.open(place, make=True)
        assert manager is not None
        yield manager
        make_searchable(manager)
        note(options, manager)
    finally:
        stores.close()


def check_store(options: Namespace) -> None:
    """Raises what is wrong with the flags that say which store it is, before anything is made."""
    place_of(settings_of(options), options.scope or "workspace").check_workspace()


def note(options: Namespace, manager: SessionManager) -> None:
    """Note in the register that the store is used now, unless a setting says that it is not to be."""
    settings = settings_of(options)
    if not settings.no_register:
        place = place_of(settings, options.scope or "workspace")
        note_used(OpenStore(place, manager.feed.store_id(), now_ms()))


def make_searchable(manager: SessionManager) -> None:
    """Put into the search index what a command has written, for a second at most: where no server is, nobody else does,
    and who searches every store only reads this one. What keeps it from that is no failure of the command."""
    from mandrake_sessions.operations.indexing import fill_index

    with suppress(SessionsError, OSError):
        fill_index(manager.store, patience=0, most=_SEARCHABLE_SECONDS)

"""The store that commands write to which make something; it is noted as used."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from mandrake_sessions.commands.shared import place_of, settings_of
from mandrake_sessions.ids import now_ms
from mandrake_sessions.known_stores import note_used
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store_places import OpenStore


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
        if not settings.no_register:
            note_used(OpenStore(place, manager.feed.store_id(), now_ms()))
    finally:
        stores.close()

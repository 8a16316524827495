"""Writes the stores that a server uses into the register."""

from __future__ import annotations

import logging

from mandrake_sessions.ids import now_ms
from mandrake_sessions.known_stores import each_is_there, noted, register
from mandrake_sessions.store.elsewhere import Register, RegisteredStore, RegisterFault
from mandrake_sessions.store_places import OpenStore

logger = logging.getLogger(__name__)


class NotNoted(Exception):
    """Why the register was not written. ``is_usual``: it needs nobody's attention; ``is_passing``: it may be written in
    a while."""

    def __init__(self, reason: str, *, is_usual: bool, is_passing: bool) -> None:
        super().__init__(reason)
        self.is_usual = is_usual
        self.is_passing = is_passing


def note(stores: list[OpenStore], every_ms: int) -> None:
    """``every_ms``: what was noted before is noted again after so long. Raises NotNoted."""
    found = register()
    if found is None:
        why = "there is no register of stores, since this user has no home directory"
        raise NotNoted(why, is_usual=True, is_passing=False)
    try:
        _note(found, stores, now_ms(), every_ms)
    except RegisterFault as fault:
        raise NotNoted(str(fault), is_usual=fault.is_usual, is_passing=True) from fault


def _note(found: Register, stores: list[OpenStore], now: int, every_ms: int) -> None:
    entries = [entry for store in stores if (entry := noted(store, now)) is not None]
    if _all_noted(found, entries, now, every_ms):
        return
    found.note(entries, now)
    if found.is_sweep_due(now):
        for path in found.sweep(each_is_there(found.read()), now):
            logger.info("the store %s is gone for long; it is no longer listed", path)


def _all_noted(found: Register, entries: list[RegisteredStore], now: int, every_ms: int) -> bool:
    """Whether the register says all of it already, as where a script begins a server for each line."""
    try:
        known = {store.path: store for store in found.read()}
    except RegisterFault:
        return False
    return all(
        (before := known.get(entry.path)) is not None
        and 0 <= now - before.last_used_at < every_ms
        and _same(before) == _same(entry)
        for entry in entries
    )


def _same(store: RegisteredStore) -> tuple[object, ...]:
    return store.store_id, store.scope, store.workspace, store.file, store.owner, store.gone_since

"""Which kind of store a name means. Above the stores only this module and ``elsewhere`` know them apart."""

from __future__ import annotations

import re

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.store.interface import EntityStore, Store
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sqlite.absent import EmptyStore, is_there, may_make
from mandrake_sessions.store.sqlite.build import sqlite_version
from mandrake_sessions.store.sqlite.store import SqliteStore
from mandrake_sessions.workspaces import path_of_uri

__all__ = [
    "empty_store",
    "is_there",
    "may_make",
    "path_or_name",
    "sqlite_version",
    "store_at",
]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def store_at(name: str, settings: StoreSettings) -> Store:
    """The store of that name, not open yet."""
    return SqliteStore(path_or_name(name), settings)


def path_or_name(name: str) -> str:
    """The path that a ``file:`` URI names; any other name as it is.

    Raises:
        StorageFailure: it is the URL of a kind of store that there is not. A URL may hold a secret, so nothing of it is
            told but its scheme.
    """
    url = _URL.match(name)
    if url is None:
        return name
    path = path_of_uri(name)
    if path is not None:
        return str(path)
    shown = f"{url[1]}://…"
    raise StorageFailure(
        StorageReason.OPEN,
        lambda words: (
            f"Failed to initialize database {shown}: there is no store of this kind; "
            f"name a file with {words.setting('db_path')}"
        ),
        shown,
    )


def empty_store() -> EntityStore:
    """What a new store would hold, which is nothing; it cannot be written (``WriteNeeded``)."""
    return EmptyStore()

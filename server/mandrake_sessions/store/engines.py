"""Which kind of store a name means. The only place above the stores that knows them apart."""

from __future__ import annotations

from mandrake_sessions.store.interface import EntityStore, Store
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sqlite.absent import EmptyStore, is_there
from mandrake_sessions.store.sqlite.build import sqlite_version
from mandrake_sessions.store.sqlite.health import build_warnings
from mandrake_sessions.store.sqlite.register import Register, RegisteredStore, RegisterFault, file_of
from mandrake_sessions.store.sqlite.store import SqliteStore
from mandrake_sessions.store.sqlite.visiting import Visit, VisitedStore, is_own

__all__ = [
    "Register",
    "RegisterFault",
    "RegisteredStore",
    "Visit",
    "VisitedStore",
    "build_warnings",
    "empty_store",
    "file_of",
    "is_own",
    "is_there",
    "sqlite_version",
    "store_at",
]


def store_at(name: str, settings: StoreSettings) -> Store:
    """The store of that name, not open yet."""
    return SqliteStore(name, settings)


def empty_store() -> EntityStore:
    """What a new store would hold, which is nothing; it cannot be written (``WriteNeeded``)."""
    return EmptyStore()

"""Brings a store to the schema of this program."""

from __future__ import annotations

from attrs import frozen

from mandrake_sessions.manager import SessionManager
from mandrake_sessions.store.sqlite.migrate import latest_version, pending_migrations
from mandrake_sessions.store.sqlite.verify import schema_of, too_new


@frozen
class Schema:
    """The schema of a file and of this program. ``pending``: the names of the migrations between them."""

    version: int
    latest: int
    pending: list[str]


def schema(database: str, *, busy_timeout: float = 5.0) -> Schema:
    """Find out which migrations are pending. It writes nothing.

    Raises:
        StorageFailure: the file is newer than this program, not a store, damaged, or does not exist.
        Busy: another process held its lock.
    """
    version = schema_of(database, busy_timeout)
    if version > latest_version():
        raise too_new(database, version)
    return Schema(version, latest_version(), pending_migrations(version))


def migrate(database: str, *, busy_timeout: float = 5.0, allow_network_filesystem: bool = False) -> Schema:
    """Migrate the store; gives the migrations that were pending. A file with data is copied beside itself first. Raises
    what ``schema`` raises, and StorageFailure (``migrate``), which leaves the file as it was."""
    before = schema(database, busy_timeout=busy_timeout)
    if before.pending:
        manager = SessionManager(database, busy_timeout=busy_timeout, allow_network_filesystem=allow_network_filesystem)
        with manager:
            pass
    return before

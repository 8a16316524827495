"""Bringing a store to the schema of this program."""

from __future__ import annotations

from attrs import frozen

from mandrake_sessions.manager import SessionManager
from mandrake_sessions.store.sqlite.migrate import latest_version, pending_migrations
from mandrake_sessions.store.sqlite.verify import schema_of, too_new


@frozen
class Schema:
    """The schema of a file, and of this program; ``pending``: the names of the migrations between."""

    version: int
    latest: int
    pending: list[str]


def schema(database: str, *, busy_timeout: float = 5.0) -> Schema:
    """What would have to be done; nothing is written.

    Raises:
        StorageFailure: the file is newer than this program, not ours, damaged, or not there.
        Busy: others held it.
    """
    version = schema_of(database, busy_timeout)
    if version > latest_version():
        raise too_new(database, version)
    return Schema(version, latest_version(), pending_migrations(version))


def migrate(database: str, *, busy_timeout: float = 5.0, allow_network_filesystem: bool = False) -> Schema:
    """Do it; gives what there was to do. A file with data is copied beside itself before. Raises what ``schema``
    does, and StorageFailure (``migrate``) with the file as it was."""
    before = schema(database, busy_timeout=busy_timeout)
    if before.pending:
        manager = SessionManager(database, busy_timeout=busy_timeout, allow_network_filesystem=allow_network_filesystem)
        with manager:
            pass
    return before

"""What is wrong with an open file: why it may only be read, what failed last, and what in it cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mandrake_sessions.errors import StorageFailure, StorageReason, StoreMoved, Unreadable
from mandrake_sessions.files import is_mounted_read_only, whose
from mandrake_sessions.store.oddities import Oddities
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.store.sqlite.failures import damaged, may_be_odd_content, to_domain_error
from mandrake_sessions.store.sqlite.identity import FileIdentity
from mandrake_sessions.store.sqlite.migrate import latest_version, lowest_programs, user_version
from mandrake_sessions.workspaces import how_to_name

_EMPTIED = "it was emptied"
# Failures of reads that a successful read disproves. A successful write disproves all failures but damage.
_TRANSIENT = frozenset({StorageReason.IO, StorageReason.OPEN})


class Diagnosis:
    """Of one open file; any thread may use it.

    ``read_only``: why nothing may be written, or None. ``failure``: the last thing that went wrong with the file, until
    a write succeeds. ``is_cut_off``: a newer program has migrated the file beyond what this one can read; opening it
    again will say so. ``is_unchecked``: the file came from elsewhere, and was not inspected yet; ``faults``: what the
    last inspection found.
    """

    def __init__(self, path: str, identity: FileIdentity, read_only: StorageReason | None, schema_version: int) -> None:
        self.read_only = read_only
        self.failure: StorageFailure | None = None
        self._has_write_failed = False
        self.schema_version = schema_version
        self.is_cut_off = False
        self.is_unchecked = False
        self.faults: list[str] = []
        # What of the file cannot be read; the connections note it.
        self.oddities = Oddities()
        self._path = path
        self._identity = identity

    @contextmanager
    def domain_errors(self) -> Iterator[None]:
        """Raise SQLite's errors in the block as domain errors, and remember them."""
        try:
            yield
        except (sqlite3.Error, OddValue, Unreadable) as error:
            self.raise_domain_error(error)
            raise

    def raise_domain_error(self, error: BaseException, *, of_write: bool = False) -> None:
        """Raise one of SQLite's errors as a domain error, and remember it. Of other errors it notes ``Unreadable``, and
        raises none. ``of_write``: it has ended a transaction."""
        if isinstance(error, Unreadable):
            self.note(error)
            return
        known = to_domain_error(error, self._path) or self._judged(error)
        if isinstance(known, StorageFailure) and not self._identity.is_found:
            # What was read or written was not the whole of what belongs together.
            raise StoreMoved(self._path) from error
        if isinstance(known, StorageFailure):
            self.raise_if_emptied()
        if isinstance(known, Unreadable):
            self.oddities.note(known)
        elif isinstance(known, StorageFailure) and not self.is_damaged:
            self.failure, self._has_write_failed = known, of_write
        if known is not None:
            raise known from error

    def _judged(self, error: BaseException) -> Unreadable | None:
        if not isinstance(error, sqlite3.Error) or not may_be_odd_content(error):
            return None
        from mandrake_sessions.store.sqlite.judging import judge  # only a process with an odd file pays for it

        return judge(error, self._path)

    def note(self, error: Unreadable) -> None:
        """Remember what cannot be read; the health of the store names it."""
        error.path = self._path
        self.oddities.note(error)

    @property
    def is_damaged(self) -> bool:
        """Whether the file is damaged, so that nothing may be written any more."""
        return self.failure is not None and self.failure.reason is StorageReason.CORRUPT

    @property
    def present_failure(self) -> StorageFailure | None:
        """What is wrong with the file now: ``failure``, or that somebody has emptied it."""
        if self._identity.content.is_emptied and not self.is_damaged:
            return damage(self._path, _EMPTIED)
        return self.failure

    @property
    def may_be_written(self) -> bool:
        return self.read_only is None and not self.is_damaged

    def mark_damaged(self, how: str) -> None:
        """Remember the damage that a check has found. Nothing is written from here on."""
        self.failure = damage(self._path, how)

    def clear_transient_failure(self) -> None:
        """A read has succeeded."""
        if self.failure is not None and self.failure.reason in _TRANSIENT and not self._has_write_failed:
            self.failure = None

    def clear_failure(self) -> None:
        """A write has succeeded. Damage that another thread has found meanwhile stays."""
        if not self.is_damaged:
            self.failure = None

    def notice_schema(self, connection: sqlite3.Connection) -> None:
        """Read the schema's version. Another window may have run a newer program, and then this one may not write the
        file, or not even read it."""
        self.schema_version = version = user_version(connection)
        if version > latest_version():
            min_writer, min_reader = lowest_programs(connection)
            self.is_cut_off = latest_version() < min_reader
            if latest_version() < min_writer:
                self.failure = schema_too_new(self._path, version)

    def refusal(self) -> StorageFailure:
        """The error for a write to a file that may only be read."""
        if self.read_only is StorageReason.SCHEMA_TOO_NEW:
            return schema_too_new(self._path, self.schema_version)
        if self.read_only is StorageReason.CORRUPT:
            return self.failure or damage(self._path, "a check failed")
        return StorageFailure(
            StorageReason.READ_ONLY,
            lambda words: (
                f"{self._path} may only be read: {self._why_not_written()}, or name "
                f"{how_to_name('another file', self._path, words.setting('db_path'))}"
            ),
            self._path,
        )

    def _why_not_written(self) -> str:
        """And what to do."""
        if is_mounted_read_only(self._path):
            return "its file system is mounted so that it can only be read. Mount it to be written"
        return f"{whose(self._path)}. Change its owner or mode"

    def check_not_emptied(self) -> None:
        """Raises StorageFailure: somebody has cut the open file to nothing. That passes if it is just being written
        over, and then the file is opened again."""
        if self._identity.is_same:
            self.raise_if_emptied()

    def raise_if_emptied(self) -> None:
        """The same, as of the last look at the file."""
        if self._identity.content.is_emptied:
            raise damage(self._path, _EMPTIED)


def damage(path: str, how: str) -> StorageFailure:
    """The failure of a file in which a check has found damage."""
    return damaged(f"database {path}: it is damaged ({how}), and not written to any more", path)


def schema_too_new(path: str, version: int) -> StorageFailure:
    return StorageFailure(
        StorageReason.SCHEMA_TOO_NEW,
        f"{path} has schema {version}, this program knows {latest_version()}; nothing was written. "
        "Update mandrake-sessions, and close windows that run the old one",
        path,
    )

"""How a store is: what is known without reading it, what a short read tells, and what looking through it all does."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from mandrake_sessions.errors import NotOpen, StorageFailure, Unreadable
from mandrake_sessions.files import exists, file_size
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.store import changes
from mandrake_sessions.store.build import WAL_RESET_ADVICE, WAL_RESET_BUG, has_wal_reset_bug, sqlite_version
from mandrake_sessions.store.deep_check import deep_check
from mandrake_sessions.store.facts import DISK_ADVICE, NEARLY_FULL, WAL_ADVICE, WAL_DEBT
from mandrake_sessions.store.leases import unusable_lock_directory
from mandrake_sessions.store.migrate import latest_version, user_version
from mandrake_sessions.store.opening import CHECKED_AT_OPENING, find_damage
from mandrake_sessions.store.permissions import open_to_others
from mandrake_sessions.store.reading import considerate
from mandrake_sessions.store.recheck import forget_what_is_mended
from mandrake_sessions.store.rescue import rescued_copies
from mandrake_sessions.store.transaction import Pin


@frozen
class StoreState:
    """How an open store is. ``references``: managers of this process that have it open; ``failure``: what went wrong
    with the file last, until a write succeeds, or why nothing may be written to it; ``reconnects``: how often the file
    was opened again, ``replacements``: how often it was another one then; ``faults``: what a look through a file that
    came from elsewhere has found, as sentences."""

    schema_version: int
    references: int
    busy_retries: int
    reconnects: int
    replacements: int
    failure: StorageFailure | None
    faults: list[str]


class HealthOperations(Operations):
    def state(self) -> StoreState:
        """What is known of the open file without reading it. Raises NotOpen."""
        held = self._held
        if held is None or not held.is_usable:
            raise NotOpen(f"the store {self._path} is not open")
        return StoreState(
            held.schema_version,
            held.references,
            held.busy_retries,
            self.reconnects,
            self.replacements,
            held.failure if held.read_only is None else held.refusal(),
            held.faults,
        )

    @property
    def failure(self) -> StorageFailure | None:
        """What went wrong with the file last, until a write succeeds; None where it is not open."""
        return None if self._held is None else self._held.failure

    def check(self) -> str:
        """The store's ``storeId``, read now, which a broken file does not give. Raises StoreError, without waiting."""
        database = self._database(wait=False)
        with suppress(StorageFailure):
            # Remembered as its failure; what the -wal holds can still be read.
            database.check_not_emptied()
        with self.pin(wait=False) as pin, database.domain_errors():
            found = changes.store_id(pin.connection) or ""
            database.notice_schema(pin.connection)
        database.clear_transient_failure()
        return found

    def known_unreadable(self) -> list[Unreadable]:
        """What of the open store could not be read when it was met last; each was logged then."""
        return [] if self._held is None else self._held.oddities.listed()

    def unreadable(self) -> list[Unreadable]:
        """What of the open store cannot be read for what it is, as far as that was met; the rest of it goes on. Raises
        StoreError, without waiting."""
        held = self._held
        if held is None or not (listed := held.oddities.listed()):
            return []
        with self.pin(wait=False) as pin, held.domain_errors():
            forget_what_is_mended(pin.connection, listed, held.oddities.forget)
        return held.oddities.listed()

    @property
    def is_unchecked(self) -> bool:
        """Whether the file was replaced, or came from elsewhere, and was not looked through since."""
        return self._held is not None and self._held.is_unchecked

    @property
    def faults(self) -> list[str]:
        """What a look through a file that came from elsewhere has found."""
        return [] if self._held is None else self._held.faults

    @property
    def needs_looking_through(self) -> bool:
        """Whether not all of the file was looked through when it was opened: it is large, or another one."""
        held = self._held
        return held is not None and (
            file_size(self._path) > CHECKED_AT_OPENING or held.is_unchecked or bool(held.faults)
        )

    def look_through(self, pin: Pin) -> None:
        """Look for damage in all of the file, on any thread, which ends all writing to it; and, in one that came from
        elsewhere, for what a store should not hold, which ``state`` tells then. Raises Cancelled where the pin was
        interrupted."""
        database = pin.database
        with pin, database.domain_errors():
            if (damage := find_damage(pin.connection)) is not None:
                database.mark_damaged(damage)
            elif (database.is_unchecked or database.faults) and user_version(pin.connection) <= latest_version():
                with considerate(pin.connection, lambda: database.is_usable):
                    database.faults = [problem.text for problem in deep_check(pin.connection)]
            database.is_unchecked = False

    @staticmethod
    def sqlite_version() -> str:
        """The version of SQLite that this Python has."""
        return sqlite_version()


def free_bytes(path: str) -> int | None:
    """What is free on the disk that holds the file, or would."""
    directory = Path(path).parent
    while not exists(directory) and directory != directory.parent:
        directory = directory.parent
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def build_warnings() -> list[str]:
    """What is wrong with the program's own parts, whatever the store."""
    if not has_wal_reset_bug():
        return []
    return [f"SQLite {sqlite_version()}: {WAL_RESET_BUG}; {WAL_RESET_ADVICE}"]


def file_warnings(path: str, schema_version: int | None, *, own_directory: bool) -> list[str]:
    """What does not stop a store but should be looked at, each with what to do. ``own_directory``: whether its
    directory is the store's alone. While nothing else is wrong they read the same, so that each is logged once."""
    found = [
        f"{name} may be used by others than its owner (mode {mode:o}); chmod go= it, or mandrake-sessions doctor --fix"
        for name, mode in open_to_others(path, own_directory=own_directory).items()
    ]
    # The figures stand beside them (``walBytes``, ``freeBytes``): a warning that moved would be told again and again.
    if file_size(path + "-wal") > WAL_DEBT:
        found.append(f"the -wal has grown beyond {WAL_DEBT} bytes; {WAL_ADVICE}")
    found.extend(
        f"{kept} holds what a -wal held that was deleted; see what is in it with --database, then restore or delete it"
        for kept in rescued_copies(path)
    )
    if (unusable := unusable_lock_directory(path)) is not None:
        found.append(unusable)
    if schema_version is not None and schema_version != latest_version():
        found.append(
            f"the file has schema {schema_version}, this program knows {latest_version()}; "
            + ("it is not migrated" if schema_version < latest_version() else "update mandrake-sessions")
        )
    if (free := free_bytes(path)) is not None and free < NEARLY_FULL:
        found.append(f"the disk is nearly full, less than {NEARLY_FULL} bytes are free; {DISK_ADVICE}")
    return found

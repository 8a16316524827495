"""How a store in a file is: what a short read tells, what its files tell, and what looking through it all does."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from mandrake_sessions.errors import StorageFailure, Unreadable
from mandrake_sessions.files import exists, file_size
from mandrake_sessions.store.interface import StoreFacts
from mandrake_sessions.store.sql.changes import store_id
from mandrake_sessions.store.sqlite.build import WAL_RESET_ADVICE, WAL_RESET_BUG, has_wal_reset_bug, sqlite_version
from mandrake_sessions.store.sqlite.database import Database
from mandrake_sessions.store.sqlite.deep_check import deep_check
from mandrake_sessions.store.sqlite.facts import DISK_ADVICE, NEARLY_FULL, WAL_ADVICE, WAL_DEBT
from mandrake_sessions.store.sqlite.leases import unusable_lock_directory
from mandrake_sessions.store.sqlite.migrate import latest_version, user_version
from mandrake_sessions.store.sqlite.opening import CHECKED_AT_OPENING, find_damage
from mandrake_sessions.store.sqlite.permissions import open_to_others
from mandrake_sessions.store.sqlite.reading import considerate
from mandrake_sessions.store.sqlite.recheck import forget_what_is_mended
from mandrake_sessions.store.sqlite.rescue import rescued_copies
from mandrake_sessions.store.sqlite.transaction import SqliteSnapshot


def check(database: Database) -> str:
    """The ``storeId``, read now. Raises StoreError, without waiting."""
    with suppress(StorageFailure):
        # Remembered as its failure; what the -wal holds can still be read.
        database.diagnosis.check_not_emptied()
    with SqliteSnapshot(database, budget=0) as snapshot, database.diagnosis.domain_errors():
        found = store_id(snapshot.sql) or ""
        database.diagnosis.notice_schema(snapshot.sql)
    database.diagnosis.clear_transient_failure()
    return found


def still_unreadable(database: Database) -> list[Unreadable]:
    """What of it cannot be read, once the first of that were tried again. Raises StoreError, without waiting."""
    oddities = database.diagnosis.oddities
    if listed := oddities.listed():
        with SqliteSnapshot(database, budget=0) as snapshot, database.diagnosis.domain_errors():
            forget_what_is_mended(snapshot.sql, listed, oddities.forget)
    return oddities.listed()


def needs_inspection(database: Database) -> bool:
    """Whether not all of the file was looked through when it was opened: it is large, or another one."""
    diagnosis = database.diagnosis
    return file_size(database.path) > CHECKED_AT_OPENING or diagnosis.is_unchecked or bool(diagnosis.faults)


class Inspection:
    """Looks through a whole file, from the snapshot that it takes when it is made. Raises StoreError, without
    waiting."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._snapshot = SqliteSnapshot(database, budget=0)

    def run(self) -> list[str]:
        """Look for damage, which ends all writing to the file; and, in one that came from elsewhere, for what a store
        should not hold: gives that, as sentences. Raises Cancelled."""
        database, diagnosis = self._database, self._database.diagnosis
        with self._snapshot as snapshot, diagnosis.domain_errors():
            if (damage := find_damage(snapshot.sql)) is not None:
                diagnosis.mark_damaged(damage)
            elif (diagnosis.is_unchecked or diagnosis.faults) and user_version(snapshot.sql) <= latest_version():
                with considerate(snapshot.sql, lambda: database.is_usable):
                    diagnosis.faults = [problem.text for problem in deep_check(snapshot.sql)]
            diagnosis.is_unchecked = False
        return diagnosis.faults

    def interrupt(self) -> None:
        self._snapshot.interrupt()


def build_warnings() -> list[str]:
    """What is wrong with the program's own parts, whatever the store."""
    if not has_wal_reset_bug():
        return []
    return [f"SQLite {sqlite_version()}: {WAL_RESET_BUG}; {WAL_RESET_ADVICE}"]


def facts(path: str, database: Database | None, *, own_directory: bool) -> StoreFacts:
    """``database``: None where the file is not open. ``own_directory``: whether its directory is the store's alone."""
    return StoreFacts(
        db_bytes=file_size(path),
        wal_bytes=file_size(path + "-wal"),
        free_bytes=_free_bytes(path),
        warnings=[] if database is None else _warnings(path, database, own_directory=own_directory),
    )


def _free_bytes(path: str) -> int | None:
    """What is free on the disk that holds the file, or would."""
    directory = Path(path).parent
    while not exists(directory) and directory != directory.parent:
        directory = directory.parent
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def _warnings(path: str, database: Database, *, own_directory: bool) -> list[str]:
    """While nothing else is wrong they read the same, so that each is logged once."""
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
    schema_version = database.diagnosis.schema_version
    if schema_version != latest_version():
        found.append(
            f"the file has schema {schema_version}, this program knows {latest_version()}; "
            + ("it is not migrated" if schema_version < latest_version() else "update mandrake-sessions")
        )
    if (free := _free_bytes(path)) is not None and free < NEARLY_FULL:
        found.append(f"the disk is nearly full, less than {NEARLY_FULL} bytes are free; {DISK_ADVICE}")
    return found

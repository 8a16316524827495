"""The health of a store in a file: from a short read, from its files, and from a check of the whole file."""

from __future__ import annotations

import shutil
from pathlib import Path

from mandrake_sessions.errors import Unreadable
from mandrake_sessions.files import exists, file_size
from mandrake_sessions.late_import import late_import
from mandrake_sessions.store.interface import StoreFacts
from mandrake_sessions.store.sql.changes import store_id
from mandrake_sessions.store.sqlite.build import WAL_RESET_ADVICE, WAL_RESET_BUG, has_wal_reset_bug, sqlite_version
from mandrake_sessions.store.sqlite.database import Database
from mandrake_sessions.store.sqlite.facts import DISK_ADVICE, NEARLY_FULL, RESCUED, RESCUED_ADVICE, WAL_ADVICE, WAL_DEBT
from mandrake_sessions.store.sqlite.lock_files import unusable_lock_directory
from mandrake_sessions.store.sqlite.migrate import latest_version, user_version
from mandrake_sessions.store.sqlite.opening import CHECKED_AT_OPENING, find_damage
from mandrake_sessions.store.sqlite.permissions import open_to_others
from mandrake_sessions.store.sqlite.reading import considerate
from mandrake_sessions.store.sqlite.recheck import forget_what_is_mended
from mandrake_sessions.store.sqlite.rescue import rescued_copies
from mandrake_sessions.store.sqlite.search_tables import NO_FTS5, can_search
from mandrake_sessions.store.sqlite.transaction import SqliteSnapshot


def check(database: Database) -> str:
    """The ``storeId``, read now. Raises StoreError, without waiting."""
    seen = database.history.seen
    with SqliteSnapshot(database, budget=0) as snapshot, database.diagnosis.domain_errors():
        found = store_id(snapshot.sql) or ""
        database.history.check(snapshot.sql, seen)
        database.diagnosis.notice_schema(snapshot.sql)
    database.diagnosis.clear_transient_failure()
    return found


def still_unreadable(database: Database) -> list[Unreadable]:
    """The values that cannot be read, after another try at the first of them. Raises StoreError, without waiting."""
    oddities = database.diagnosis.oddities
    if listed := oddities.listed():
        with SqliteSnapshot(database, budget=0) as snapshot, database.diagnosis.domain_errors():
            forget_what_is_mended(snapshot.sql, listed, oddities.forget)
    return oddities.listed()


def needs_inspection(database: Database) -> bool:
    """Whether opening did not check the whole file, because the file is large or came from elsewhere."""
    diagnosis = database.diagnosis
    return file_size(database.path) > CHECKED_AT_OPENING or diagnosis.is_unchecked or bool(diagnosis.faults)


class FileInspection:
    """A check of the whole file, from the snapshot that it takes when it is created. Raises StoreError, without
    waiting."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._snapshot = SqliteSnapshot(database, budget=0)

    def run(self) -> list[str]:
        """Check for damage, which ends all writing to the file. A file that came from elsewhere also gets the deep
        check; gives what that finds, as sentences. Raises Cancelled."""
        with late_import():
            from mandrake_sessions.store.sqlite.deep_check import deep_check  # few files need it

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


def _build_warnings() -> list[str]:
    """Warnings about the library that reads the file."""
    if not has_wal_reset_bug():
        return []
    return [f"SQLite {sqlite_version()}: {WAL_RESET_BUG}; {WAL_RESET_ADVICE}"]


def facts(path: str, database: Database | None, *, own_directory: bool) -> StoreFacts:
    """``database``: None if the file is not open. ``own_directory``: whether the directory belongs to the store
    alone."""
    wal_bytes, free_bytes = file_size(path + "-wal"), _free_bytes(path)
    warnings: list[str] = []
    if database is not None:
        warnings = _warnings(path, database, wal_bytes, free_bytes, own_directory=own_directory)
    return StoreFacts(
        db_bytes=file_size(path),
        wal_bytes=wal_bytes,
        free_bytes=free_bytes,
        warnings=warnings,
        of_program=_build_warnings(),
    )


def _free_bytes(path: str) -> int | None:
    """The free bytes on the disk that holds the file, or would hold it."""
    directory = Path(path).parent
    while not exists(directory) and directory != directory.parent:
        directory = directory.parent
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def _warnings(
    path: str, database: Database, wal_bytes: int, free_bytes: int | None, *, own_directory: bool
) -> list[str]:
    """The texts stay the same while nothing else is wrong, so that each is logged once."""
    found = [
        f"other users may use {name} (mode {mode:o}); chmod go= it"
        for name, mode in open_to_others(path, own_directory=own_directory).items()
    ]
    # The figures have members of their own (``walBytes``, ``freeBytes``). A warning with a changing figure would be
    # pushed again and again.
    if wal_bytes > WAL_DEBT:
        found.append(f"the -wal has grown beyond {WAL_DEBT} bytes; {WAL_ADVICE}")
    found.extend(f"{kept} {RESCUED}; {RESCUED_ADVICE}" for kept in rescued_copies(path))
    if (trouble := database.search_trouble) is not None:
        found.append(trouble)
    elif not can_search():
        found.append(NO_FTS5)
    if (unusable := unusable_lock_directory(path)) is not None:
        found.append(unusable)
    schema_version = database.diagnosis.schema_version
    if schema_version != latest_version():
        found.append(
            f"the file has schema {schema_version}, this program knows {latest_version()}; "
            + ("it is not migrated" if schema_version < latest_version() else "update mandrake-sessions")
        )
    if free_bytes is not None and free_bytes < NEARLY_FULL:
        found.append(f"the disk is nearly full, less than {NEARLY_FULL} bytes are free; {DISK_ADVICE}")
    return found

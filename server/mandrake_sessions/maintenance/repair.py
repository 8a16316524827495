"""What is safe to be put right in a store, after a backup."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import frozen

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.maintenance.checkup import (
    Cure,
    Finding,
    is_damaged,
    leftovers,
    private_directories,
    private_files,
)
from mandrake_sessions.operations.leases import interrupt_orphans
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sqlite import checkup
from mandrake_sessions.store.sqlite.backup import back_up_before_repair
from mandrake_sessions.store.sqlite.leases import dead_file, dead_lease_files, remove_if_empty
from mandrake_sessions.store.sqlite.mending import mend
from mandrake_sessions.store.sqlite.partial import remove_partial
from mandrake_sessions.store.sqlite.permissions import mode_for_others
from mandrake_sessions.store.sqlite.restore import remove_second_names
from mandrake_sessions.store.sqlite.store import SqliteStore
from mandrake_sessions.store.sqlite.transaction import SqliteTransaction
from mandrake_sessions.workspaces import keep_out_of_git


@frozen
class Repair:
    """What was done, or why it could not be."""

    done: bool
    text: str


def repair(
    database: str,
    findings: list[Finding],
    *,
    busy_timeout: float = 5.0,
    allow_network_filesystem: bool = False,
) -> list[Repair]:
    """Put right what ``check_up`` has found, as far as that is safe. Before the database itself is written to, it is
    copied beside itself; a file whose tables are damaged is not written to at all."""
    cures = {finding.cure for finding in findings}
    repairs = [_attempt(partial(work, database)) for cure, work in _OUTSIDE.items() if cure in cures]
    if cures & {*_INSIDE, Cure.CONTENTS} and not is_damaged(findings):
        settings = StoreSettings(busy_timeout=busy_timeout, allow_network_filesystem=allow_network_filesystem)
        repairs += _repair_inside(cures, SqliteStore(database, settings))
    return repairs


# Others may write meanwhile.
MENDING_SECONDS = 5.0


def _rebuild_indexes(store: SqliteStore) -> str:
    with store.transaction() as tx:
        checkup.rebuild_indexes(tx)
    return "made the indexes anew"


def _delete_strays(store: SqliteStore) -> str:
    return f"deleted {_step_by_step(store, checkup.delete_strays)} rows that belonged to nothing"


def _mend_counters(store: SqliteStore) -> str:
    mended = _step_by_step(store, checkup.mend_counts) + _once(store, checkup.raise_counters)
    return f"set {mended} counters right"


def _mark_orphans(store: SqliteStore) -> str:
    return f"marked {interrupt_orphans(store)} turns as interrupted"


def _free_pages(store: SqliteStore) -> str:
    while store.give_back():
        pass
    return "gave free pages back"


def _empty_wal(store: SqliteStore) -> str:
    store.checkpoint()
    return "emptied the -wal"


def _step_by_step(store: SqliteStore, work: Callable[[SqliteTransaction], int]) -> int:
    total = 0
    while done := _once(store, work):
        total += done
    return total


def _once(store: SqliteStore, work: Callable[[SqliteTransaction], int]) -> int:
    with store.transaction() as tx:
        return work(tx)


# In the order in which they are done: what others stand on comes first.
_INSIDE: dict[Cure, Callable[[SqliteStore], str]] = {
    Cure.INDEXES: _rebuild_indexes,
    Cure.ROWS: _delete_strays,
    Cure.COUNTERS: _mend_counters,
    Cure.ORPHANS: _mark_orphans,
    Cure.FREE_PAGES: _free_pages,
    Cure.WAL: _empty_wal,
}


def _repair_inside(cures: set[Cure | None], store: SqliteStore) -> list[Repair]:
    database = store.name
    backup = _attempt(lambda: f"copied it as it was to {back_up_before_repair(database)}")
    if not backup.done:
        return [backup]
    mended: list[Repair] = []
    if Cure.CONTENTS in cures:
        mended = [Repair(done.done, done.text) for done in mend(database, MENDING_SECONDS)]
        cures = {*cures, Cure.COUNTERS}
    return [backup, *mended, *_repair_opened(cures, store)]


def _repair_opened(cures: set[Cure | None], store: SqliteStore) -> list[Repair]:
    try:
        store.open()
        works = [work for cure, work in _INSIDE.items() if cure in cures]
        return [_attempt(partial(work, store)) for work in works]
    except SessionsError as error:
        return [Repair(False, str(error))]
    finally:
        store.close(lambda: None)


def _attempt(work: Callable[[], str]) -> Repair:
    try:
        return Repair(True, work())
    except (SessionsError, OSError) as error:
        return Repair(False, str(error))


def _close_to_others(database: str) -> str:
    closed = []
    for path, mode in (
        *((file, 0o600) for file in private_files(database)),
        *((directory, 0o700) for directory in private_directories(database)),
    ):
        with suppress(FileNotFoundError):
            if mode_for_others(path):
                Path(path).chmod(mode)
                closed.append(path)
    return f"closed {', '.join(closed)} to others"


def _ignore(database: str) -> str:
    directory = Path(database).parent
    keep_out_of_git(directory)
    return f"made {directory / '.gitignore'}"


def _remove_dead_leases(database: str) -> str:
    found = dead_lease_files(database)
    for path in found:
        # Held while it goes, and left if somebody has it after all.
        with dead_file(path):
            pass
    remove_if_empty(database)
    return f"deleted {len(found)} lock files of processes that are gone"


def _remove_leftovers(database: str) -> str:
    names = remove_second_names(database)
    found = leftovers(database)
    for path in found:
        remove_partial(path)
    return f"deleted {', '.join(names + found)}"


_OUTSIDE: dict[Cure, Callable[[str], str]] = {
    Cure.PERMISSIONS: _close_to_others,
    Cure.GITIGNORE: _ignore,
    Cure.LEASES: _remove_dead_leases,
    Cure.LEFTOVERS: _remove_leftovers,
}

"""Mends what is safe to mend in a store, after a backup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import frozen

from mandrake_sessions.amounts import plural
from mandrake_sessions.errors import PYTHON, SessionsError, Wording, Words, in_words
from mandrake_sessions.files import file_size
from mandrake_sessions.maintenance.findings import Cure, Finding, is_damaged
from mandrake_sessions.maintenance.search import fill_search
from mandrake_sessions.maintenance.surroundings import leftovers, private_directories
from mandrake_sessions.operations.half_copies import remove_half_copies
from mandrake_sessions.operations.leases import interrupt_orphans
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sqlite import checkup
from mandrake_sessions.store.sqlite.backup import back_up_before_repair
from mandrake_sessions.store.sqlite.facts import WAL_ADVICE, WAL_DEBT
from mandrake_sessions.store.sqlite.leases import dead_lease_files
from mandrake_sessions.store.sqlite.lock_files import dead_file, remove_if_empty
from mandrake_sessions.store.sqlite.mending import mend
from mandrake_sessions.store.sqlite.partial import remove_partial
from mandrake_sessions.store.sqlite.permissions import DIRECTORY_MODE, FILE_MODE, mode_for_others, private_files
from mandrake_sessions.store.sqlite.replacing import remove_second_names
from mandrake_sessions.store.sqlite.running import SqliteTransaction
from mandrake_sessions.store.sqlite.store import SqliteStore
from mandrake_sessions.workspaces import keep_out_of_git


@frozen
class Repair:
    """One thing that was done (``done``), or the reason why it could not be."""

    done: bool
    _text: str | Wording

    @property
    def text(self) -> str:
        return in_words(self._text, PYTHON)

    def worded(self, words: Words) -> Repair:
        """The same, with its text in the words of whoever reads it."""
        return Repair(self.done, in_words(self._text, words))


def repair(
    database: str,
    findings: list[Finding],
    *,
    busy_timeout: float = 5.0,
    allow_network_filesystem: bool = False,
) -> list[Repair]:
    """Mend what ``check_up`` has found, as far as that is safe; gives what was done and what failed, in order.

    It copies the database beside itself before it writes to it, and never writes to a file whose tables are damaged.
    """
    cures = {finding.cure for finding in findings}
    repairs = _attempts(partial(work, database) for cure, work in _OUTSIDE.items() if cure in cures)
    if is_damaged(findings):
        return repairs
    settings = StoreSettings(busy_timeout=busy_timeout, allow_network_filesystem=allow_network_filesystem)
    if cures & {*_INSIDE, *_MEANING}:
        repairs += _repair_inside(cures, SqliteStore(database, settings))
    if cures & {*_BESIDE}:
        repairs += _repair_opened(cures, SqliteStore(database, settings), _BESIDE)
    return repairs


# How long a mend waits for the locks of other processes.
MENDING_SECONDS = 5.0

# Each cure does its work and gives a sentence about it, or nothing where there was nothing to do any more.
Work = Callable[[], str | Repair | None]


def _rebuild_indexes(store: SqliteStore) -> str:
    with store.transaction() as tx:
        checkup.rebuild_indexes(tx)
    return "rebuilt the indexes"


def _delete_strays(store: SqliteStore) -> str | None:
    count = _step_by_step(store, checkup.delete_strays)
    return f"deleted {plural(count, 'row')} of what is gone" if count else None


def _mend_counters(store: SqliteStore) -> str | None:
    count = _step_by_step(store, checkup.mend_counts) + _once(store, checkup.raise_counters)
    return f"corrected {plural(count, 'counter')}" if count else None


def _mark_orphans(store: SqliteStore) -> str | None:
    count = interrupt_orphans(store)
    return f"marked {plural(count, 'turn')} as interrupted" if count else None


def _remove_half_copies(store: SqliteStore) -> str | None:
    count = remove_half_copies(store)
    return f"deleted {plural(count, 'half-copied session')}" if count else None


def _free_pages(store: SqliteStore) -> str | None:
    freed = False
    while store.give_back():
        freed = True
    return "returned free pages to the file system" if freed else None


def _empty_wal(store: SqliteStore) -> str | Repair | None:
    wal = f"{store.name}-wal"
    before = file_size(wal)
    store.checkpoint()
    if (after := file_size(wal)) > WAL_DEBT:
        return Repair(False, f"the -wal cannot be emptied while a program reads from it; {WAL_ADVICE}")
    return "emptied the -wal" if after < before else None


def _step_by_step(store: SqliteStore, work: Callable[[SqliteTransaction], int]) -> int:
    total = 0
    while done := _once(store, work):
        total += done
    return total


def _once(store: SqliteStore, work: Callable[[SqliteTransaction], int]) -> int:
    with store.transaction() as tx:
        return work(tx)


# In the order in which they are done: later cures rely on earlier ones.
_INSIDE: dict[Cure, Callable[[SqliteStore], str | Repair | None]] = {
    Cure.INDEXES: _rebuild_indexes,
    Cure.ROWS: _delete_strays,
    Cure.COUNTERS: _mend_counters,
    Cure.ORPHANS: _mark_orphans,
    Cure.HALF_COPIES: _remove_half_copies,
    Cure.FREE_PAGES: _free_pages,
    Cure.WAL: _empty_wal,
}
# What does not write to the store itself, so that no copy is made before.
_BESIDE: dict[Cure, Callable[[SqliteStore], str | Repair | None]] = {Cure.SEARCH: fill_search}
# What the deep check finds. Counters can be wrong after another of these mends.
_MEANING = {Cure.CONTENTS, Cure.ROWS, Cure.COUNTERS}


def _repair_inside(cures: set[Cure | None], store: SqliteStore) -> list[Repair]:
    database = store.name
    backup = _attempts([lambda: f"copied the store as it was to {back_up_before_repair(database)}"])
    if not all(copy.done for copy in backup):
        return backup
    mended: list[Repair] = []
    if cures & _MEANING:
        mended = [Repair(done.done, done.text) for done in mend(database, MENDING_SECONDS)]
        cures = {*cures, Cure.COUNTERS}
    return [*backup, *mended, *_repair_opened(cures, store, _INSIDE)]


def _repair_opened(
    cures: set[Cure | None], store: SqliteStore, works: Mapping[Cure, Callable[[SqliteStore], str | Repair | None]]
) -> list[Repair]:
    try:
        store.open()
        return _attempts(partial(work, store) for cure, work in works.items() if cure in cures)
    except SessionsError as error:
        return [Repair(False, error.worded)]
    finally:
        store.close(lambda: None)


def _attempts(works: Iterable[Work]) -> list[Repair]:
    """The outcome of each repair; none of those that had nothing to do."""
    repairs = []
    for work in works:
        try:
            outcome = work()
            if outcome is not None:
                repairs.append(outcome if isinstance(outcome, Repair) else Repair(True, outcome))
        except SessionsError as error:
            repairs.append(Repair(False, error.worded))
        except OSError as error:
            repairs.append(Repair(False, str(error)))
    return repairs


def _close_to_others(database: str) -> str | None:
    closed = []
    for path, mode in (
        *((file, FILE_MODE) for file in private_files(database)),
        *((directory, DIRECTORY_MODE) for directory in private_directories(database)),
    ):
        with suppress(FileNotFoundError):
            if mode_for_others(path):
                Path(path).chmod(mode)
                closed.append(path)
    return f"closed {', '.join(closed)} to other users" if closed else None


def _ignore(database: str) -> str:
    directory = Path(database).parent
    keep_out_of_git(directory)
    return f"made {directory / '.gitignore'}"


def _remove_dead_leases(database: str) -> str | None:
    count = 0
    for path in dead_lease_files(database):
        # The file is locked while it is deleted. It stays if a process holds it after all.
        with dead_file(path) as dead:
            count += dead
    remove_if_empty(database)
    return f"deleted {plural(count, 'lock file')} of processes that are gone" if count else None


def _remove_leftovers(database: str) -> str | None:
    names = remove_second_names(database)
    found = leftovers(database)
    for path in found:
        remove_partial(path)
    return f"deleted {', '.join(names + found)}" if names or found else None


_OUTSIDE: dict[Cure, Callable[[str], str | None]] = {
    Cure.PERMISSIONS: _close_to_others,
    Cure.GITIGNORE: _ignore,
    Cure.LEASES: _remove_dead_leases,
    Cure.LEFTOVERS: _remove_leftovers,
}

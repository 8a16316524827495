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
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.store import checkup
from mandrake_sessions.store.backup import back_up_before_repair
from mandrake_sessions.store.leases import dead_file, dead_lease_files, remove_if_empty
from mandrake_sessions.store.mending import mend
from mandrake_sessions.store.partial import remove_partial
from mandrake_sessions.store.permissions import mode_for_others
from mandrake_sessions.store.restore import remove_second_names
from mandrake_sessions.store.transaction import Transaction
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
        surgeon = _Surgeon(database, busy_timeout=busy_timeout, allow_network_filesystem=allow_network_filesystem)
        repairs += _repair_inside(database, cures, surgeon)
    return repairs


# Others may write meanwhile.
MENDING_SECONDS = 5.0


class _Surgeon(SessionManager):
    """A manager that may reach what no caller of the others should; opened without a look at leases."""

    def init(self) -> None:
        self._open()

    def rebuild_indexes(self) -> str:
        with self._write() as tx:
            checkup.rebuild_indexes(tx)
        return "made the indexes anew"

    def delete_strays(self) -> str:
        return f"deleted {self._step_by_step(checkup.delete_strays)} rows that belonged to nothing"

    def mend_counters(self) -> str:
        mended = self._step_by_step(checkup.mend_counts) + self._once(checkup.raise_counters)
        return f"set {mended} counters right"

    def mark_orphans(self) -> str:
        return f"marked {self.interrupt_orphans()} turns as interrupted"

    def free(self) -> str:
        while self.give_back():
            pass
        return "gave free pages back"

    def empty_wal(self) -> str:
        self.checkpoint()
        return "emptied the -wal"

    def _step_by_step(self, work: Callable[[Transaction], int]) -> int:
        total = 0
        while done := self._once(work):
            total += done
        return total

    def _once(self, work: Callable[[Transaction], int]) -> int:
        with self._write() as tx:
            return work(tx)


# In the order in which they are done: what others stand on comes first.
_INSIDE: dict[Cure, Callable[[_Surgeon], str]] = {
    Cure.INDEXES: _Surgeon.rebuild_indexes,
    Cure.ROWS: _Surgeon.delete_strays,
    Cure.COUNTERS: _Surgeon.mend_counters,
    Cure.ORPHANS: _Surgeon.mark_orphans,
    Cure.FREE_PAGES: _Surgeon.free,
    Cure.WAL: _Surgeon.empty_wal,
}


def _repair_inside(database: str, cures: set[Cure | None], surgeon: _Surgeon) -> list[Repair]:
    backup = _attempt(lambda: f"copied it as it was to {back_up_before_repair(database)}")
    if not backup.done:
        return [backup]
    mended: list[Repair] = []
    if Cure.CONTENTS in cures:
        mended = [Repair(done.done, done.text) for done in mend(database, MENDING_SECONDS)]
        cures = {*cures, Cure.COUNTERS}
    return [backup, *mended, *_repair_by_manager(cures, surgeon)]


def _repair_by_manager(cures: set[Cure | None], surgeon: _Surgeon) -> list[Repair]:
    try:
        surgeon.init()
        works = [work for cure, work in _INSIDE.items() if cure in cures]
        return [_attempt(partial(work, surgeon)) for work in works]
    except SessionsError as error:
        return [Repair(False, str(error))]
    finally:
        surgeon.close()


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

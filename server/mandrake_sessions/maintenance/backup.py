"""Copies a store while servers write to it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from mandrake_sessions.errors import PYTHON, InvalidValue, StorageFailure, StorageReason, Wording, Words
from mandrake_sessions.files import explain
from mandrake_sessions.store.sqlite.copying import Progress, copy_database
from mandrake_sessions.store.sqlite.failures import how_to_recover, is_no_database
from mandrake_sessions.store.sqlite.partial import PartialFile, partial_file
from mandrake_sessions.store.sqlite.reading import require_file
from mandrake_sessions.store.sqlite.salvage import salvage_database
from mandrake_sessions.store.sqlite.verify import Facts, Faults, find_faults, look_at
from mandrake_sessions.workspaces import given_path

_MAY_NOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)


@frozen
class Backup:
    """A finished copy. ``size`` in bytes; ``faults``: what is wrong with it, as sentences. ``sessions`` and
    ``store_id`` are None if the copy does not tell them."""

    path: str
    size: int
    sessions: int | None
    store_id: str | None
    faults: list[str]
    _advice: Wording | None = None

    def advice(self, words: Words = PYTHON) -> str | None:
        """The advice about the faults, in the words of its reader."""
        return None if self._advice is None else self._advice(words)


@frozen
class Salvaged:
    """The readable part of a damaged store, as a file of its own. ``gaps``: in how many places rows could not be read.
    ``faults``: what is wrong with the copy, as sentences; ``repair`` mends that. ``size`` in bytes."""

    path: str
    size: int
    rows: int
    gaps: int
    faults: list[str]


def back_up(
    database: str,
    destination: str,
    *,
    replace: bool = False,
    as_is: bool = False,
    busy_timeout: float = 5.0,
    progress: Progress | None = None,
) -> Backup:
    """Copy a store, as it is at one moment, to one file. When this returns, the file is verified and on the disk. If
    ``destination`` is a directory, the file is named after the store and the time. With ``as_is`` a store with faults
    is copied too, and the result lists them.

    Raises:
        InvalidValue: the destination exists and ``replace`` is false, is the store itself, or is in use.
        StorageFailure: there is no store, it has faults, or reading or writing failed. Nothing is left of the copy.
        Busy: another process held the lock of the store.
    """
    target = _target(database, destination)
    store = _look_at(database, busy_timeout, as_is=as_is)
    _check_target(database, target, replace=replace)
    with _unfinished(target, database) as partial:
        _copy(database, partial.path, busy_timeout, progress)
        if progress is not None:
            progress("verifying", 0, 0)
        faults = find_faults(partial.path)
        if faults.texts and not as_is:
            raise _refusal(faults, database)
        copied = _look_at(partial.path, busy_timeout, as_is=as_is)
        if copied is not None and store is not None and copied.store_id != store.store_id:
            raise StorageFailure(
                StorageReason.IO, f"{database} was replaced while it was copied; back it up again", database
            )
        size = os.stat(partial.path).st_size  # noqa: PTH116
        _publish(partial, target, replace=replace)
    sessions, store_id = (None, None) if copied is None else (copied.sessions, copied.store_id)
    advice = _advice(faults, database, str(target)) if faults.texts else None
    return Backup(str(target), size, sessions, store_id, faults.texts, advice)


def _advice(faults: Faults, database: str, copy: str) -> Wording:
    if faults.in_pages:
        # Nothing mends a file that SQLite itself calls damaged.
        return lambda words: f"The tables are damaged, and nothing mends them: {how_to_recover(database, words)}"
    return lambda words: f"Mend the copy before you restore it: {words.maintenance('repair', copy)}"


def salvage(database: str, destination: str, *, replace: bool = False, busy_timeout: float = 5.0) -> Salvaged:
    """Copy what can still be read of a damaged store, row by row, to one file with sound tables. The store does not
    change.

    Raises:
        InvalidValue: as with ``back_up``.
        StorageFailure: there is no store, nothing of it can be read, or writing failed. Nothing is left of the copy.
        Busy: another process held the lock of the store.
    """
    target = _target(database, destination)
    require_file(database)
    _check_target(database, target, replace=replace)
    with _unfinished(target, database) as partial:
        try:
            found = salvage_database(database, partial.path, busy_timeout)
        except StorageFailure as failure:
            if failure.reason is not StorageReason.CORRUPT or is_no_database(failure.__cause__, database):
                raise
            why = failure.__cause__ or failure
            raise StorageFailure(
                failure.reason,
                lambda words: f"nothing of {database} can be read ({why}); {words.maintenance('restore', database)}",
                database,
            ) from failure
        faults = find_faults(partial.path)
        size = os.stat(partial.path).st_size  # noqa: PTH116
        _publish(partial, target, replace=replace)
    return Salvaged(str(target), size, found.rows, found.gaps, faults.texts)


@contextmanager
def _unfinished(target: Path, database: str) -> Iterator[PartialFile]:
    """The file that becomes ``target``. Where none can be made, the destination is at fault, and not the name that the
    unfinished file has."""
    beside = os.path.samefile(target.parent, os.path.dirname(os.path.realpath(database)))  # noqa: PTH120, PTH121
    with ExitStack() as ending:
        try:
            partial = ending.enter_context(
                partial_file(str(target.parent), Path(database).stem, like=database if beside else None)
            )
        except OSError as error:
            if error.errno not in _MAY_NOT_WRITE:
                raise
            why = explain(error, str(target.parent))
            raise InvalidValue("destination", f"{target} cannot be made: {why}; name another place") from error
        yield partial


def _copy(database: str, destination: str, busy_timeout: float, progress: Progress | None) -> None:
    try:
        copy_database(database, destination, busy_timeout, progress)
    except StorageFailure as failure:
        if failure.reason is not StorageReason.CORRUPT:
            raise
        raise StorageFailure(
            failure.reason,
            f"{database} is damaged so that SQLite cannot copy it ({failure.__cause__ or failure}). End every program "
            "that uses it, and copy the file and its -wal by hand",
            database,
        ) from failure


def _refusal(faults: Faults, path: str) -> StorageFailure:
    # Nothing mends a file that SQLite itself calls damaged.
    doing, function = ("Restore a backup", "restore") if faults.in_pages else ("Mend it", "repair")
    return faults.refusal(
        path,
        lambda words: (
            f"{doing} ({words.maintenance(function, path)}), or copy it as it is with {words.switch('as_is')}"
        ),
    )


def _look_at(path: str, busy_timeout: float, *, as_is: bool) -> Facts | None:
    """None for a file that tells nothing of itself, and is copied nevertheless."""
    try:
        return look_at(path, busy_timeout)
    except StorageFailure as failure:
        if failure.reason is not StorageReason.CORRUPT:
            raise
        if as_is:
            return None
        if is_no_database(failure.__cause__, path):
            raise
        why = str(failure.__cause__ or failure)
        raise _refusal(Faults(True, [why]), path) from failure


def _publish(partial: PartialFile, target: Path, *, replace: bool) -> None:
    try:
        partial.publish(str(target), replace=replace)
    except FileExistsError:
        raise _is_taken(target) from None


def _target(database: str, destination: str) -> Path:
    given = given_path("destination", destination)
    if not given.is_dir():
        return given
    return given / f"{Path(database).stem}-{time.strftime('%Y%m%d-%H%M%S')}.sqlite"


def _check_target(database: str, target: Path, *, replace: bool) -> None:
    if not target.parent.is_dir():
        raise InvalidValue("destination", f"there is no directory {target.parent}; make it first")
    if (part := _part_of_store(Path(database), target)) is not None:
        raise InvalidValue("destination", f"{target} is {part} the store; name another file")
    if not target.exists():
        return
    if target.samefile(database):
        raise InvalidValue("destination", f"{target} is the store itself; name another file")
    if not target.is_file():
        raise InvalidValue("destination", f"{target} is a device, or another thing that is no file; name another file")
    if not replace:
        raise _is_taken(target)
    if Path(f"{target}-wal").exists():
        raise InvalidValue("destination", f"{target} is in use as a store (it has a -wal); name another file")


def _part_of_store(database: Path, target: Path) -> str | None:
    """The use that the store makes of this name: a file of its own, or a kept copy; None for every other name. Any
    spelling or link counts, whether the file exists or not."""
    store = Path(os.path.realpath(database))
    # Compare names without case, as some file systems do.
    real = Path(os.path.realpath(target))
    for suffix in ("-wal", "-shm", "-journal", "-run"):
        own = Path(f"{store}{suffix}")
        if _is_same_name(real, own) or (own in real.parents) or (own.exists() and real.exists() and own.samefile(real)):
            return f"a place for the {suffix} of"
    kept = (".replaced-", ".rescued-", ".before-fix-", ".v")
    beside = real.parent.samefile(store.parent) and real.name.casefold()
    if beside and beside.endswith(".backup") and beside.startswith(tuple(f"{store.name}{w}".casefold() for w in kept)):
        return "a name for copies that are kept of"
    return None


def _is_same_name(one: Path, other: Path) -> bool:
    return one.name.casefold() == other.name.casefold() and one.parent.samefile(other.parent)


def _is_taken(target: Path) -> InvalidValue:
    return InvalidValue(
        "destination",
        lambda words: f"{target} is there already; name another file, or replace it with {words.switch('replace')}",
    )

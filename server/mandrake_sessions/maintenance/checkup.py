"""Checks everything about a store from outside, and changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mandrake_sessions.errors import StorageFailure, StorageReason, Wording
from mandrake_sessions.files import file_size
from mandrake_sessions.maintenance.findings import Cure, Finding, Level
from mandrake_sessions.maintenance.words import plural, size_text
from mandrake_sessions.store.sql.hidden import NO_LEASE, hidden_sessions
from mandrake_sessions.store.sql.leases import streaming_leases, turn_ids_of_lease
from mandrake_sessions.store.sqlite import checkup
from mandrake_sessions.store.sqlite.build import WAL_RESET_ADVICE, WAL_RESET_BUG, has_wal_reset_bug, sqlite_version
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.copying import Progress
from mandrake_sessions.store.sqlite.deep_check import Problem, deep_check
from mandrake_sessions.store.sqlite.facts import DISK_ADVICE, NEARLY_FULL, RESCUED, RESCUED_ADVICE, WAL_ADVICE, WAL_DEBT
from mandrake_sessions.store.sqlite.failures import how_to_recover
from mandrake_sessions.store.sqlite.immediate import one_snapshot
from mandrake_sessions.store.sqlite.leases import dead_lease_files, is_dead_lease
from mandrake_sessions.store.sqlite.lock_files import unusable_lock_directory
from mandrake_sessions.store.sqlite.migrate import changed_migrations, latest_version
from mandrake_sessions.store.sqlite.partial import dead_partials
from mandrake_sessions.store.sqlite.permissions import mode_against_owner, mode_for_others, private_files
from mandrake_sessions.store.sqlite.reading import reading
from mandrake_sessions.store.sqlite.register import Register, RegisterFault
from mandrake_sessions.store.sqlite.replacing import second_names
from mandrake_sessions.store.sqlite.rescue import rescued_copies
from mandrake_sessions.store.sqlite.schema import columns_of
from mandrake_sessions.store.sqlite.verify import broken_references, check_ours, integrity, is_empty
from mandrake_sessions.time_limits import in_time
from mandrake_sessions.version import __version__
from mandrake_sessions.workspaces import WORKSPACE_DIRECTORY, own_directory, register_of_stores

MIB = 1024 * 1024
# A store returns free pages while it is idle. More than this part of the file, and more than a mebibyte, is a warning.
FREE_PART = 0.25
_REGISTER_SECONDS = 3.0

_INDEX_COMPLAINTS = (" missing from index ", "wrong # of entries in index ", "non-unique entry in index ")


def check_up(database: str, *, busy_timeout: float = 5.0, progress: Progress | None = None) -> list[Finding]:
    """Run every check. It works beside running servers, and on files that are damaged or read-only.

    Raises:
        StorageFailure: there is no such file, or it is not a store of this program.
        Busy: another process held its lock for ``busy_timeout`` seconds.
    """
    if progress is not None:
        progress("checking", 0, 0)
    found = [_program(), *_inside(database, busy_timeout)]
    if _is_store(database, found):
        found.extend(check(database) for check in _OUTSIDE)
    return found


def _is_store(database: str, found: list[Finding]) -> bool:
    """Whether to check, and mend, what lies around the file too. The program must not change the mode of a file that is
    no store. In a directory of ours a damaged file counts as a store."""
    is_read = any(finding.check == "file" and finding.level is Level.OK for finding in found)
    return is_read or own_directory(Path(database)) is not None


def _program() -> Finding:
    text = f"mandrake-sessions {__version__}, Python {platform.python_version()}, SQLite {sqlite_version()}"
    if has_wal_reset_bug():
        return Finding(
            "program",
            Level.WARNING,
            f"{text}: {WAL_RESET_BUG}",
            advice=WAL_RESET_ADVICE,
        )
    return Finding("program", Level.OK, text)


def _inside(database: str, budget: float) -> Iterator[Finding]:
    """The checks that read the file."""
    try:
        with reading(database) as connection, one_snapshot(connection, database, budget):
            if is_empty(connection):
                yield Finding("file", Level.WARNING, f"{database} is empty; its first use makes it a store")
                return
            version = check_ours(connection, database)
            yield _file(database)
            yield _schema(version, database)
            yield from _contents(connection, database, version)
    except StorageFailure as failure:
        if failure.reason not in (StorageReason.CORRUPT, StorageReason.IO):
            raise
        # SQLite's own words: what to do is the advice.
        why = failure.worded if failure.__cause__ is None else f"{database} is damaged: {failure.__cause__}"
        yield _damaged("file", why, database)


def _contents(connection: StoreConnection, database: str, version: int) -> Iterator[Finding]:
    whole = _integrity(connection, database)
    yield whole
    if whole.level is not Level.OK:
        return
    if version > latest_version():
        yield _references(connection)
        return
    problems = deep_check(connection)
    yield from _meaning(problems, database)
    if any(problem.check == "tables" for problem in problems):
        # The other checks read tables that do not exist.
        return
    found = {problem.check for problem in problems}
    yield from (Finding(check, Level.OK, text) for check, text in _IN_ORDER.items() if check not in found)
    for look in _CONTENTS:
        yield look(connection, database)


def _file(database: str) -> Finding:
    return Finding("file", Level.OK, f"{database}, {size_text(file_size(database))}")


def _schema(version: int, database: str) -> Finding:
    if version == latest_version():
        return Finding("schema", Level.OK, f"version {version}, that of this program")
    if version < latest_version():
        text = f"version {version}, this program's is {latest_version()}; the next use migrates it"
        return Finding(
            "schema",
            Level.WARNING,
            text,
            advice=lambda words: f"migrate it now: {words.maintenance('migrate', database)}",
        )
    text = f"version {version} is newer than this program's, {latest_version()}; the contents were not checked"
    return Finding("schema", Level.WARNING, text, advice="update mandrake-sessions")


def _integrity(connection: StoreConnection, database: str) -> Finding:
    complaints = integrity(connection)
    if not complaints:
        return Finding("integrity", Level.OK, "every page and index is in order")
    text = f"{plural(len(complaints), 'fault')}, the first: {complaints[0]}"
    if all(any(words in f" {complaint}" for words in _INDEX_COMPLAINTS) for complaint in complaints):
        return Finding("integrity", Level.PROBLEM, f"indexes only: {text}", Cure.INDEXES)
    return _damaged("integrity", text, database)


def _damaged(check: str, text: str | Wording, database: str) -> Finding:
    return Finding(check, Level.PROBLEM, text, advice=partial(how_to_recover, database))


def _references(connection: StoreConnection) -> Finding:
    broken = broken_references(connection)
    if broken:
        return Finding("references", Level.PROBLEM, ", ".join(broken), Cure.ROWS)
    return Finding("references", Level.OK, _IN_ORDER["references"])


def _meaning(problems: list[Problem], database: str) -> Iterator[Finding]:
    """One finding for each problem of the deep check."""
    for problem in problems:
        cure = None if problem.mend is None else _CURES.get(problem.check, Cure.CONTENTS)
        advice = None if cure else partial(how_to_recover, database)
        yield Finding(problem.check, Level.PROBLEM, problem.text, cure, advice)
    if all(problem.check in _IN_ORDER for problem in problems):
        yield Finding("contents", Level.OK, "every value can be read, every piece of text is there")


def _ledger(connection: StoreConnection, _database: str) -> Finding:
    if changed := changed_migrations(connection):
        text = f"{', '.join(changed)}: changed since it was applied to this file"
        return Finding("migrations", Level.WARNING, text, advice="use the mandrake-sessions that made this store")
    return Finding("migrations", Level.OK, "unchanged since they were applied")


def _turns(connection: StoreConnection, database: str) -> Finding:
    dead = [lease for lease in streaming_leases(connection) if is_dead_lease(database, lease)]
    if orphans := sum(len(turn_ids_of_lease(connection, lease)) for lease in dead):
        text = f"{plural(orphans, 'streaming turn')} of a process that is gone; the next server sets interrupted"
        return Finding("turns", Level.WARNING, text, Cure.ORPHANS)
    return Finding("turns", Level.OK, "no turn streams for a process that is gone")


def _half_copies(connection: StoreConnection, database: str) -> Finding:
    if "copying_lease" not in columns_of(connection, "session"):
        # An older schema, which has no forks.
        return Finding("forks", Level.OK, _NO_HALF_COPIES)
    found = hidden_sessions(connection)
    if left := [each for each in found if each.lease != NO_LEASE and is_dead_lease(database, each.lease)]:
        text = f"{plural(len(left), 'half-copied session')} of a process that is gone; the next server deletes it"
        return Finding("forks", Level.WARNING, text, Cure.HALF_COPIES)
    return Finding("forks", Level.OK, _NO_HALF_COPIES)


def _free_pages(connection: StoreConnection, _database: str) -> Finding:
    space = checkup.space(connection)
    text = f"{size_text(space.free)} of {size_text(space.total)} are free"
    if space.free > max(FREE_PART * space.total, MIB):
        return Finding("free pages", Level.WARNING, text, Cure.FREE_PAGES)
    return Finding("free pages", Level.OK, text)


def _wal(database: str) -> Finding:
    size = file_size(database + "-wal")
    if size > WAL_DEBT:
        text = f"{size_text(size)} are not in the database yet"
        return Finding("wal", Level.WARNING, text, Cure.WAL, WAL_ADVICE)
    return Finding("wal", Level.OK, size_text(size))


def _leases(database: str) -> Finding:
    if (unusable := unusable_lock_directory(database)) is not None:
        return Finding("leases", Level.WARNING, unusable)
    if dead := dead_lease_files(database):
        return Finding(
            "leases", Level.WARNING, f"{plural(len(dead), 'lock file')} of processes that are gone", Cure.LEASES
        )
    return Finding("leases", Level.OK, "no lock file of a process that is gone")


def _permissions(database: str) -> Finding:
    if files := [path for path in private_files(database) if mode_for_others(path)]:
        return Finding("permissions", Level.PROBLEM, f"others may read {', '.join(files)}", Cure.PERMISSIONS)
    if any(mode_for_others(path) for path in private_directories(database)):
        text = f"others may look into {os.path.dirname(database)}"  # noqa: PTH120
        return Finding("permissions", Level.WARNING, text, Cure.PERMISSIONS)
    if (mode := mode_against_owner(database)) is not None:
        text = f"the mode of {database} ({mode:o}) keeps its owner from writing to it"
        return Finding(
            "permissions", Level.WARNING, text, advice=f"chmod u+rw {database}, unless it is to be read only"
        )
    return Finding("permissions", Level.OK, "only its owner may read it")


def _gitignore(database: str) -> Finding:
    directory = Path(database).parent
    if directory.name == WORKSPACE_DIRECTORY and not (directory / ".gitignore").exists():
        return Finding(
            "git", Level.WARNING, f"{directory} has no .gitignore, so git may commit the store", Cure.GITIGNORE
        )
    return Finding(
        "git",
        Level.OK,
        "a .gitignore keeps it out" if directory.name == WORKSPACE_DIRECTORY else "the store is not in a workspace",
    )


def _disk(database: str) -> Finding:
    free = shutil.disk_usage(os.path.dirname(database)).free  # noqa: PTH120
    text = f"{size_text(free)} are free"
    if free < NEARLY_FULL:
        return Finding("disk", Level.PROBLEM, text, advice=DISK_ADVICE)
    if free < file_size(database):
        return Finding("disk", Level.WARNING, f"{text}: no room for a backup beside the file", advice=DISK_ADVICE)
    return Finding("disk", Level.OK, text)


def _leftovers(database: str) -> Finding:
    if found := leftovers(database):
        text = f"{', '.join(found)}: left by a backup or restore that was killed"
        return Finding("leftovers", Level.WARNING, text, Cure.LEFTOVERS)
    return Finding("leftovers", Level.OK, "none")


def _rescued(database: str) -> Finding:
    if copies := rescued_copies(database):
        return Finding("rescued", Level.WARNING, f"{', '.join(copies)} {RESCUED}", advice=RESCUED_ADVICE)
    return Finding("rescued", Level.OK, "none")


# Checks of the deep check that have a line of their own: the text where it finds nothing, and their cures.
_IN_ORDER = {
    "references": "the parent of each row exists",
    "rows": "no change is about a deleted session, round or turn",
    "counters": "every counter is right",
}
_CURES = {"references": Cure.ROWS, "rows": Cure.ROWS, "counters": Cure.COUNTERS}
_NO_HALF_COPIES = "no session is half copied by a process that is gone"
_CONTENTS: tuple[Callable[[StoreConnection, str], Finding], ...] = (_ledger, _turns, _half_copies, _free_pages)


def _register(_: str) -> Finding:
    """The register of the user's stores, which is beside no store but the user's own."""
    path = register_of_stores()
    if path is None:
        return Finding("register", Level.OK, "this user has no home directory, so no stores are listed")
    try:
        listed = in_time(str(path), Register(str(path)).check, _REGISTER_SECONDS)
    except (RegisterFault, TimeoutError) as fault:
        advice = "store/list lists no other stores until that is mended"
        if isinstance(fault, RegisterFault) and fault.is_damaged:
            advice = f"the next server that opens a store makes it again; you can delete {path}"
        return Finding("register", Level.WARNING, str(fault), advice=advice)
    if mode := mode_for_others(str(path)):
        text = f"others may read {path}, which lists your stores (mode {mode:o})"
        return Finding("register", Level.WARNING, text, advice=f"chmod 600 {path}")
    return Finding("register", Level.OK, f"it lists {plural(listed, 'store')}")


_OUTSIDE: tuple[Callable[[str], Finding], ...] = (
    _wal,
    _leases,
    _permissions,
    _gitignore,
    _disk,
    _leftovers,
    _rescued,
    _register,
)


def private_directories(database: str) -> list[str]:
    """The store's directory, if it holds nothing else."""
    directory = own_directory(Path(database))
    return [] if directory is None else [str(directory)]


def leftovers(database: str) -> list[str]:
    """Files beside the store that a killed backup, migration or restore has left behind."""
    file = Path(database)
    return [*dead_partials(str(file.parent), file.stem), *second_names(database)]

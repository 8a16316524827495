"""Checks everything about a store from outside, and changes nothing."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mandrake_sessions.amounts import plural, size_text
from mandrake_sessions.errors import StorageFailure, StorageReason, Wording
from mandrake_sessions.files import file_size
from mandrake_sessions.maintenance.findings import Cure, Finding, Level
from mandrake_sessions.maintenance.search import look_at_search
from mandrake_sessions.maintenance.surroundings import look_around
from mandrake_sessions.store.sqlite import checkup
from mandrake_sessions.store.sqlite.build import WAL_RESET_ADVICE, WAL_RESET_BUG, has_wal_reset_bug, sqlite_version
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.copying import Progress
from mandrake_sessions.store.sqlite.deep_check import Problem, deep_check
from mandrake_sessions.store.sqlite.failures import how_to_recover, is_no_database, no_database
from mandrake_sessions.store.sqlite.immediate import one_snapshot
from mandrake_sessions.store.sqlite.migrate import changed_migrations, latest_version
from mandrake_sessions.store.sqlite.reading import reading
from mandrake_sessions.store.sqlite.verify import broken_references, check_ours, integrity, is_empty
from mandrake_sessions.version import __version__
from mandrake_sessions.workspaces import own_directory

MIB = 1024 * 1024
# A store returns free pages while it is idle. More than this part of the file, and more than a mebibyte, is a warning.
FREE_PART = 0.25

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
        found.extend(look_around(database))
    return found


def _is_store(database: str, found: list[Finding]) -> bool:
    """Does the check, and the mending, cover the files around the database too? The program must not change the mode of
    a file that is no store. In a directory of ours a damaged file counts as a store."""
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
        if is_no_database(failure.__cause__, database):
            yield Finding("database", Level.PROBLEM, f"{database} is no database", advice=no_database)
            return
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
    if orphans := checkup.orphans(connection, database):
        text = f"{plural(orphans, 'streaming turn')} of a process that is gone; the next server sets interrupted"
        return Finding("turns", Level.WARNING, text, Cure.ORPHANS)
    return Finding("turns", Level.OK, "no turn streams for a process that is gone")


def _half_copies(connection: StoreConnection, database: str) -> Finding:
    if left := checkup.half_copies(connection, database):
        text = f"{plural(left, 'half-copied session')} of a process that is gone; the next server deletes it"
        return Finding("forks", Level.WARNING, text, Cure.HALF_COPIES)
    return Finding("forks", Level.OK, _NO_HALF_COPIES)


def _free_pages(connection: StoreConnection, _database: str) -> Finding:
    space = checkup.space(connection)
    text = f"{size_text(space.free)} of {size_text(space.total)} are free"
    if space.free > max(FREE_PART * space.total, MIB):
        return Finding("free pages", Level.WARNING, text, Cure.FREE_PAGES)
    return Finding("free pages", Level.OK, text)


# Checks of the deep check that have a line of their own: the text where it finds nothing, and their cures.
_IN_ORDER = {
    "references": "the parent of each row exists",
    "rows": "no change is about a deleted session, round or turn",
    "counters": "every counter is right",
}
_CURES = {"references": Cure.ROWS, "rows": Cure.ROWS, "counters": Cure.COUNTERS}
_NO_HALF_COPIES = "no session is half copied by a process that is gone"
_CONTENTS: tuple[Callable[[StoreConnection, str], Finding], ...] = (
    _ledger,
    _turns,
    _half_copies,
    _free_pages,
    look_at_search,
)

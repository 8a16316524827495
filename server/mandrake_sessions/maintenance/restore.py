"""Makes a backup the store, while servers run."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from mandrake_sessions.errors import InvalidValue, SessionsError, StorageFailure, StorageReason, Words
from mandrake_sessions.owners import make_directory
from mandrake_sessions.store.sqlite.copying import Progress, copy_database
from mandrake_sessions.store.sqlite.migrate import latest_version
from mandrake_sessions.store.sqlite.partial import partial_file
from mandrake_sessions.store.sqlite.replacing import is_database, prepare, put_in_place
from mandrake_sessions.store.sqlite.verify import Facts, find_faults, look_at, too_new
from mandrake_sessions.workspaces import given_path, own_directory, prepare_directory


@frozen
class Restored:
    """The restored store. ``previous``: the file that was the store before, or None; ``previous_sessions``: how many
    that has, or None if it does not tell. ``schema_version`` is the backup's own."""

    path: str
    store_id: str
    sessions: int
    schema_version: int
    previous: str | None
    previous_sessions: int | None


def restore(source: str, database: str, *, busy_timeout: float = 5.0, progress: Progress | None = None) -> Restored:
    """Make a copy of ``source`` the store, with a new ``store_id``, since the ``seq`` numbers of its changes differ
    from those that subscribers know. The previous file is kept beside the store. ``source`` does not change.

    Raises:
        InvalidValue: the source is not a file, or is the store itself; or what would be replaced is no database.
        StorageFailure: the source is damaged, not a store, or too new; or the store cannot be replaced. Nothing has
            changed.
        Busy: another process held the lock of the store, or of the source.
    """
    given, target = str(given_path("source", source)), Path(database).resolve()
    if target.exists() and Path(given).exists() and target.samefile(given):
        raise InvalidValue("source", f"{given} is the store itself; name a backup")
    _check_target(target)
    facts = _look_at(given, busy_timeout)
    if facts.schema_version > latest_version():
        raise too_new(given, facts.schema_version)
    _prepare_directory(target)
    with partial_file(str(target.parent), target.name, like=str(target)) as partial:
        copy_database(given, partial.path, busy_timeout, progress)
        _verify(partial.path, given, progress)
        store_id = prepare(partial.path, busy_timeout)
        if facts.schema_version < latest_version():
            _verify(partial.path, given, progress)
        sessions = look_at(partial.path, busy_timeout).sessions
        previous = put_in_place(partial, str(target), busy_timeout)
    held = None if previous is None else _sessions_of(previous, busy_timeout)
    return Restored(str(target), store_id, sessions, facts.schema_version, previous, held)


def _sessions_of(path: str, busy_timeout: float) -> int | None:
    """None where a file does not tell: it may be damaged, which is no failure of the command that replaced it."""
    try:
        return look_at(path, busy_timeout).sessions
    except (SessionsError, OSError):
        return None


def _check_target(target: Path) -> None:
    """Nobody loses a file for a mistyped path. In a directory of ours, a file whose beginning is damaged counts as a
    store; elsewhere nothing tells it from another thing."""
    if target.is_dir():
        raise InvalidValue("database", f"{target} is a directory; name a file")
    if not target.exists():
        return
    if not target.is_file() or (own_directory(target) is None and not is_database(str(target))):
        raise InvalidValue(
            "database",
            f"{target} is neither a store nor another database, and was left as it is; "
            "name another file, or move this one away first",
        )


def _look_at(source: str, busy_timeout: float) -> Facts:
    if Path(source).is_dir():
        raise InvalidValue("source", f"{source} is a directory; name a backup")
    if not Path(source).is_file():
        raise InvalidValue("source", f"there is no file {source}; name a backup")
    try:
        return look_at(source, busy_timeout)
    except StorageFailure as failure:
        if failure.reason is not StorageReason.CORRUPT:
            raise
        # The usual advice for a damaged store, to restore a backup, makes no sense here.
        raise StorageFailure(
            failure.reason, f"{source} is damaged, or no database at all; name another backup", source
        ) from failure


def _verify(copy: str, source: str, progress: Progress | None) -> None:
    """Check the copy instead of the source: it has the same pages, and no other process writes to it meanwhile."""
    if progress is not None:
        progress("verifying", 0, 0)
    faults = find_faults(copy)
    if faults.texts:
        raise faults.refusal(source, lambda words: _ways_out(source, words, in_pages=faults.in_pages))


def _ways_out(source: str, words: Words, *, in_pages: bool) -> str:
    """Nothing mends a file that SQLite itself calls damaged."""
    mend = "" if in_pages else f", or mend it: {words.maintenance('repair', source)}"
    return f"Use another backup{mend}"


def _prepare_directory(target: Path) -> None:
    try:
        prepare_directory(target)
        make_directory(target.parent, parents=True)
    except OSError as error:
        failed = f"Failed to create database directory {target.parent}: {error.strerror}"
        raise StorageFailure(
            StorageReason.CREATE_DIRECTORY,
            lambda words: f"{failed}; name another with {words.field('database')}",
            str(target),
        ) from error

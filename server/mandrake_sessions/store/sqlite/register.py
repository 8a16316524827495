"""The register of the stores that a user has used: a small file of its own, beside the user's own store.

Any number of processes write to it now and then. It tells where to look, and nothing depends on it: what cannot be read
is left out, and a damaged file is begun again.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.errors import Busy
from mandrake_sessions.files import explain
from mandrake_sessions.model import ScopeName
from mandrake_sessions.owners import make_directory, may_be_own
from mandrake_sessions.store.sql.values import is_uuid
from mandrake_sessions.store.sqlite.backup import create_private_file
from mandrake_sessions.store.sqlite.failures import primary_code
from mandrake_sessions.store.sqlite.immediate import immediate

# "MANR". `file` tells it from a store by this.
REGISTER_ID: Final = 0x4D414E52
_VERSION: Final = 1
_SCHEMA = (
    """CREATE TABLE store (
        path BLOB PRIMARY KEY, store_id TEXT NOT NULL, scope TEXT NOT NULL, workspace BLOB, file TEXT NOT NULL,
        owner INTEGER NOT NULL, last_used_at INTEGER NOT NULL, gone_since INTEGER
    ) STRICT""",
    "CREATE TABLE sweep (at INTEGER NOT NULL) STRICT",
    f"PRAGMA application_id={REGISTER_ID}",
    f"PRAGMA user_version={_VERSION}",
)
_COLUMNS = "path, store_id, scope, workspace, file, owner, last_used_at, gone_since"
DAY_MS: Final = 24 * 3600 * 1000
# So long a store that is gone is kept, and so many stores at the most.
FORGET_MS: Final = 90 * DAY_MS
MOST_STORES = 5000
_LOCK_SECONDS = 1.0
_LONGEST_PATH = 16 * 1024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class RegisterFault(Exception):
    """The register cannot be used; the message names it and says why. ``is_damaged``: the next note replaces it.
    ``is_usual``: nothing is wrong where it is, such as in a home that may only be read."""

    def __init__(self, message: str, *, is_damaged: bool = False, is_usual: bool = False) -> None:
        super().__init__(message)
        self.is_damaged = is_damaged
        self.is_usual = is_usual


@frozen
class RegisteredStore:
    """A store as the register has it. ``path``: the one by which it was used last. ``file``: what told its file from
    others then (``FoundFile.name``), ``owner`` the user that it belonged to. ``gone_since``: when it was first found
    gone."""

    path: str
    store_id: str
    scope: ScopeName
    workspace: str | None
    file: str
    owner: int
    last_used_at: int
    gone_since: int | None = None


@frozen
class FoundFile:
    """The file of a store. ``name``: what tells it from every other that is there now; one that is made later may get
    the name of one that is gone. ``changed_at``: when it was written to last; ``touched_at``: when anything but a read
    was done to it last. Both in milliseconds."""

    name: str
    owner: int
    changed_at: int
    touched_at: int


def find_file(path: str) -> FoundFile | None:
    """None where there is no store: no file, or an empty one, or one that cannot be looked at."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
        return None
    changed_at, touched_at = (max(0, time // 1_000_000) for time in (found.st_mtime_ns, found.st_ctime_ns))
    return FoundFile(f"{found.st_dev}:{found.st_ino}", found.st_uid, changed_at, touched_at)


class Register:
    """``path``: the file; made by the first note. Each call opens and closes it, and may take a second."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> list[RegisteredStore]:
        """The stores, last used first; none where there is no register. Raises RegisterFault."""
        if not self._exists():
            return []
        with self._open() as connection:
            return _read(connection)

    def check(self) -> int:
        """How many stores it lists, once all of it was looked through. Raises RegisterFault."""
        if not self._exists():
            return 0
        with self._open() as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise RegisterFault(f"the register of stores {self.path} is damaged: {found}", is_damaged=True)
            return len(_read(connection))

    def note(self, used: Iterable[RegisteredStore], now: int) -> None:
        """Stores that are in use now. Raises RegisterFault."""
        try:
            self._note(used, now)
        except RegisterFault as fault:
            if not fault.is_damaged:
                raise
            self._begin_again()
            self._note(used, now)

    def is_sweep_due(self, now: int) -> bool:
        """Whether nobody has looked for a day which stores are gone. Raises RegisterFault."""
        with self._open() as connection:
            return not 0 <= now - (_swept_at(connection) or 0) < DAY_MS

    def sweep(self, is_there: Callable[[RegisteredStore], bool | None], now: int) -> list[str]:
        """Note which stores are gone, and forget those that were gone for 90 days; gives the paths of these.
        ``is_there``: None where it cannot be told. Raises RegisterFault.

        One clock that is wrong for a while forgets nothing: stores are only forgotten if the last sweep was not long
        ago, by the same clock.
        """
        known = self.read()
        gone = {store.path: found for store in known if (found := is_there(store)) is not None}
        with self._open() as connection, immediate(connection, self.path, _LOCK_SECONDS):
            swept_at = _swept_at(connection)
            may_forget = swept_at is not None and 0 <= now - swept_at <= FORGET_MS
            forgotten = []
            for store in known:
                if store.path in gone:
                    since = None if gone[store.path] else min(now, store.gone_since or now)
                    connection.execute(
                        "UPDATE store SET gone_since = ? WHERE path = ?", (since, os.fsencode(store.path))
                    )
                    if since is not None and may_forget and now - since >= FORGET_MS:
                        connection.execute("DELETE FROM store WHERE path = ?", (os.fsencode(store.path),))
                        forgotten.append(store.path)
            connection.execute("DELETE FROM sweep")
            connection.execute("INSERT INTO sweep (at) VALUES (?)", (now,))
        return forgotten

    def _note(self, used: Iterable[RegisteredStore], now: int) -> None:
        self._make()
        with self._open() as connection, immediate(connection, self.path, _LOCK_SECONDS):
            _set_up(connection)
            for store in used:
                # The same file by another path: the later path counts.
                connection.execute(
                    "DELETE FROM store WHERE store_id = ? AND file = ? AND path <> ?",
                    (store.store_id, store.file, os.fsencode(store.path)),
                )
                connection.execute(
                    f"INSERT OR REPLACE INTO store ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                    (
                        os.fsencode(store.path),
                        store.store_id,
                        store.scope,
                        None if store.workspace is None else os.fsencode(store.workspace),
                        store.file,
                        store.owner,
                        store.last_used_at,
                    ),
                )
            # The clock was ahead when these were noted.
            connection.execute("UPDATE store SET last_used_at = ? WHERE last_used_at > ?", (now, now + DAY_MS))
            connection.execute(
                "DELETE FROM store WHERE path NOT IN (SELECT path FROM store ORDER BY last_used_at DESC LIMIT ?)",
                (MOST_STORES,),
            )

    def _exists(self) -> bool:
        """Raises RegisterFault where something else has its name, or another user's file."""
        try:
            found = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        if not stat.S_ISREG(found.st_mode):
            raise RegisterFault(f"the register of stores {self.path} is no file; remove it, and servers make a new one")
        if not may_be_own(found.st_uid, None):
            raise RegisterFault(f"the register of stores {self.path} belongs to another user; it is not used")
        return True

    def _make(self) -> None:
        if self._exists():
            return
        try:
            make_directory(os.path.dirname(self.path), parents=True)  # noqa: PTH120
            create_private_file(self.path)
        except OSError as error:
            raise self._unusable(error) from error

    def _begin_again(self) -> None:
        with suppress(OSError):
            Path(self.path).unlink()
        with suppress(OSError):
            Path(self.path + "-journal").unlink()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        uri = f"{Path(self.path).as_uri()}?mode={'rw' if os.access(self.path, os.W_OK) else 'ro'}"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
                connection.execute("PRAGMA trusted_schema=OFF")
                self._check(connection)
                yield connection
        except sqlite3.Error as error:
            raise self._fault(error) from error
        except Busy as error:
            raise RegisterFault(f"the register of stores {self.path} is in use: {error}", is_usual=True) from error

    def _check(self, connection: sqlite3.Connection) -> None:
        (identity,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (identity, version, objects) == (0, 0, 0):
            return
        if identity != REGISTER_ID:
            raise RegisterFault(f"{self.path} is no register of stores; move it away, and servers make a new one")
        if version != _VERSION:
            raise RegisterFault(f"the register of stores {self.path} is of another version ({version}); it is not used")

    def _fault(self, error: sqlite3.Error) -> RegisterFault:
        code = primary_code(error)
        # A table or a column is gone: nobody but a program that wrote into it can have taken it away.
        is_damaged = code in _DAMAGED or code == sqlite3.SQLITE_ERROR
        is_usual = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL)
        return RegisterFault(
            f"the register of stores {self.path} cannot be used: {error}", is_damaged=is_damaged, is_usual=is_usual
        )

    def _unusable(self, error: OSError | ValueError) -> RegisterFault:
        why = explain(error, self.path) if isinstance(error, OSError) else str(error)
        return RegisterFault(f"the register of stores {self.path} cannot be used: {why}", is_usual=True)


def _set_up(connection: sqlite3.Connection) -> None:
    """Under the lock, so that one of many processes does it."""
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        for statement in _SCHEMA:
            connection.execute(statement)


def _read(connection: sqlite3.Connection) -> list[RegisteredStore]:
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        return []
    connection.text_factory = bytes
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM store ORDER BY last_used_at DESC, path LIMIT ?", (MOST_STORES,)
    ).fetchall()
    return [store for row in rows if (store := _parsed(row)) is not None]


def _swept_at(connection: sqlite3.Connection) -> int | None:
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        return None
    (found,) = connection.execute("SELECT max(at) FROM sweep").fetchone()
    return found if isinstance(found, int) else None


_SCOPES: Final[Mapping[str, ScopeName]] = {"workspace": "workspace", "system": "system"}


def _parsed(row: tuple[Any, ...]) -> RegisteredStore | None:
    """None for a row that this program did not write."""
    path, store_id, scope, workspace, file, owner, last_used_at, gone_since = row
    if not (_is_path(path) and (workspace is None or _is_path(workspace))):
        return None
    try:
        texts = [value.decode("ascii") for value in (store_id, scope, file)]
    except (AttributeError, UnicodeDecodeError):
        return None
    known_scope = _SCOPES.get(texts[1])
    if not is_uuid(texts[0]) or known_scope is None:
        return None
    if not (_is_number(owner) and _is_number(last_used_at) and (gone_since is None or _is_number(gone_since))):
        return None
    decoded = None if workspace is None else os.fsdecode(workspace)
    return RegisteredStore(os.fsdecode(path), texts[0], known_scope, decoded, texts[2], owner, last_used_at, gone_since)


def _is_path(value: Any) -> bool:
    return (
        isinstance(value, bytes)
        and len(value) <= _LONGEST_PATH
        and b"\0" not in value
        and os.path.isabs(os.fsdecode(value))  # noqa: PTH117
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**53

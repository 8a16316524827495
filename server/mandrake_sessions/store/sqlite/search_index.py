"""The search index of a store in a file (``store/search.py``): a SQLite file beside it, with tables of FTS5.

It is never part of a transaction of the store. What is wrong with it is met by making it again; the store itself does
not notice.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mandrake_sessions.errors import Busy, StoreMoved
from mandrake_sessions.files import explain
from mandrake_sessions.store.search import IndexLost
from mandrake_sessions.store.sqlite.failures import is_locked, os_failures, storage_failure
from mandrake_sessions.store.sqlite.immediate import begin_reading, immediate, undo
from mandrake_sessions.store.sqlite.search_files import (
    current_file,
    directory_of,
    make_file,
    publish,
    remove_all,
    remove_index,
    remove_older,
)
from mandrake_sessions.store.sqlite.search_opening import OpenedIndex, is_damage, is_of, open_index, try_to_open
from mandrake_sessions.store.sqlite.search_rows import Reader, Writer
from mandrake_sessions.store.sqlite.search_sql import IndexFault, IndexSql, believed_lengths, index_faults
from mandrake_sessions.store.sqlite.search_tables import make_tables, require_fts5

logger = logging.getLogger(__name__)

_UNFILLED = "the search index cannot be filled, so what is new is not found"
_MAX_IDLE = 3
# Those of a parent process: to close them would drop its locks.
_inherited: list[OpenedIndex] = []


class SqliteSearchIndex:
    """``path``: the store's file. The index is opened when it is asked for. ``is_visited``: it is left as it is, and
    closed after each use."""

    def __init__(self, path: str, *, is_visited: bool = False) -> None:
        self._path = path
        self._is_visited = is_visited
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._idle: list[OpenedIndex] = []
        self._writer: OpenedIndex | None = None
        # The index that was found damaged: it is not used again, and made anew by who may write.
        self._damaged: str | None = None
        self.trouble: str | None = None
        self.is_wanted = False
        self._is_open = True

    @property
    def is_damaged(self) -> bool:
        """Whether the index was found damaged, and not made again since."""
        return self._damaged is not None

    def current(self) -> str | None:
        found = current_file(self._path)
        return None if found is None or found.name == self._damaged else found.name

    @contextmanager
    def reading(self) -> Iterator[Reader | None]:
        require_fts5()
        opened = self._open_to_read()
        if opened is None:
            yield None
            return
        sql = IndexSql(opened.connection)
        try:
            with index_faults():
                begin_reading(opened.connection)
            yield Reader(sql, opened.path.name)
        except IndexFault as fault:
            if opened.is_as_opened:
                self._note(fault.error, opened.path)
            raise IndexLost(str(fault)) from fault
        finally:
            self._give_back(opened)

    @contextmanager
    def writing(self, store_id: str) -> Iterator[Writer]:
        require_fts5()
        if not self._writing.acquire(blocking=False):
            self.is_wanted = True
            raise Busy(self._path, 0, "another thread that fills the search index")
        self.is_wanted = False
        opened: OpenedIndex | None = None
        try:
            with os_failures(str(directory_of(self._path))), self._troubles():
                opened = self._open_to_write(store_id)
                with immediate(opened.connection, str(opened.path), 0):
                    writer = Writer(IndexSql(opened.connection), opened.path.name)
                    if writer.store_id != store_id:
                        # Somebody else made one for another store, which is in the same place now.
                        raise sqlite3.DatabaseError("it is the index of another store")
                    yield writer
                    writer.finish()
        except sqlite3.Error as error:
            if opened is not None:
                self._note(error, opened.path)
            raise storage_failure(error, str(directory_of(self._path)), "search index") from error
        except FileNotFoundError as error:
            raise StoreMoved(self._path) from error
        finally:
            self._writing.release()

    def remove(self) -> None:
        with self._writing, os_failures(self._path):
            self._close_writer()
            self._damaged = None
            remove_all(self._path)

    def close(self) -> None:
        """Close what is not in use; what is in use closes when it is given back."""
        self._is_open = False
        with self._lock:
            idle, self._idle = self._idle, []
        for opened in idle:
            opened.close()
        # The last of all: then what the -wal holds goes into the file. A connection that only reads cannot do that.
        with self._writing:
            self._close_writer()

    def abandon(self) -> None:
        """In a forked child: the connections are the parent's."""
        _inherited.extend([*self._idle, *([self._writer] if self._writer else [])])
        self._idle, self._writer, self._is_open = [], None, False

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        """Remember why it cannot be filled, until it can. Raises SQLite's own error for an IndexFault."""
        try:
            with believed_lengths():
                yield
        except OSError as error:
            self.trouble = f"{_UNFILLED}: {explain(error, str(directory_of(self._path)))}"
            raise
        except (sqlite3.Error, IndexFault) as failure:
            cause = failure.error if isinstance(failure, IndexFault) else failure
            if not is_locked(cause) and not is_damage(cause):
                self.trouble = f"{_UNFILLED}: {storage_failure(cause, str(directory_of(self._path)), 'search index')}"
            raise cause from None
        else:
            self.trouble = None

    def _open_to_read(self) -> OpenedIndex | None:
        path = current_file(self._path)
        if path is None or path.name == self._damaged:
            return None
        with self._lock:
            while self._idle:
                opened = self._idle.pop()
                if opened.path == path and opened.is_in_place:
                    return opened
                opened.close()
        try:
            return open_index(path, read_only=True, is_visited=self._is_visited)
        except (sqlite3.Error, OSError) as error:
            self._note(error, path)
            return None

    def _give_back(self, opened: OpenedIndex) -> None:
        with suppress(sqlite3.Error):
            undo(opened.connection)
        with self._lock:
            if (
                self._is_open
                and not self._is_visited
                and len(self._idle) < _MAX_IDLE
                and opened.path.name != self._damaged
            ):
                self._idle.append(opened)
                return
        opened.close()

    def _open_to_write(self, store_id: str) -> OpenedIndex:
        path = current_file(self._path)
        opened = self._writer
        if opened is not None and (opened.path != path or not opened.is_in_place or path.name == self._damaged):
            self._close_writer()
            opened = None
        if path is not None and path.name != self._damaged and opened is None:
            opened = self._writer = try_to_open(path)
        if opened is None or not is_of(opened.connection, store_id):
            self._close_writer()
            opened = self._writer = self._make(store_id)
        return opened

    def _make(self, store_id: str) -> OpenedIndex:
        made = make_file(self._path)
        try:
            _set_up(made, store_id)
            path = publish(made)
        except BaseException:
            remove_index(made)
            raise
        self._damaged = None
        remove_older(self._path, path)
        return open_index(path, read_only=False)

    def _note(self, error: Exception, path: Path) -> None:
        if is_damage(error) and self._damaged != path.name:
            logger.warning("the search index %s is damaged (%s); it is made again", path, error)
            self._damaged = path.name

    def _close_writer(self) -> None:
        opened, self._writer = self._writer, None
        if opened is not None:
            opened.close()


def _set_up(path: Path, store_id: str) -> None:
    """Make the tables in an empty file."""
    opened = open_index(path, read_only=False)
    try:
        opened.connection.execute("PRAGMA journal_mode=WAL").fetchone()
        with immediate(opened.connection, str(path), 0):
            make_tables(opened.connection, store_id, 0)
    finally:
        opened.close()

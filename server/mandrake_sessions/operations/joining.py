"""Reads of many stores at once: what each gives by itself, joined to one result.

Stores are read by several threads, in any order. Each gives a part, which is taken only once the whole of it was read,
so that a store which fails in the middle takes nothing from the others.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from operator import itemgetter
from typing import Any, Generic, Protocol, Self, TypeVar, Unpack

from attrs import asdict, astuple

from mandrake_sessions import paging
from mandrake_sessions.fields import SessionsWanted
from mandrake_sessions.model import AllSessions, Session, SessionOfStore, Sort, StoreRef, UnavailableStore
from mandrake_sessions.operations.sessions import check_sort, session_filter
from mandrake_sessions.paging import (
    DEFAULT_LIMIT,
    JoinedPosition,
    check_limit,
    decode_joined,
    encode_joined,
)
from mandrake_sessions.store.interface import EntityStore
from mandrake_sessions.store.sql import session_lists, sessions
from mandrake_sessions.store.sql.seq import last_seq

Part = TypeVar("Part")
R = TypeVar("R", covariant=True)
Row = TypeVar("Row")

# A row's key, its bytes, and the row.
Keyed = tuple[Any, int, Row]
_LIST = "sessions of all stores"
# Greater than every id, and less.
_AFTER_IDS, _BEFORE_IDS = "g", ""


class Joining(Protocol[Part, R]):
    """The rule by which the answers of many stores become one. Made from the params of a call, which it checks."""

    def read(self, store: StoreRef, entities: EntityStore) -> Part:
        """The part that one store gives. Called on any thread."""

    def narrowed(self, cwd: str) -> Self:
        """The same read of sessions that are about one directory, for a store in which only those count. What it gives
        is added here."""

    def add(self, part: Part) -> None:
        """Take in what a store gave. Called on any thread."""

    def result(self, unavailable: list[UnavailableStore]) -> R:
        """All of it. Rows may be made while they are taken."""


class JoinedRows(Generic[Row]):
    """The first rows by their keys, as many as fit into a page; about one page of each store that is read just now is
    kept beside them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._rows: list[Keyed[Row]] = []
        self._bytes = 0
        # The first key of those that did not fit: what lies behind it is for a later page.
        self._cut: Any = None

    @property
    def has_more(self) -> bool:
        return self._cut is not None

    @property
    def last_key(self) -> Any:
        return self._rows[-1][0]

    def __iter__(self) -> Iterator[Keyed[Row]]:
        return iter(self._rows)

    def wanted(self, rows: Iterable[Keyed[Row]]) -> list[Keyed[Row]]:
        """The rows of one store that may be among the first; they come in the order of their keys."""
        kept: list[Keyed[Row]] = []
        total = 0
        for row in rows:
            if self._is_cut(row):
                break
            kept.append(row)
            total += row[1]
            if len(kept) > self._limit or (len(kept) > 1 and total > paging.PAGE_BYTES):
                # The last one does not fit, and tells that there are more.
                break
        return kept

    def add(self, rows: list[Keyed[Row]]) -> None:
        with self._lock:
            for row in rows:
                if not self._is_cut(row):
                    insort(self._rows, row, key=itemgetter(0))
                    self._bytes += row[1]
            while len(self._rows) > self._limit or (len(self._rows) > 1 and self._bytes > paging.PAGE_BYTES):
                self._cut, weight, _ = self._rows.pop()
                self._bytes -= weight

    def _is_cut(self, row: Keyed[Row]) -> bool:
        cut = self._cut
        return cut is not None and bool(row[0] >= cut)


class JoinedSessions:
    """Sessions of every store, as ``session/list`` has them: by ``updated_at``, or by ``active_at``, latest first, then
    by the store's id and their own."""

    def __init__(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        sort: Sort = "changed",
        **wanted: Unpack[SessionsWanted],
    ) -> None:
        """Raises InvalidValue."""
        self._sort = check_sort(sort)
        self._given = wanted
        self._wanted = session_filter(wanted)
        self._key = [sort, *astuple(self._wanted)]
        self._after = decode_joined(cursor, _LIST, self._key)
        self._limit = check_limit(limit)
        # By the ids of the stores that were read: the last change that each holds.
        self._seqs: dict[str, int] = {}
        self._rows: JoinedRows[tuple[StoreRef, sessions.SessionRow]] = JoinedRows(limit)

    def narrowed(self, cwd: str) -> JoinedSessions:
        """``Joining.narrowed``"""
        narrower = copy(self)
        narrower._wanted = session_filter({**self._given, "cwd": cwd})
        return narrower

    def read(self, store: StoreRef, entities: EntityStore) -> list[Keyed[tuple[StoreRef, sessions.SessionRow]]]:
        beyond = self._beyond(store.store_id)
        with entities.reading() as sql:
            self._seqs[store.store_id] = last_seq(sql)
            found = session_lists.list_sessions_by_time(
                sql,
                self._wanted,
                beyond,
                self._limit + 1,
                sort=self._sort,
                changed_until=self._given_seqs.get(short_id(store.store_id)),
            )
            return self._rows.wanted((self._row_key(store, row), row.weight, (store, row)) for row in found)

    @property
    def _given_seqs(self) -> Mapping[str, int]:
        """The clock may be set back: then what was given, and has changed since, comes again by its new time. So of a
        store that gave rows only those are wanted that have not changed since. ``active_at`` never goes back."""
        return {} if self._after is None or self._sort != "changed" else self._after.seqs

    def add(self, part: list[Keyed[tuple[StoreRef, sessions.SessionRow]]]) -> None:
        self._rows.add(part)

    def result(self, unavailable: list[UnavailableStore]) -> AllSessions:
        listed: Any = (of_store(store, row.session) for _, _, (store, row) in self._rows)
        return AllSessions(listed, self._next_cursor(), None, None, unavailable)

    def _row_key(self, store: StoreRef, row: sessions.SessionRow) -> tuple[int, str, str]:
        moment, session_id = row.moment(self._sort)
        return -moment, store.store_id, session_id

    def _beyond(self, store_id: str) -> tuple[int, str] | None:
        """The place where this store goes on after the last row of the page before, which may be of another one."""
        after = self._after
        if after is None:
            return None
        if store_id == after.store_id:
            return after.moment, after.row_id
        return after.moment, _AFTER_IDS if store_id < after.store_id else _BEFORE_IDS

    def _next_cursor(self) -> str | None:
        if not self._rows.has_more:
            return None
        moment, store_id, session_id = self._rows.last_key
        gave = {store.store_id for _, _, (store, _) in self._rows} if self._sort == "changed" else set()
        seqs = {short_id(each): self._seqs[each] for each in gave} | dict(self._given_seqs)
        return encode_joined(_LIST, self._key, JoinedPosition(-moment, store_id, session_id, seqs))


def short_id(store_id: str) -> str:
    """Enough of it to tell it from others in a cursor, of a user with hundreds of stores."""
    return store_id.replace("-", "")[-12:]


def of_store(store: StoreRef, session: Session) -> SessionOfStore:
    """The session, with the store that it is in."""
    return SessionOfStore(**asdict(session, recurse=False), store=store)

"""Searching every store: the hits of all of them, joined by their ranks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import copy
from typing import Any, Unpack

from attrs import asdict, evolve, frozen

from mandrake_sessions.fields import SearchWanted
from mandrake_sessions.model import AllHits, HitOfStore, StoreRef, UnavailableStore
from mandrake_sessions.operations.joining import JoinedRows, Keyed, short_id
from mandrake_sessions.operations.search import MAX_HITS, Given, Search, Weighed, ask, given_of, searched
from mandrake_sessions.paging import DEFAULT_LIMIT, check_limit, decode_values, encode_values, not_of_this_list
from mandrake_sessions.store.interface import EntityStore
from mandrake_sessions.store.search import SearchReader

_LIST = "search of all stores"

Row = tuple[StoreRef, Weighed]


@frozen
class _Part:
    """What one store gives. ``given``: its index, with the hits of the pages before."""

    store_id: str
    rows: list[Keyed[Row]]
    given: Given
    pending: int


class JoinedSearch:
    """Hits of every store: the best of each first, then the second best of each, and so on, since scores of two stores
    do not compare. The cursor knows what each store has given. ``pending``: by the ids of the stores that were read,
    how many turns their indexes lack."""

    def __init__(
        self, query: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None, **wanted: Unpack[SearchWanted]
    ) -> None:
        """Raises InvalidValue."""
        self._query, self._wanted = query, wanted
        self._asked = ask(query, wanted)
        self._before = _decode(cursor, self._asked.key)
        self._rows: JoinedRows[Row] = JoinedRows(check_limit(limit))
        self._lock = threading.Lock()
        self._places: dict[str, Given] = {}
        self.pending: dict[str, int] = {}

    def narrowed(self, cwd: str) -> JoinedSearch:
        """``Joining.narrowed``"""
        narrower = copy(self)
        narrower._asked = ask(self._query, {**self._wanted, "cwd": cwd})
        return narrower

    def read(self, store: StoreRef, entities: EntityStore) -> _Part:
        before = self._before.get(short_id(store.store_id), Given())

        def take(search: Search, reader: SearchReader | None) -> _Part:
            found = search.found(reader)
            ranked = enumerate(found.hits, len(before.keys))
            rows = self._rows.wanted(((rank, store.store_id), hit.weight, (store, hit)) for rank, hit in ranked)
            return _Part(store.store_id, rows, Given(found.index, before.keys), found.pending)

        return searched(entities, self._asked, before, take)

    def add(self, part: _Part) -> None:
        self._rows.add(part.rows)
        with self._lock:
            self._places[short_id(part.store_id)] = part.given
            self.pending[part.store_id] = part.pending

    def result(self, unavailable: list[UnavailableStore]) -> AllHits:
        hits = [HitOfStore(**asdict(hit.hit, recurse=False), store=store) for _, _, (store, hit) in self._rows]
        return AllHits(hits, self._next_cursor(), None, None, sum(self.pending.values()), unavailable)

    def _next_cursor(self) -> str | None:
        if not self._rows.has_more:
            return None
        given = dict(self._before)
        for _, _, (store, hit) in self._rows:
            name = short_id(store.store_id)
            known = evolve(self._places[name], keys=given.get(name, Given()).keys | {hit.key})
            given[name] = known
        if sum(len(each.keys) for each in given.values()) >= MAX_HITS:
            return None
        return encode_values(_LIST, self._asked.key, {name: each.as_values() for name, each in given.items()})


def _decode(cursor: str | None, key: Any) -> Mapping[str, Given]:
    values = decode_values(cursor, _LIST, key)
    if values is None:
        return {}
    if len(values) != 1 or not isinstance(values[0], dict):
        raise not_of_this_list(cursor)
    found = {name: given_of(each) for name, each in values[0].items()}
    if None in found.values():
        raise not_of_this_list(cursor)
    return {name: each for name, each in found.items() if each is not None}

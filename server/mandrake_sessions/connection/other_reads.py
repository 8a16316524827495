"""What other stores are read by: all of them, each for a bounded time, or one that is named by its ``storeId``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from mandrake_sessions.connection.answering import answer_in, method_of
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.reads import Pinned
from mandrake_sessions.errors import Busy, NotFound, StorageFailure, StorageReason
from mandrake_sessions.handlers import carry_out_for_all
from mandrake_sessions.handlers.context import Beginning, StoreContext, StoresContext
from mandrake_sessions.known_stores import find_known_store, known_stores
from mandrake_sessions.large_work import LargeWork
from mandrake_sessions.model import FeedStart, Scope
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.operations.joining import Joining
from mandrake_sessions.protocol.results import ListedStore, StoreList
from mandrake_sessions.protocol.store_params import own_params
from mandrake_sessions.stopping import check_wanted
from mandrake_sessions.store.elsewhere import Visit, VisitedStore
from mandrake_sessions.store_names import DEFAULT_STORE
from mandrake_sessions.store_places import OpenStore, StorePlace
from mandrake_sessions.time_limits import in_time
from mandrake_sessions.transport.spool import Encoded
from mandrake_sessions.visits import Part, Visits, check_store_id, raise_for_all

logger = logging.getLogger(__name__)

R = TypeVar("R")

# Seconds that the read of one store may take.
READ_SECONDS = 60.0
# Between two tries, while another process holds the lock of that store.
LOCK_LOOK_SECONDS = 0.05


class ReadOfAll:
    """``store/list``, or a call with ``scope: "all"`` (``handlers.context.Stores``)."""

    def __init__(
        self, call: Call, pinned: list[Pinned], open_here: list[OpenStore], places: Sequence[StorePlace]
    ) -> None:
        self._call = call
        self._pinned = {each.store.place: each for each in pinned}
        self._open_here = open_here
        self._places = places
        # By their paths, once it is known which there are.
        self._parts: dict[str, Part] | None = None
        self._visiting: Visits | None = None

    def may_see(self, path: str) -> bool:
        if self._parts is None:
            return True
        part = self._parts.get(path)
        return part is not None and part.is_open_question

    def read(self) -> Encoded:
        method = method_of(self._call)
        params = own_params(self._call.params, names_store=method.takes_store)
        with LargeWork():
            return self._call.encode_result(carry_out_for_all(StoresContext(self), method, params))

    def interrupt(self) -> None:
        for each in self._pinned.values():
            each.snapshot.interrupt()
        if self._visiting is not None:
            self._visiting.stop()

    def release(self) -> None:
        for each in self._pinned.values():
            each.snapshot.release()

    def listed(self) -> StoreList:
        known = known_stores(self._open_here, self._places)
        return StoreList(
            [
                ListedStore(
                    store.store_id, store.scope, store.workspace, store.path, store.last_used_at, store.available
                )
                for store in known
            ]
        )

    def joined(self, joining: Joining[Any, R]) -> R:
        known = known_stores(self._open_here, self._places)
        parts = [Part(store, joining) for store in known]
        self._parts = {part.store.path: part for part in parts}
        for part in parts:
            pinned = None if part.store.open_at is None else self._pinned.get(part.store.open_at)
            if pinned is not None:
                with pinned.snapshot:
                    part.read(pinned.manager.store)
        self._visiting = Visits(parts)
        check_wanted()
        self._visiting.run()
        check_wanted()
        raise_for_all(parts)
        return joining.result([part.unavailable for part in parts if part.unavailable is not None])


class ReadOfOne:
    """A call that names a store by its id, which is not open here."""

    def __init__(
        self, call: Call, store_id: str, open_here: list[OpenStore], places: Sequence[StorePlace], busy_timeout: float
    ) -> None:
        self._call = call
        self._store_id = store_id
        self._busy_timeout = busy_timeout
        self._open_here = open_here
        self._places = places
        self._visit: Visit | None = None

    def read(self) -> Encoded:
        store = find_known_store(self._store_id, self._open_here, self._places)
        if store is None:
            raise NotFound("store", self._store_id, "among those that this user has used; store/list has them")
        visit = self._visit = Visit(store.path, store.owner)
        check_wanted()

        def answered(visited: VisitedStore) -> Encoded:
            check_store_id(visited, store)
            context = StoreContext(DEFAULT_STORE, Conversations(visited), _NO_SUBSCRIPTIONS)
            with LargeWork(is_bounded=method_of(self._call).is_paged):
                return answer_in(self._call, context)

        try:
            patiently = partial(_patiently, lambda: visit.run(answered), self._busy_timeout)
            return in_time(store.path, patiently, READ_SECONDS, visit.interrupt)
        except TimeoutError as error:
            raise StorageFailure(StorageReason.IO, f"{error}; its disk may not answer", store.path) from error

    def may_see(self, path: str) -> bool:  # noqa: ARG002
        return False

    def interrupt(self) -> None:
        if self._visit is not None:
            self._visit.interrupt()

    def release(self) -> None:
        """It holds nothing but while it reads."""


def _patiently(work: Callable[[], R], busy_timeout: float) -> R:
    """What ``work`` gives, which is done again for ``busy_timeout`` seconds while another process holds the lock."""
    began = time.monotonic()
    while True:
        try:
            return work()
        except Busy as busy:
            waited = time.monotonic() - began
            if waited >= busy_timeout:
                raise Busy(busy.path, round(waited * 1000), busy.holder) from busy
        check_wanted()
        time.sleep(LOCK_LOOK_SECONDS)


class _NoSubscriptions:
    """A store that is visited is not followed: no method comes here."""

    def follow_turns(self, manager: Conversations, scope: Scope, start: FeedStart, *, raw: bool, text: bool) -> str:
        raise NotImplementedError

    def follow_sessions(self, manager: Conversations, scope: Scope, start: FeedStart) -> str:
        raise NotImplementedError


_NO_SUBSCRIPTIONS: Beginning = _NoSubscriptions()

"""What other stores are read by: all of them, each for a bounded time, or one that is named by its ``storeId``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from mandrake_sessions.connection.answering import answer_in, method_of
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.reads import Pinned
from mandrake_sessions.errors import Busy, Cancelled, InvalidValue, NotFound, StorageFailure, StorageReason
from mandrake_sessions.handlers import carry_out_for_all
from mandrake_sessions.handlers.context import Beginning, StoreContext, StoresContext
from mandrake_sessions.known_stores import KnownStore, find_known_store, known_stores
from mandrake_sessions.large_work import LargeWork
from mandrake_sessions.model import FeedStart, Scope, StoreRef, UnavailableReason, UnavailableStore
from mandrake_sessions.open_stores import OpenStore
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.operations.joining import Joining
from mandrake_sessions.protocol.results import ListedStore, StoreList
from mandrake_sessions.protocol.store_params import DEFAULT_STORE, own_params
from mandrake_sessions.stopping import check_wanted
from mandrake_sessions.store.elsewhere import Visit, VisitedStore
from mandrake_sessions.store.engines import is_gone
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.time_limits import Job, LimitedWork, in_time
from mandrake_sessions.transport.spool import Encoded

logger = logging.getLogger(__name__)

R = TypeVar("R")

# Seconds that one of all stores may take, and all of them.
VISIT_SECONDS = 2.0
ALL_VISITS_SECONDS = 10.0
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
        self._parts: dict[str, _Part] | None = None
        self._visiting: LimitedWork | None = None

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
        parts = [_Part(store, joining) for store in known]
        self._parts = {part.store.path: part for part in parts}
        for part in parts:
            pinned = None if part.store.open_at is None else self._pinned.get(part.store.open_at)
            if pinned is not None:
                part.read_pinned(pinned)
        self._visit([part for part in parts if part.is_open_question])
        check_wanted()
        _raise_for_all(parts)
        return joining.result([part.unavailable for part in parts if part.unavailable is not None])

    def _visit(self, parts: list[_Part]) -> None:
        self._visiting = LimitedWork([part.job for part in parts], VISIT_SECONDS, ALL_VISITS_SECONDS)
        check_wanted()
        self._visiting.run()
        for part in parts:
            part.end()


class _Part:
    """What one of all stores gives, or why it gives nothing: it is ``unavailable``, it does not have what the call
    names (``missed``), or what the call asks for is too much (``refused``)."""

    def __init__(self, store: KnownStore, joining: Joining[Any, Any]) -> None:
        self.store = store
        self.unavailable: UnavailableStore | None = None
        self.missed: NotFound | None = None
        self.refused: InvalidValue | None = None
        self.is_taken = False
        self._joining = joining
        self._visit = Visit(store.path, store.owner)
        self._ref = StoreRef(store.store_id, store.scope, store.workspace)
        self._lock = threading.Lock()
        self._is_settled = False
        if store.is_copy:
            self._settle(UnavailableReason.COPIED)

    @property
    def is_open_question(self) -> bool:
        return not self._is_settled

    @property
    def job(self) -> Job:
        return Job(self.store.path, lambda: self._carry_out(lambda: self._visit.run(self._read)), self._visit.interrupt)

    def read_pinned(self, pinned: Pinned) -> None:
        """Of a store that is open here."""
        with pinned.snapshot:
            self._carry_out(lambda: self._joining.read(self._ref, pinned.manager.store))

    def end(self) -> None:
        """Nothing more is taken from it: without an answer by now, it has none."""
        self._settle(UnavailableReason.IO)

    def _read(self, visited: VisitedStore) -> Any:
        _check_store_id(visited, self.store)
        return self._joining.read(self._ref, visited)

    def _carry_out(self, read: Callable[[], Any]) -> None:
        try:
            self._take(read())
        except NotFound as error:
            self._settle(missed=error)
        except InvalidValue as error:
            self._settle(refused=error)
        except Busy:
            self._settle(UnavailableReason.BUSY)
        except StorageFailure as error:
            logger.debug("a store is left out: %s", error)
            is_absent = error.reason is StorageReason.OPEN and is_gone(self.store.path)
            self._settle(UnavailableReason.GONE if is_absent else UnavailableReason(error.reason))
        except Cancelled:
            self._settle(UnavailableReason.IO)
        except Exception:
            logger.exception("%s could not be read with all stores", self.store.path)
            self._settle(UnavailableReason.IO)

    def _take(self, part: Any) -> None:
        with self._lock:
            if not self._is_settled:
                self._joining.add(part)
                self._is_settled = self.is_taken = True

    def _settle(
        self,
        reason: UnavailableReason | None = None,
        *,
        missed: NotFound | None = None,
        refused: InvalidValue | None = None,
    ) -> None:
        with self._lock:
            if not self._is_settled:
                self.missed, self.refused = missed, refused
                if reason is not None:
                    self.unavailable = UnavailableStore(self.store.path, reason, self.store.store_id)
                self._is_settled = True


def _raise_for_all(parts: list[_Part]) -> None:
    """Raises what concerns the call as a whole."""
    for part in parts:
        if part.refused is not None:
            raise part.refused
    missed = [part.missed for part in parts if part.missed is not None]
    if missed and not any(part.is_taken for part in parts):
        raise missed[0]


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
            _check_store_id(visited, store)
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


def _check_store_id(visited: VisitedStore, store: KnownStore) -> None:
    if visited.store_id != store.store_id:
        raise StorageFailure(
            StorageReason.IO, f"another store took the place of {store.path} just now; send it again", store.path
        )

"""One read of many stores: each is visited for a bounded time, and what they give is joined to one result."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from mandrake_sessions.errors import (
    Busy,
    Cancelled,
    InvalidValue,
    NotFound,
    SessionsError,
    StorageFailure,
    StorageReason,
)
from mandrake_sessions.files import is_gone
from mandrake_sessions.known_stores import KnownStore
from mandrake_sessions.model import StoreRef, UnavailableReason, UnavailableStore
from mandrake_sessions.operations.joining import Joining
from mandrake_sessions.store.elsewhere import Visit, VisitedStore
from mandrake_sessions.store.interface import EntityStore
from mandrake_sessions.time_limits import Job, LimitedWork

logger = logging.getLogger(__name__)
T = TypeVar("T")

# Seconds that one of all stores may take, and all of them.
VISIT_SECONDS = 2.0
ALL_VISITS_SECONDS = 10.0


def ask_each(stores: Iterable[KnownStore], work: Callable[[VisitedStore], T]) -> list[tuple[KnownStore, T]]:
    """What ``work`` makes of each store. One that cannot be read, or not in time, is left out."""
    answers: list[tuple[KnownStore, T]] = []

    def ask(store: KnownStore, visit: Visit) -> None:
        try:
            answers.append((store, visit.run(work)))
        except (SessionsError, OSError) as error:
            logger.info("%s cannot be read: %s", store.path, error)

    visits = [(store, Visit(store.path, store.owner)) for store in stores]
    jobs = [Job(store.path, partial(ask, store, visit), visit.interrupt) for store, visit in visits]
    LimitedWork(jobs, VISIT_SECONDS, ALL_VISITS_SECONDS).run()
    return list(answers)


class Visits:
    """The visits of those parts that have no answer yet."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = [part for part in parts if part.is_open_question]
        self._work = LimitedWork([part.job for part in self._parts], VISIT_SECONDS, ALL_VISITS_SECONDS)

    def run(self) -> None:
        """When it returns, each part has its answer."""
        self._work.run()
        for part in self._parts:
            part.end()

    def stop(self) -> None:
        """Called from another thread."""
        self._work.stop()


class Part:
    """What one of all stores gives, or why it gives nothing: it is ``unavailable``, it does not have what the call
    names (``missed``), or what the call asks for is too much (``refused``)."""

    def __init__(self, store: KnownStore, joining: Joining[Any, Any], reading: Joining[Any, Any] | None = None) -> None:
        """``joining`` takes in what ``reading`` reads; it reads that itself where its filters hold for this store."""
        self.store = store
        self.unavailable: UnavailableStore | None = None
        self.missed: NotFound | None = None
        self.refused: InvalidValue | None = None
        self.is_taken = False
        self._joining = joining
        self._reading = joining if reading is None else reading
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

    def read(self, entities: EntityStore) -> None:
        """Take the answer of a store that is open here, which is not visited then."""
        self._carry_out(lambda: self._reading.read(self._ref, entities))

    def end(self) -> None:
        """Nothing more is taken from it: without an answer by now, it has none."""
        self._settle(UnavailableReason.IO)

    def _read(self, visited: VisitedStore) -> Any:
        check_store_id(visited, self.store)
        return self._reading.read(self._ref, visited)

    def _carry_out(self, read: Callable[[], Any]) -> None:
        try:
            self._take(read())
        except NotFound as error:
            self._settle(missed=error)
        except InvalidValue as error:
            self._settle(refused=error)
        except Exception as error:
            self._settle(why_unavailable(error, self.store.path))

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


def why_unavailable(error: Exception, path: str) -> UnavailableReason:
    """What a visit of the store that failed is told as. One that nobody foresaw is logged."""
    if isinstance(error, Busy):
        return UnavailableReason.BUSY
    if isinstance(error, StorageFailure):
        logger.debug("a store is left out: %s", error)
        is_absent = error.reason is StorageReason.OPEN and is_gone(path)
        return UnavailableReason.GONE if is_absent else UnavailableReason(error.reason)
    if not isinstance(error, Cancelled):
        logger.error("%s could not be read with all stores", path, exc_info=error)
    return UnavailableReason.IO


def raise_for_all(parts: Sequence[Part]) -> None:
    """Raises what concerns the read as a whole: InvalidValue, and NotFound where no store has what is named."""
    for part in parts:
        if part.refused is not None:
            raise part.refused
    missed = [part.missed for part in parts if part.missed is not None]
    if missed and not any(part.is_taken for part in parts):
        raise missed[0]


def check_store_id(visited: VisitedStore, store: KnownStore) -> None:
    """Raises StorageFailure where it is another one."""
    if visited.store_id != store.store_id:
        raise StorageFailure(
            StorageReason.IO, f"another store took the place of {store.path} just now; send it again", store.path
        )

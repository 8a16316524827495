"""The stores that the user has used: those of the register, those that are open here, and the user's own.

What the register says is a hint: each file is looked at, and belongs to this user. No look waits for a file system that
does not answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from attrs import evolve, frozen

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.ids import now_ms
from mandrake_sessions.model import ScopeName
from mandrake_sessions.owners import may_be_own
from mandrake_sessions.store.elsewhere import Register, RegisteredStore, RegisterFault, Visit, find_file
from mandrake_sessions.store_places import OpenStore, StorePlace
from mandrake_sessions.time_limits import Job, LimitedWork, in_time
from mandrake_sessions.workspaces import register_of_stores

logger = logging.getLogger(__name__)

# Seconds that the register may take to answer, a look at one file, and the looks at all of them.
REGISTER_SECONDS = 2.0
LOOK_SECONDS = 2.0
ALL_LOOKS_SECONDS = 6.0


@frozen
class KnownStore:
    """``file``: what tells its file from others; None where it is gone, or nobody knows. ``owner``: the user that it
    belonged to when it was used; None where that is not known. ``open_at``: the place at which it is open here.
    ``is_copy``: an earlier one of the list has its ``store_id``."""

    store_id: str
    scope: ScopeName
    workspace: str | None
    path: str
    last_used_at: int
    available: bool = True
    file: str | None = None
    owner: int | None = None
    open_at: StorePlace | None = None
    is_copy: bool = False


def register() -> Register | None:
    """The register of this user, whether it exists or not; None if there can be none."""
    path = register_of_stores()
    return None if path is None else Register(str(path))


def registered_stores() -> list[RegisteredStore]:
    """What the register holds; nothing where it cannot be read, which is logged."""
    found = register()
    if found is None:
        return []
    try:
        return in_time(found.path, found.read, REGISTER_SECONDS)
    except RegisterFault as fault:
        logger.log(logging.INFO if fault.is_usual else logging.WARNING, "%s", fault)
    except TimeoutError as error:
        logger.warning("the register of stores: %s", error)
    return []


def known_stores(
    open_here: Iterable[OpenStore], others: Iterable[StorePlace] = (), store_id: str | None = None
) -> list[KnownStore]:
    """All of them, last used first; takes seconds at the most. ``others``: places that count as used if there is a
    store. Of one that is gone and is found elsewhere, only the latter is given. With ``store_id``, stores that the
    register has under another id are not looked at."""
    found: list[KnownStore] = [_open_one(store) for store in open_here]
    paths = {store.path for store in found}
    registered = [store for store in registered_stores() if store.path not in paths]
    paths |= {store.path for store in registered}
    looks = [_Look(_registered_one(store)) for store in registered if store_id in (None, store.store_id)]
    looks += [_Look(_unregistered(place)) for place in others if place.path not in paths]
    LimitedWork([look.job for look in looks], LOOK_SECONDS, ALL_LOOKS_SECONDS).run()
    found += [look.store for look in looks if look.store.store_id]
    return _each_once(found)


def find_known_store(store_id: str, open_here: Iterable[OpenStore], others: Iterable[StorePlace]) -> KnownStore | None:
    """The one that the id means; None if no store has it."""
    open_here, others = list(open_here), list(others)
    for only in (store_id, None):
        known = known_stores(open_here, others, only)
        having = [store for store in known if store.store_id == store_id and not store.is_copy]
        if having:
            return having[0]
    return None


class _Look:
    """A look at one store, and what it is found to be."""

    def __init__(self, store: KnownStore) -> None:
        self._visit = Visit(store.path, store.owner)
        self._expected = store.file
        self.store = evolve(store, available=False, file=None)

    @property
    def job(self) -> Job:
        return Job(self.store.path, self._look, self._visit.interrupt)

    def _look(self) -> None:
        found = find_file(self.store.path)
        if found is None or not may_be_own(found.owner, self.store.owner):
            return
        store_id = self.store.store_id
        if self._expected != found.name or found.touched_at >= self.store.last_used_at:
            # Another store may be there by now, even under the number of a file that is gone.
            try:
                store_id = self._visit.run(lambda visited: visited.store_id) or store_id
            except (SessionsError, OSError) as error:
                logger.debug("%s cannot be looked at: %s", self.store.path, error)
        used_at = self.store.last_used_at or min(now_ms(), found.changed_at)
        self.store = evolve(self.store, store_id=store_id, last_used_at=used_at, available=True, file=found.name)


def _open_one(store: OpenStore) -> KnownStore:
    place = store.place
    found = find_file(place.path)
    return KnownStore(
        store.store_id,
        place.scope,
        place.workspace,
        place.path,
        store.used_at,
        file=None if found is None else found.name,
        open_at=place,
    )


def _registered_one(store: RegisteredStore) -> KnownStore:
    return KnownStore(
        store.store_id,
        store.scope,
        store.workspace,
        store.path,
        store.last_used_at,
        file=store.file,
        owner=store.owner,
    )


def _unregistered(place: StorePlace) -> KnownStore:
    """One that nobody has noted: when its file changed is when it was used last."""
    return KnownStore("", place.scope, place.workspace, place.path, 0)


def _each_once(found: list[KnownStore]) -> list[KnownStore]:
    """Each file once, the open one or the one used last; last used first. A store that is gone is left out where its
    file is found under another path."""
    by_use = sorted(
        found, key=lambda store: (store.open_at is None, not store.available, -store.last_used_at, store.path)
    )
    kept: list[KnownStore] = []
    files: set[str] = set()
    store_ids: set[str] = set()
    for store in by_use:
        if store.file in files or (not store.available and store.store_id in store_ids):
            continue
        if store.file is not None:
            files.add(store.file)
        kept.append(evolve(store, is_copy=store.store_id in store_ids))
        store_ids.add(store.store_id)
    return sorted(kept, key=lambda store: (-store.last_used_at, store.path))


def note_used(store: OpenStore) -> None:
    """Note in the register that the store is used now. What goes wrong is logged."""
    now = now_ms()
    known, found = register(), noted(store, now)
    if known is None or found is None:
        return
    try:
        in_time(known.path, lambda: known.note([found], now), REGISTER_SECONDS)
    except (RegisterFault, TimeoutError) as error:
        logger.info("the register of stores: %s", error)


def noted(store: OpenStore, now: int) -> RegisteredStore | None:
    """What the register is told of an open store; None for one that is no file."""
    place = store.place
    found = find_file(place.path)
    if found is None:
        return None
    return RegisteredStore(place.path, store.store_id, place.scope, place.workspace, found.name, found.owner, now)


def each_is_there(stores: Iterable[RegisteredStore]) -> Callable[[RegisteredStore], bool | None]:
    """Looks at the files of all of them; the answer of the result is None where a look did not end."""
    answers: dict[str, bool] = {}

    def look(path: str) -> None:
        answers[path] = find_file(path) is not None

    LimitedWork([Job(store.path, partial(look, store.path)) for store in stores], LOOK_SECONDS, ALL_LOOKS_SECONDS).run()
    return lambda store: answers.get(store.path)

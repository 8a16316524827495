"""Follows stores that are only visited: nothing is written to them, and nobody there knows of it.

Each is looked at from outside, some ten times a second, and visited only when its file or the -wal beside it changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from attrs import evolve, frozen

from mandrake_sessions.errors import FeedPruned
from mandrake_sessions.ids import now_ms
from mandrake_sessions.known_stores import KnownStore
from mandrake_sessions.model import Change, Session, UnavailableReason, UnavailableStore
from mandrake_sessions.operations.feed import Feed
from mandrake_sessions.store.elsewhere import Stamp, Visit, VisitedStore, stamp
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.time_limits import Job, LimitedWork
from mandrake_sessions.visits import ALL_VISITS_SECONDS, VISIT_SECONDS, why_unavailable
from mandrake_sessions.workspaces import register_of_stores

_LOOK_SECONDS: Final = 0.1
# How often the stores that the user has used are looked up anew, and how soon a store is tried again that failed.
_NEW_STORES_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 2.0


@frozen
class Heard:
    """A change in a store, which ``store`` names. ``cwd``: only sessions about this directory count there; None: all.
    ``session``: finds the one that it is about, if it is still there."""

    change: Change
    store: KnownStore | StorePlace
    cwd: str | None
    session: Callable[[], Session | None]


class Following:
    """Calls ``hear`` with what is committed to the stores from now on, on a thread of its own, until the process ends;
    or with the error that ended it before. ``stores`` gives those that there are, and is asked again when the user has
    used another one. ``tell`` is called with those that cannot be read."""

    def __init__(
        self,
        stores: Callable[[], Sequence[KnownStore]],
        hear: Callable[[Heard | Exception], None],
        tell: Callable[[list[UnavailableStore]], None],
    ) -> None:
        self._stores = stores
        self._hear = hear
        self._tell = tell
        self._began = now_ms()
        self._followed: dict[str, _Followed] = {}
        self._registered: Stamp | None = None
        self._looked_up = time.monotonic() - _NEW_STORES_SECONDS
        self._has_begun = False
        self._look()
        self._has_begun = True
        threading.Thread(target=self._run, name="mandrake-sessions-following", daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                time.sleep(_LOOK_SECONDS)
                self._look()
        except Exception as error:
            self._hear(error)

    def _look(self) -> None:
        self._look_up()
        followed = [each for each in self._followed.values() if not each.store.is_copy]
        undone = LimitedWork([each.job for each in followed], VISIT_SECONDS, ALL_VISITS_SECONDS).run()
        for each in followed:
            if each.store.path in undone:
                each.failed(UnavailableReason.IO)
        self._tell([wrong for each in self._followed.values() if (wrong := each.wrong) is not None])

    def _look_up(self) -> None:
        """Find stores that are followed from now on."""
        if time.monotonic() - self._looked_up < _NEW_STORES_SECONDS:
            return
        self._looked_up = time.monotonic()
        path = register_of_stores()
        registered, is_settled = stamp(str(path or ""))
        if registered != self._registered:
            for store in self._stores():
                known = self._followed.get(store.path)
                # A copy is a store of its own once somebody has opened it.
                if known is None or (known.store.is_copy and not store.is_copy):
                    self._followed[store.path] = _Followed(store, self._hear, self._began, is_later=self._has_begun)
            self._registered = registered if is_settled else None


class _Followed:
    """One of the stores, and how far it was read. ``began``: when the following of all began. ``is_later``: it was
    found since, and may be just being made."""

    def __init__(self, store: KnownStore, hear: Callable[[Heard], None], began: int, *, is_later: bool) -> None:
        self.store = store
        self._hear = hear
        self._began = began
        self._position: int | None = None
        self._stamp: Stamp | None = None
        self._failures = 0
        # One that is just being made, or was read before, may fail for once, as while somebody holds its lock.
        self._patience = 1 if is_later else 0
        self._reason: UnavailableReason | None = UnavailableReason.COPIED if store.is_copy else None
        self._not_before = 0.0
        self._visit = Visit(store.path, store.owner)

    @property
    def wrong(self) -> UnavailableStore | None:
        """Why it cannot be read."""
        if self._reason is None or 0 < self._failures <= self._patience:
            return None
        return UnavailableStore(self.store.path, self._reason, self.store.store_id)

    @property
    def job(self) -> Job:
        self._visit = Visit(self.store.path, self.store.owner)
        return Job(self.store.path, self._look, self._visit.interrupt)

    def failed(self, reason: UnavailableReason) -> None:
        """It is tried again later."""
        self._reason = reason
        if reason is UnavailableReason.GONE:
            # When it is there again, somebody may be just making it.
            self._failures, self._patience = 0, 1
        else:
            self._failures += 1
        self._not_before = time.monotonic() + _AGAIN_SECONDS

    def _look(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            found, is_settled = stamp(self.store.path)
            if found == self._stamp:
                return
            while self._read_once():
                pass
            self._stamp = found if is_settled else None
        except Exception as error:
            self.failed(why_unavailable(error, self.store.path))
        else:
            self._reason, self._failures, self._patience = None, 0, 1

    def _read_once(self) -> bool:
        """Take a page of what is new; gives whether there may be more."""
        before = self._position
        self._position, changes, sessions = self._visit.run(self._read)
        for change in changes:
            self._hear(Heard(change, self.store, None, partial(sessions.get, change.session_id)))
        return self._position != before

    def _read(self, visited: VisitedStore) -> tuple[int, list[Change], dict[str, Session]]:
        feed = Feed(visited)
        if (visited.store_id or "") != self.store.store_id:
            # Another store is there by now. Positions in the one before mean nothing.
            self.store, self._position = evolve(self.store, store_id=visited.store_id or ""), None
        if self._position is None:
            return self._beginning(feed), [], {}
        try:
            changes = feed.changes_since(self._position)
        except FeedPruned:
            return feed.last_seq(), [], {}
        position = changes[-1].seq if changes else self._position
        return position, changes, feed.sessions_now({change.session_id for change in changes})

    def _beginning(self, feed: Feed) -> int:
        """Where the following of a store begins: now, or with the first change of one that was made since."""
        with suppress(FeedPruned):
            first = {change.session_id for change in feed.changes_since(0, limit=1)}
            if any(session.created_at >= self._began for session in feed.sessions_now(first).values()):
                return 0
        return feed.last_seq()

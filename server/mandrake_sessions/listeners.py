"""Calls the listeners of an embedding program, on one thread: with every committed change, of this process and others,
in order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from mandrake_sessions.errors import FeedPruned, SessionsError
from mandrake_sessions.model import Change
from mandrake_sessions.operations.feed import Feed
from mandrake_sessions.store.interface import Commit, Store

Listener = Callable[[Change], None]

SHORTEST_LOOK = 0.002
LONGEST_LOOK = 0.02
# After so many looks without a change, the next looks come later.
PATIENCE = 100


class ListenerThread:
    """Calls every listener for every change committed after it was added. It runs only while there is one."""

    def __init__(self, store: Store, feed: Feed, logger: logging.Logger) -> None:
        self._feed = feed
        self._store = store
        self._logger = logger
        self._wake = threading.Event()
        self._stopping = False
        self._failing = False
        self._lock = threading.Lock()
        self._listeners: dict[object, tuple[int, Listener]] = {}
        self._begin()
        self._off_commit = self._store.on_commit(self._wake_up)
        self._thread = threading.Thread(target=self._run, name="mandrake-sessions-feed", daemon=True)
        self._thread.start()

    def add(self, listener: Listener) -> Callable[[], None]:
        """Call a listener for what is committed from now on; gives the function that removes it."""
        key = object()
        with self._lock:
            self._listeners[key] = (self._feed.last_seq(), listener)

        def remove() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return remove

    def stop(self) -> None:
        """Deliver what is committed, then end. The thread calls no listener after this returns."""
        self._off_commit()
        self._stopping = True
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
            self._watch.close()

    def _wake_up(self, _: Commit) -> None:
        """This process has committed something: look now."""
        self._wake.set()

    def _run(self) -> None:
        quiet = 0
        while not self._stopping:
            woken = self._wake.wait(SHORTEST_LOOK if quiet < PATIENCE else LONGEST_LOOK)
            self._wake.clear()
            quiet = 0 if self._look(woken=woken) else quiet + 1
        # Changes committed after the last look, but before the end.
        self._look(woken=True)

    def _begin(self) -> None:
        """Follow the store that is open now, from now on."""
        # All or nothing, if something cannot be read: then the next try starts where this one did.
        reconnects, position = self._store.reconnects, self._feed.last_seq()
        store_id, watch = self._feed.store_id(), self._store.watch()
        self._reconnects, self._position, self._store_id, self._watch = reconnects, position, store_id, watch

    def _begin_again(self) -> None:
        """The store has been opened again. Positions in another store mean nothing."""
        position, store_id, watch = self._position, self._store_id, self._watch
        self._begin()
        watch.close()
        self._position = position
        if self._store_id != store_id:
            self._position = self._store.reopened_at
            self._logger.warning(
                "the store was deleted or replaced: listeners receive the changes of another store from now on"
            )
            with self._lock:
                self._listeners = {key: (0, listener) for key, (_, listener) in self._listeners.items()}

    def _look(self, *, woken: bool) -> bool:
        """Deliver new changes; gives whether there may have been any."""
        try:
            if not self._store.is_current or self._store.reconnects != self._reconnects:
                self._begin_again()
                woken = True
            news = self._watch.moved() or woken
            if news:
                self._deliver()
        except SessionsError as error:
            if not self._failing:
                self._logger.warning("the feed cannot be read; the manager tries again: %s", error)
            self._failing = True
            return woken
        self._failing = False
        return news

    def _changes(self) -> list[Change]:
        try:
            return self._feed.changes_since(self._position)
        except FeedPruned as error:
            self._logger.warning("listeners were too slow and missed changes: %s", error)
            self._position = self._feed.last_seq()
            return []

    def _deliver(self) -> None:
        while changes := self._changes():
            for change in changes:
                self._position = change.seq
                with self._lock:
                    listeners = list(self._listeners.values())
                for since, listener in listeners:
                    if change.seq > since:
                        self._call(listener, change)

    def _call(self, listener: Listener, change: Change) -> None:
        """A listener that fails must not keep the others from being called."""
        try:
            listener(change)
        except Exception:
            self._logger.exception("a listener raised on change %d; it stays a listener", change.seq)

"""Following one store: what was committed is read from the feed and sent to the subscriptions, a slice at a time.

Subscriptions that have seen everything read on together, from the newest position. Those behind are caught up by one
sweep over the feed, from the lowest of their positions on; a subscription that begins below the sweep waits for the
next one. So the feed is read about once, however many subscriptions start at however many places of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mandrake_sessions.connection.look import Lookout
from mandrake_sessions.connection.read_points import ReadPoints
from mandrake_sessions.connection.subscription import Subscription, SubscriptionIndex
from mandrake_sessions.connection.told import Told
from mandrake_sessions.errors import FeedPruned, SessionsError
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Change, Session
from mandrake_sessions.store.interface import Commit
from mandrake_sessions.transport.outbound import Outbound

logger = logging.getLogger(__name__)

# How many changes are read at once.
READ_LIMIT = 500
# After so many messages, or seconds, the event loop has its turn.
SLICE_MESSAGES = 256
SLICE_SECONDS = 0.01


class StoreFollower:
    """The subscriptions to one store, and the looking for others' commits. ``go_on`` asks for another ``pump`` soon."""

    def __init__(
        self, manager: SessionManager, outbound: Outbound, points: ReadPoints, go_on: Callable[[], None]
    ) -> None:
        self.manager = manager
        self.subscriptions = SubscriptionIndex()
        # Whether there is something committed that was not sent: the client does not read, or the slice was over.
        self.is_behind = False
        # Whether the last try to read it failed, so that nothing is known to wait for the client.
        self.is_stuck = False
        # What the last try failed with.
        self._failed = ""
        self._outbound = outbound
        self._points = points
        self._go_on = go_on
        # Where the sweep for those behind stands.
        self._sweep: int | None = None
        # What was read and not told to all yet, by the position that it follows: for the newest, and for the sweep.
        self._ahead: dict[int, list[Change]] = {}
        self._told = Told(self._session_now)
        # What this process committed last, of which nothing need be read.
        self._commit: Commit | None = None
        self._off_commit: Callable[[], None] = lambda: None
        self._follow()

    def _follow(self) -> None:
        """Begin to look at the file that the manager has open now."""
        self._reconnects = self.manager.store.reconnects
        self._store_id = self.manager.feed.store_id()
        self._watch = self.manager.store.watch()
        self._lookout = Lookout(self._watch, self._hear)
        self._commit = None
        self._off_commit = self.manager.store.on_commit(self._committed)

    def _committed(self, commit: Commit) -> None:
        """Called on whatever thread has committed; of two that do so at once, the earlier may come later."""
        known = self._commit
        if known is None or commit.seq > known.seq:
            self._commit = commit

    def close(self) -> None:
        self._off_commit()
        self._lookout.close()
        self._watch.close()

    def let_go(self) -> None:
        """Close what looks at the file, which is to be opened anew: see ``opening.py``. ``reopened`` looks again."""
        self.close()
        self._reconnects = -1

    def reopened(self) -> None:
        """The store may have been opened anew: another one ends the subscriptions, since their positions mean nothing
        in it; for the same one they go on. Raises SessionsError."""
        if self.manager.store.is_current and self.manager.store.reconnects != self._reconnects:
            known = self._store_id
            self.close()
            self._follow()
            self.is_behind = True
            self._forget()
            self._sweep = None
            if self._store_id != known:
                self.end_all("closed")
                self._outbound.flush()

    def end_all(self, reason: str) -> None:
        """Tell the client that nothing more comes."""
        for subscription in self.subscriptions.every():
            self._end(subscription, reason)

    def try_pump(self, *, look: bool) -> None:
        """``pump``; what goes wrong with it must neither keep an answer back nor end the looking."""
        self.is_stuck = True
        try:
            self.pump(look=look)
            self.is_stuck, self._failed = False, ""
        except SessionsError as error:
            self._tell_once(str(error), None)
        except Exception as error:
            self._tell_once(type(error).__name__, error)

    def _tell_once(self, why: str, error: Exception | None) -> None:
        """It is tried again with each look."""
        if why != self._failed:
            self._failed = why
            logger.warning("the feed could not be read or sent, it will be tried again: %s", why, exc_info=error)

    def pump(self, *, look: bool = True) -> None:
        """Send what was committed since, as far as the client reads, for one slice of time.

        With ``look=False`` only what this process knows of is, which others' commits wait behind till the next look.
        """
        # What was held back may be others' commits, of which nothing will remind us.
        look = look or self.is_behind
        self.is_behind = True
        until = time.monotonic() + SLICE_SECONDS
        while not self._outbound.is_full:
            try:
                moved = self._step(until, look=look)
            except FeedPruned:
                self._end_lowest()
                continue
            if not moved:
                self.is_behind = False
                self._forget()
                return
            if time.monotonic() >= until:
                self._go_on()
                return

    def _forget(self) -> None:
        self._ahead.clear()
        self._told.forget()

    def _step(self, until: float, *, look: bool) -> bool:
        """Tell those that have seen everything, then those behind, of what comes next; whether there may be more."""
        every = self.subscriptions.every()
        if not every:
            return False
        newest = max(subscription.position for subscription in every)
        told = self._advance(newest, self._changes_since(newest, look=look), until)
        if self._sweep is None or self._sweep >= newest:
            # Whoever began below the sweep, or a whole new lap.
            self._sweep = min((subscription.position for subscription in self.subscriptions.every()), default=newest)
        self._ahead = {seq: found for seq, found in self._ahead.items() if seq in (told, newest, self._sweep)}
        if self._sweep < newest:
            if not self._outbound.is_full:
                self._sweep = self._advance(self._sweep, self._changes_since(self._sweep, look=True), until)
            return told is not None or self._sweep is not None
        # Most often it was one commit of this process, and all of it is told.
        return told is not None and (look or self._recent_changes(told) != [])

    def _changes_since(self, seq: int, *, look: bool) -> list[Change]:
        if self.manager.store.reconnects != self._reconnects:
            # What the positions mean in the file that is there now is not known until `reopened` has looked.
            return []
        if seq in self._ahead:
            return self._ahead[seq]
        recent = self._recent_changes(seq)
        if recent is None or (look and not recent):
            # The file is read; what was just committed was in place when it was acknowledged.
            return self.manager.feed.changes_since(seq, limit=READ_LIMIT) if self.manager.store.is_current else []
        if recent:
            self._lookout.own_commit()
        return recent

    def _recent_changes(self, seq: int) -> list[Change] | None:
        """What this process itself committed above ``seq``, where that is known without reading the store: the appends
        of its last transaction, if they are all that came after ``seq``."""
        commit = self._commit
        if commit is None:
            return None
        if seq == commit.seq:
            return []
        return commit.changes if seq == commit.seq_before else None

    def _advance(self, start: int, changes: list[Change], until: float) -> int | None:
        """Tell the changes to the subscriptions at ``start`` or beyond; gives how far, None if there was nothing."""
        if not changes:
            return None
        self._ahead.pop(start, None)
        runs: dict[Subscription, list[Change]] = {}
        through, messages, told, sent = start, 0, 0, False
        for change in changes:
            for subscription in self.subscriptions.about(change):
                if not start <= subscription.position < change.seq:
                    continue
                run = runs.get(subscription)
                if run is not None and self._joins(subscription, run[-1], change):
                    run.append(change)
                    continue
                if run is not None:
                    if not self._send(subscription, run):
                        return self._held_back(start, changes, through, runs)
                    sent = True
                if self.subscriptions.get(subscription.id) is None:
                    # The run before took away what it was about.
                    del runs[subscription]
                    continue
                runs[subscription] = [change]
                messages += 1
            through, told = change.seq, told + 1
            if messages >= SLICE_MESSAGES or time.monotonic() >= until:
                break
        for subscription, run in sorted(runs.items(), key=lambda entry: entry[1][-1].seq):
            # Each may tell of a large session or turn.
            is_late = sent and time.monotonic() >= until
            if is_late or not self._send(subscription, run):
                return self._held_back(start, changes, through, runs)
            sent = True
            del runs[subscription]
        if told < len(changes):
            self._ahead[through] = changes[told:]
        self._move(start, through, runs)
        return through

    def _joins(self, subscription: Subscription, earlier: Change, later: Change) -> bool:
        """A change of a session tells the whole session, so that one may reach across what was read."""
        if not subscription.joins(earlier, later):
            return False
        return not subscription.turns or not self._points.separate(earlier.seq, later.seq)

    def _held_back(
        self, start: int, changes: list[Change], through: int, runs: dict[Subscription, list[Change]]
    ) -> int:
        """The client does not read, or the time is over: these runs were not sent, and are told again from ``start``
        on. What was read is held meanwhile, about 1 MiB or one change, so that it is not read once for each
        subscription."""
        self._move(start, through, runs)
        self._ahead[start] = changes
        return start

    def _move(self, start: int, through: int, but: dict[Subscription, list[Change]]) -> None:
        for subscription in self.subscriptions.every():
            if start <= subscription.position < through and subscription not in but:
                subscription.position = through

    def _send(self, subscription: Subscription, run: list[Change]) -> bool:
        """Send a run and move the subscription; False, with nothing done, if the client does not read."""
        if self._outbound.is_full:
            return False
        self._outbound.send_parts(self._told.message(subscription, run))
        subscription.position = run[-1].seq
        if subscription.is_ended_by(run[-1]):
            self._end(subscription, "deleted")
        return True

    def _end(self, subscription: Subscription, reason: str) -> None:
        self.subscriptions.remove(subscription)
        self._outbound.send(subscription.ended(reason))

    def _end_lowest(self) -> None:
        """The position that is furthest behind is no longer kept."""
        every = self.subscriptions.every()
        lowest = min((subscription.position for subscription in every), default=0)
        for subscription in every:
            if subscription.position == lowest:
                self._end(subscription, "pruned")
        self._sweep = None

    def _session_now(self, session_id: str) -> Session | None:
        return self.manager.feed.sessions_now({session_id}).get(session_id)

    def _hear(self) -> None:
        """Somebody has committed. Our own commits are heard of here too; most often there is nothing behind them."""
        now = self._watch.last_seq()
        if any(subscription.position < now for subscription in self.subscriptions.every()):
            self.try_pump(look=True)
            self._outbound.flush()

"""Following one store: what was committed is read from the feed and sent to the subscriptions, a slice at a time.

Subscriptions that have seen everything read on together, from the newest position. Those behind are caught up by one
sweep over the feed, from the lowest of their positions on; a subscription that begins below the sweep waits for the
next one. So the feed is read about once, however many subscriptions start at however many places of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from mandrake_sessions.connection.read_points import ReadPoints
from mandrake_sessions.connection.runner import Runner
from mandrake_sessions.connection.store_changes import PrefetchedChanges, StoreChanges
from mandrake_sessions.connection.subscription import ServerSubscription, SubscriptionIndex
from mandrake_sessions.connection.subscription_sender import SubscriptionSender
from mandrake_sessions.errors import FeedPruned, SessionsError
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Change
from mandrake_sessions.protocol.results import EndReason
from mandrake_sessions.protocol.words import in_wire_words
from mandrake_sessions.transport.outbound import Outbound

logger = logging.getLogger(__name__)

# After so many messages, or seconds, the event loop has its turn.
SLICE_MESSAGES = 256
SLICE_SECONDS = 0.01


class StoreFollower:
    """The subscriptions to one store. ``go_on`` asks for another ``pump`` soon; ``give_up`` is called when the store
    cannot be followed any more. ``store_id``: of the store, where it is known."""

    def __init__(
        self,
        manager: SessionManager,
        outbound: Outbound,
        points: ReadPoints,
        runner: Runner,
        go_on: Callable[[], None],
        give_up: Callable[[Exception], None],
        store_id: str | None = None,
    ) -> None:
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
        self._give_up = give_up
        # Where the sweep for those behind stands.
        self._sweep: int | None = None
        # What was read and not told to all yet, by the position that it follows: for the newest, and for the sweep.
        self._ahead: dict[int, list[Change]] = {}
        kind = StoreChanges if manager.store.runs_on == "loop" else PrefetchedChanges
        self._changes = kind(manager, runner, self, store_id)
        self._sender = SubscriptionSender(self.subscriptions, outbound, self._changes.session)

    def close(self) -> None:
        self._changes.close()

    def detach(self) -> None:
        """The store is about to be opened again: nothing of it is used until ``reopened``."""
        self._changes.detach()

    def reopened(self) -> None:
        """The store may have been opened again. Raises SessionsError."""
        self._changes.reopened()

    def attached(self, *, is_another: bool) -> None:
        """The store was opened again. Where it is another one now the subscriptions end, since their positions mean
        nothing in it; for the same one they go on."""
        self.is_behind = True
        self._forget()
        self._sweep = None
        if is_another:
            self.end_all("closed")
            self._outbound.flush()

    def failed(self, error: Exception) -> None:
        self._give_up(error)

    def is_behind_of(self, seq: int) -> bool:
        return any(subscription.position < seq for subscription in self.subscriptions.every())

    def news(self) -> None:
        self.try_pump(look=True)
        self._outbound.flush()

    def end_all(self, reason: EndReason) -> None:
        """Tell the client that nothing more comes."""
        self._sender.end_all(reason)

    def try_pump(self, *, look: bool) -> None:
        """``pump``; what goes wrong with it must neither keep an answer back nor end the looking."""
        self.is_stuck = True
        try:
            self.pump(look=look)
            self.is_stuck, self._failed = False, ""
        except SessionsError as error:
            self._tell_once(in_wire_words(error), None)
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
                # The position that is furthest behind is no longer kept.
                self._sender.end_lowest("pruned")
                self._sweep = None
                continue
            if not moved:
                self.is_behind = self._changes.is_waiting
                if not self.is_behind:
                    self._forget()
                return
            if time.monotonic() >= until:
                self._go_on()
                return

    def _forget(self) -> None:
        self._ahead.clear()
        self._sender.forget()
        if self._changes.sessions:
            self._changes.sessions.clear()

    def _step(self, until: float, *, look: bool) -> bool:
        """Send the next changes to up-to-date subscriptions, then to the others; whether there may be more."""
        every = self.subscriptions.every()
        if not every:
            return False
        newest = max([subscription.position for subscription in every])
        told = self._advance(newest, self._ahead.get(newest) or self._changes.since(newest, look=look), until)
        if len(every) == 1 and not self._ahead:
            # There is none behind.
            self._sweep = None
            return told is not None and (look or self._changes.recent(told) != [])
        if self._sweep is None or self._sweep >= newest:
            # Whoever began below the sweep, or a whole new lap.
            self._sweep = min([subscription.position for subscription in self.subscriptions.every()], default=newest)
        if self._ahead:
            self._ahead = {seq: found for seq, found in self._ahead.items() if seq in (told, newest, self._sweep)}
        if self._sweep < newest:
            if not self._outbound.is_full:
                changes = self._ahead.get(self._sweep) or self._changes.since(self._sweep, look=True)
                self._sweep = self._advance(self._sweep, changes, until)
            return told is not None or self._sweep is not None
        # Most often it was one commit of this process, and all of it is told.
        return told is not None and (look or self._changes.recent(told) != [])

    def _advance(self, start: int, changes: list[Change], until: float) -> int | None:
        """Tell the changes to the subscriptions at ``start`` or beyond; gives how far, None if there was nothing."""
        if not changes:
            return None
        self._ahead.pop(start, None)
        runs: dict[ServerSubscription, list[Change]] = {}
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
                    if not self._sender.send(subscription, run):
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
            if is_late or not self._sender.send(subscription, run):
                return self._held_back(start, changes, through, runs)
            sent = True
            del runs[subscription]
        if told < len(changes):
            self._ahead[through] = changes[told:]
        self._move(start, through, runs)
        return through

    def _joins(self, subscription: ServerSubscription, earlier: Change, later: Change) -> bool:
        """A change of a session tells the whole session, so that one may reach across what was read."""
        if not subscription.joins(earlier, later):
            return False
        return not subscription.turns or not self._points.separate(earlier.seq, later.seq)

    def _held_back(
        self, start: int, changes: list[Change], through: int, runs: dict[ServerSubscription, list[Change]]
    ) -> int:
        """The client does not read, or time is up. The follower sends these runs again from ``start``. What was read is
        held meanwhile, about 1 MiB or one change, so that it is not read once for each subscription."""
        self._move(start, through, runs)
        self._ahead[start] = changes
        return start

    def _move(self, start: int, through: int, but: dict[ServerSubscription, list[Change]]) -> None:
        for subscription in self.subscriptions.every():
            if start <= subscription.position < through and subscription not in but:
                subscription.position = through

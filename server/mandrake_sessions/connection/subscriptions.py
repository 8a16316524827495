"""Subscriptions of the connection: each a position in the feed of its store, and nothing more.

Whenever something was committed the feed is read from there (``follower.py``), and what a subscription is about is
sent; where the client does not read, the position stays where it is. Others' commits are heard of by looking (see
``commit_poller.py``); without subscriptions nobody looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary

from mandrake_sessions.absent import AbsentStore
from mandrake_sessions.connection.awaited_stores import AwaitedStores
from mandrake_sessions.connection.follower import StoreFollower
from mandrake_sessions.connection.read_points import ReadPoints
from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.connection.subscription import ServerSubscription
from mandrake_sessions.errors import Conflict, SessionsError
from mandrake_sessions.limits import MAX_SUBSCRIPTIONS
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import FeedStart, Scope
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.transport.outbound import Outbound

logger = logging.getLogger(__name__)


def _too_many(count: int) -> Conflict:
    return Conflict(
        "tooManySubscriptions",
        f"this connection has {count} subscriptions, and may have no more; end one with turn/unsubscribe or "
        "session/unsubscribe, or follow a wider scope with one",
        expected=MAX_SUBSCRIPTIONS,
        actual=count + 1,
    )


class NewSubscription:
    """What a call that subscribes is given (``handlers.context.Beginning``), on whatever thread reads the first state.
    ``begin``, on the loop's thread, once the whole answer is made: a call that fails leaves no subscription behind."""

    def __init__(self, all_of_them: ConnectionSubscriptions, manager: Conversations) -> None:
        self._all = all_of_them
        self._manager = manager
        self._reconnects = manager.store.reconnects
        self.made: ServerSubscription | None = None
        self._store_id: str | None = None

    def follow_turns(self, manager: Conversations, scope: Scope, start: FeedStart, *, raw: bool, text: bool) -> str:
        return self._make(manager, start, ServerSubscription(scope, start.seq, turns=True, raw=raw, text=text))

    def follow_sessions(self, manager: Conversations, scope: Scope, start: FeedStart) -> str:
        return self._make(manager, start, ServerSubscription(scope, start.seq, turns=False, raw=False, text=False))

    @property
    def is_current(self) -> bool:
        """Whether the file that its first state was read from is still the one that is open."""
        return self.made is None or (
            self._manager.store.is_current and self._manager.store.reconnects == self._reconnects
        )

    def begin(self) -> None:
        """Raises SessionsError; nothing has begun then."""
        if self.made is not None:
            self._all.add(self._manager, self.made, self._store_id)

    def _make(self, manager: Conversations, start: FeedStart, subscription: ServerSubscription) -> str:
        self._manager, self.made, self._store_id = manager, subscription, start.store_id
        return subscription.id


class ConnectionSubscriptions:
    """All subscriptions of the connection; see ``handlers.context.Subscriptions``."""

    def __init__(self, outbound: Outbound, runners: Runners) -> None:
        self._loop = asyncio.get_running_loop()
        self._outbound = outbound
        self._runners = runners
        self._followers: dict[SessionManager, StoreFollower] = {}
        self.awaited = AwaitedStores()
        self._points: WeakKeyDictionary[Conversations, ReadPoints] = WeakKeyDictionary()
        self._next: asyncio.Handle | None = None
        # Called when all that was committed is sent after more than one slice of it.
        self.on_caught_up: Callable[[], None] = lambda: None

    def was_given(self, manager: Conversations, seq: int) -> None:
        """The client gets a state of the store as it is at ``seq``: see ``ReadPoints``."""
        points = self._points.get(manager)
        if points is None:
            # Of two threads that come here at once, both get the same.
            points = self._points.setdefault(manager, ReadPoints())
        points.add(seq)

    def prepare(self, manager: Conversations) -> NewSubscription:
        """For one call that may begin a subscription; see ``NewSubscription``."""
        return NewSubscription(self, manager)

    def add(self, manager: Conversations, subscription: ServerSubscription, store_id: str | None) -> None:
        """Begin to send it what is committed. Raises Conflict where there are too many, and SessionsError."""
        self._check_room()
        if isinstance(manager, SessionManager):
            self._follow(manager, subscription, store_id)
        elif isinstance(manager, AbsentStore):
            self.awaited.add(manager, subscription)

    def end(self, subscription_id: str, *, turns: bool) -> bool:
        for follower in self._followers.values():
            subscription = follower.subscriptions.get(subscription_id)
            if subscription is not None and subscription.turns is turns:
                follower.subscriptions.remove(subscription)
                self._close_idle()
                return True
        return self.awaited.end(subscription_id, turns=turns)

    def pump(self, *, look: bool = False) -> None:
        """Send what this process committed, and with ``look`` what others did, to every subscription; where reading
        fails it is tried again at the next look."""
        for follower in list(self._followers.values()):
            follower.try_pump(look=look)
        self._close_idle()

    def detach(self, manager: SessionManager) -> None:
        """The store is about to be opened again, and must not be looked at until ``reopened``."""
        if manager in self._followers:
            self._followers[manager].detach()

    def reopened(self) -> None:
        """A store was opened, maybe again; those that could not be are left."""
        for manager, follower in list(self._followers.items()):
            try:
                follower.reopened()
            except SessionsError as error:
                self._give_up(manager, error)
        self._close_idle()

    @property
    def are_behind(self) -> bool:
        """Whether the client still has to read what was committed before it could be sent all of it."""
        return any(follower.is_behind and not follower.is_stuck for follower in self._followers.values())

    def close_for(self, manager: SessionManager | None) -> None:
        """The store is about to be closed, or could not be opened again: its subscriptions end."""
        follower = None if manager is None else self._followers.pop(manager, None)
        if follower is not None:
            follower.end_all("closed")
            follower.close()

    def begin(self, absent: AbsentStore | None, manager: SessionManager | None) -> None:
        """The store that some wait for was made and is open: they begin. None: it cannot be opened, they end."""
        for subscription in [] if absent is None else self.awaited.take(absent):
            if manager is None:
                self._outbound.send(subscription.ended("closed"))
            else:
                self._follow(manager, subscription)
                self._followers[manager].is_behind = True

    def close(self) -> None:
        """Stop looking; what is committed has been sent by ``pump``."""
        self.awaited.close()
        while self._followers:
            self._followers.popitem()[1].close()

    def _check_room(self) -> None:
        count = len(self.awaited) + sum(len(follower.subscriptions) for follower in self._followers.values())
        if count >= MAX_SUBSCRIPTIONS:
            raise _too_many(count)

    def _follow(self, manager: SessionManager, subscription: ServerSubscription, store_id: str | None = None) -> None:
        if manager not in self._followers:
            self._followers[manager] = StoreFollower(
                manager,
                self._outbound,
                self._points.setdefault(manager, ReadPoints()),
                self._runners.following(manager),
                self._pump_soon,
                partial(self._give_up, manager),
                store_id,
            )
        self._followers[manager].subscriptions.add(subscription)

    def _give_up(self, manager: SessionManager, error: Exception) -> None:
        logger.warning("subscriptions ended, since the store cannot be read: %s", error)
        self.close_for(manager)

    def _pump_soon(self) -> None:
        if self._next is None:
            self._next = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """The next slice of what is behind."""
        self._next = None
        self.pump()
        self._outbound.flush()
        if not self.are_behind:
            self.on_caught_up()

    def _close_idle(self) -> None:
        for manager, follower in list(self._followers.items()):
            if not len(follower.subscriptions):
                self._followers.pop(manager).close()

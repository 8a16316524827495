"""Subscriptions of the connection: each a position in the feed of its store, and nothing more.

Whenever something was committed the feed is read from there, and what a subscription is about is sent; where the
client does not read, the position stays where it is. Others' commits are heard of by looking (see ``look.py``); without
subscriptions nobody looks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mandrake_sessions.absent import AbsentStore
from mandrake_sessions.connection.births import Births
from mandrake_sessions.connection.jsonrpc import notification_message
from mandrake_sessions.connection.look import Lookout
from mandrake_sessions.connection.outbound import Outbound
from mandrake_sessions.errors import Conflict, FeedPruned, SessionsError
from mandrake_sessions.ids import new_id
from mandrake_sessions.limits import MAX_SUBSCRIPTIONS
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Change, ChangeKind, FeedStart, Scope, Session
from mandrake_sessions.protocol import notifications

logger = logging.getLogger(__name__)

# How many changes are read at once.
READ_LIMIT = 500


class Subscription:
    """Where one listener stands. ``turns``: whether it is told of turns, or of sessions."""

    def __init__(self, scope: Scope, position: int, *, turns: bool, raw: bool, text: bool) -> None:
        self.id = new_id()
        self.scope = scope
        self.position = position
        self.turns = turns
        self._raw = raw
        self._text = text

    def concerns(self, change: Change) -> bool:
        kinds = notifications.concerns_turns if self.turns else notifications.concerns_sessions
        return kinds(change) and self.scope.covers(change)

    def runs(self, changes: list[Change]) -> Iterator[list[Change]]:
        """The changes that concern it, neighbours that may be told as one together."""
        key = notifications.turn_run if self.turns else notifications.session_run
        run: list[Change] = []
        for change in filter(self.concerns, changes):
            if run and (key(change) is None or key(change) != key(run[-1])):
                yield run
                run = []
            run.append(change)
        if run:
            yield run

    def joined(self, run: list[Change]) -> Change:
        """A run as one change, under the seq of its last."""
        return notifications.joined_pieces(run) if self.turns and len(run) > 1 else run[-1]

    def message(self, change: Change, sessions: dict[str, Session]) -> dict[str, Any]:
        if self.turns:
            params = notifications.turn_updated(self.id, change, raw=self._raw, text=self._text)
            return notification_message("turn/updated", params)
        params = notifications.session_updated(self.id, change, sessions.get(change.session_id))
        return notification_message("session/updated", params)

    def is_ended_by(self, change: Change) -> bool:
        """Whether the change took away what the subscription is about."""
        narrowest = {
            ChangeKind.SESSION_DELETED: self.scope.session_id,
            ChangeKind.ROUND_DELETED: self.scope.round_id,
            ChangeKind.TURN_DELETED: self.scope.turn_id,
        }.get(change.kind)
        return narrowest is not None and self.scope.covers(change)


class StoreFollower:
    """The subscriptions to one store, and the looking for others' commits."""

    def __init__(self, manager: SessionManager, outbound: Outbound) -> None:
        self.manager = manager
        self.subscriptions: dict[str, Subscription] = {}
        # Whether there is something committed that was not sent, because the client does not read.
        self.is_behind = False
        # Whether the last try to read it failed, so that nothing is known to wait for the client.
        self.is_stuck = False
        self._outbound = outbound
        self._follow()

    def _follow(self) -> None:
        """Begin to look at the file that the manager has open now."""
        self._reconnects = self.manager.reconnects
        self._store_id = self.manager.store_id()
        self._watch = self.manager.watch()
        self._lookout = Lookout(self._watch, self._hear)

    def close(self) -> None:
        self._lookout.close()
        self._watch.close()

    def let_go(self) -> None:
        """Close what looks at the file, which is to be opened anew: see ``opening.py``. ``reopened`` looks again."""
        self.close()
        self._reconnects = -1

    def reopened(self) -> None:
        """The store may have been opened anew: another one ends the subscriptions, since their positions mean nothing
        in it; for the same one they go on. Raises SessionsError."""
        if self.manager.is_in_place and self.manager.reconnects != self._reconnects:
            known = self._store_id
            self.close()
            self._follow()
            self.is_behind = True
            if self._store_id != known:
                self.end_all("closed")
                self._outbound.flush()

    def pump(self, *, look: bool = True) -> None:
        """Send what was committed since, as far as the client reads: to all subscriptions in the order of ``seq``.

        With ``look=False`` only what this process knows of is, which others' commits wait behind till the next look.
        """
        # What a full door held back may be others' commits, of which nothing will remind us.
        look = look or self.is_behind
        self.is_behind = True
        while not self._outbound.is_full:
            behind = self._furthest_behind()
            try:
                changes = self._changes_since(behind[0].position, look=look) if behind else []
            except FeedPruned:
                self._end(behind, "pruned")
                continue
            if not changes:
                self.is_behind = False
                return
            self._send(behind, changes)

    def _changes_since(self, seq: int, *, look: bool) -> list[Change]:
        if self.manager.reconnects != self._reconnects or not self.manager.is_in_place:
            # What the positions mean in the file that is there now is not known until `reopened` has looked.
            return []
        recent = self.manager.recent_changes(seq)
        if recent is None or (look and not recent):
            return self.manager.changes_since(seq, limit=READ_LIMIT)
        if recent:
            self._lookout.own_commit()
        return recent

    def _send(self, behind: list[Subscription], changes: list[Change]) -> None:
        sessions = self._sessions_of(changes) if any(not s.turns for s in behind) else {}
        found = [entry for subscription in behind for entry in self._messages(subscription, changes, sessions)]
        if len(behind) > 1:
            found.sort(key=lambda entry: entry[0])
        for _, message in found:
            self._outbound.send(message)

    def end_all(self, reason: str) -> None:
        """Tell the client that nothing more comes."""
        self._end(list(self.subscriptions.values()), reason)

    def _end(self, subscriptions: list[Subscription], reason: str) -> None:
        for subscription in subscriptions:
            del self.subscriptions[subscription.id]
            self._outbound.send(_ended(subscription, reason))

    def _furthest_behind(self) -> list[Subscription]:
        """Those at the lowest position, which read on together."""
        every = list(self.subscriptions.values())
        if len(every) < 2:
            return every
        lowest = min(subscription.position for subscription in every)
        return [subscription for subscription in every if subscription.position == lowest]

    def _sessions_of(self, changes: list[Change]) -> dict[str, Session]:
        ids = {change.session_id for change in changes if notifications.concerns_sessions(change)}
        return self.manager.sessions_now(ids)

    def _messages(
        self, subscription: Subscription, changes: list[Change], sessions: dict[str, Session]
    ) -> list[tuple[int, dict[str, Any]]]:
        """What one subscription is told of these changes, each message with its seq; moves its position."""
        told: list[Change] = []
        ended = False
        for run in subscription.runs(changes):
            told.append(subscription.joined(run))
            if ended := subscription.is_ended_by(run[-1]):
                break
        subscription.position = told[-1].seq if ended else changes[-1].seq
        messages = [(change.seq, subscription.message(change, sessions)) for change in told]
        if ended:
            del self.subscriptions[subscription.id]
            messages.append((subscription.position, _ended(subscription, "deleted")))
        return messages

    def try_pump(self, *, look: bool) -> None:
        """``pump``; what goes wrong with it must neither keep an answer back nor end the looking."""
        self.is_stuck = True
        try:
            self.pump(look=look)
            self.is_stuck = False
        except SessionsError as error:
            logger.warning("the feed could not be read, it will be tried again: %s", error)
        except Exception:
            logger.exception("the feed could not be sent, it will be tried again")

    def _hear(self) -> None:
        """Somebody has committed. Our own commits are heard of here too; most often there is nothing behind them."""
        now = self._watch.last_seq()
        if any(subscription.position < now for subscription in self.subscriptions.values()):
            self.try_pump(look=True)
            self._outbound.flush()


def _ended(subscription: Subscription, reason: str) -> dict[str, Any]:
    params = {"subscriptionId": subscription.id, "seq": subscription.position, "reason": reason}
    return notification_message("subscription/ended", params)


def _too_many(count: int) -> Conflict:
    return Conflict(
        "tooManySubscriptions",
        f"this connection has {count} subscriptions, and may have no more; end one with turn/unsubscribe or "
        "session/unsubscribe, or follow a wider scope with one",
        expected=MAX_SUBSCRIPTIONS,
        actual=count + 1,
    )


class ConnectionSubscriptions:
    """All subscriptions of the connection; see ``handlers.context.Subscriptions``."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._followers: dict[SessionManager, StoreFollower] = {}
        self.births = Births()

    def follow_turns(self, manager: SessionManager, scope: Scope, start: FeedStart, *, raw: bool, text: bool) -> str:
        return self._add(manager, Subscription(scope, start.seq, turns=True, raw=raw, text=text))

    def follow_sessions(self, manager: SessionManager, scope: Scope, start: FeedStart) -> str:
        return self._add(manager, Subscription(scope, start.seq, turns=False, raw=False, text=False))

    def end(self, subscription_id: str, *, turns: bool) -> bool:
        for follower in self._followers.values():
            subscription = follower.subscriptions.get(subscription_id)
            if subscription is not None and subscription.turns is turns:
                del follower.subscriptions[subscription_id]
                self._close_idle()
                return True
        return self.births.end(subscription_id, turns=turns)

    def pump(self, *, look: bool = False) -> None:
        """Send what this process committed, and with ``look`` what others did, to every subscription; where reading
        fails it is tried again at the next look."""
        for follower in list(self._followers.values()):
            follower.try_pump(look=look)
        self._close_idle()

    def let_go(self, manager: SessionManager) -> None:
        """The store is about to be opened anew, and must not be looked at until ``reopened``."""
        if manager in self._followers:
            self._followers[manager].let_go()

    def reopened(self) -> None:
        """A store was opened, maybe one anew; those that could not be are left."""
        for manager, follower in list(self._followers.items()):
            try:
                follower.reopened()
            except SessionsError as error:
                logger.warning("subscriptions ended, since the store cannot be read: %s", error)
                self.leave(manager)
        self._close_idle()

    @property
    def are_behind(self) -> bool:
        """Whether the client still has to read what was committed before it could be sent all of it."""
        return any(follower.is_behind and not follower.is_stuck for follower in self._followers.values())

    def leave(self, manager: SessionManager | None) -> None:
        """The store is about to be closed, or could not be opened anew: its subscriptions end."""
        follower = None if manager is None else self._followers.pop(manager, None)
        if follower is not None:
            follower.end_all("closed")
            follower.close()

    def begin(self, absent: AbsentStore | None, manager: SessionManager | None) -> None:
        """The store that some wait for was made and is open: they begin. None: it cannot be opened, they end."""
        for subscription in [] if absent is None else self.births.take(absent):
            if manager is None:
                self._outbound.send(_ended(subscription, "closed"))
            else:
                self._follow(manager, subscription)
                self._followers[manager].is_behind = True

    def close(self) -> None:
        """Stop looking; what is committed has been sent by ``pump``."""
        self.births.close()
        while self._followers:
            self._followers.popitem()[1].close()

    def _add(self, manager: SessionManager, subscription: Subscription) -> str:
        count = len(self.births) + sum(len(follower.subscriptions) for follower in self._followers.values())
        if count >= MAX_SUBSCRIPTIONS:
            raise _too_many(count)
        if isinstance(manager, AbsentStore):
            self.births.add(manager, subscription)
        else:
            self._follow(manager, subscription)
        return subscription.id

    def _follow(self, manager: SessionManager, subscription: Subscription) -> None:
        if manager not in self._followers:
            self._followers[manager] = StoreFollower(manager, self._outbound)
        self._followers[manager].subscriptions[subscription.id] = subscription

    def _close_idle(self) -> None:
        for manager, follower in list(self._followers.items()):
            if not follower.subscriptions:
                self._followers.pop(manager).close()

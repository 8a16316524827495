"""Sending what happened to subscriptions, and that nothing more comes."""

from __future__ import annotations

from collections.abc import Callable

from mandrake_sessions.connection.notification_cache import NotificationCache
from mandrake_sessions.connection.subscription import ServerSubscription, SubscriptionIndex
from mandrake_sessions.model import Change, Session
from mandrake_sessions.protocol.results import EndReason
from mandrake_sessions.transport.outbound import Outbound


class SubscriptionSender:
    """For the subscriptions to one store. ``find_session`` gives a session as it is now."""

    def __init__(
        self, subscriptions: SubscriptionIndex, outbound: Outbound, find_session: Callable[[str], Session | None]
    ) -> None:
        self._subscriptions = subscriptions
        self._outbound = outbound
        self._notifications = NotificationCache(find_session)
        # What was sent is not sent again.
        self.forget = self._notifications.forget

    def send(self, subscription: ServerSubscription, run: list[Change]) -> bool:
        """Send a run of joined changes and move the subscription; False, with nothing done, if the client does not
        read."""
        if self._outbound.is_full:
            return False
        is_shared = len(self._subscriptions) > 1
        self._outbound.send_parts(self._notifications.message(subscription, run, is_shared=is_shared))
        subscription.position = run[-1].seq
        if subscription.is_ended_by(run[-1]):
            self.end(subscription, "deleted")
        return True

    def end(self, subscription: ServerSubscription, reason: EndReason) -> None:
        """Tell the client that nothing more comes."""
        self._subscriptions.remove(subscription)
        self._outbound.send(subscription.ended(reason))

    def end_all(self, reason: EndReason) -> None:
        for subscription in self._subscriptions.every():
            self.end(subscription, reason)

    def end_lowest(self, reason: EndReason) -> None:
        """End those that are furthest behind."""
        every = self._subscriptions.every()
        lowest = min((subscription.position for subscription in every), default=0)
        for subscription in every:
            if subscription.position == lowest:
                self.end(subscription, reason)

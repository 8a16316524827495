"""A subscription: a position in the feed and the notifications after it."""

from __future__ import annotations

from typing import Any

from mandrake_sessions.ids import new_id
from mandrake_sessions.model import Change, ChangeKind, Scope, Session
from mandrake_sessions.protocol import notifications
from mandrake_sessions.protocol.results import EndReason
from mandrake_sessions.transport.jsonrpc import notification_message

# Which id of a scope each deletion takes away.
_DELETED = {
    ChangeKind.SESSION_DELETED: "session_id",
    ChangeKind.ROUND_DELETED: "round_id",
    ChangeKind.TURN_DELETED: "turn_id",
}
_About = tuple[ChangeKind, str, str | None, str | None, str | None]
# So many answers of `about` are kept, each of which may be as long as the list of all subscriptions.
_KEPT = 64


class ServerSubscription:
    """What one client follows, and how far it was sent: everything up to ``position``. ``turns``: of turns, or else of
    sessions."""

    def __init__(self, scope: Scope, position: int, *, turns: bool, raw: bool, text: bool) -> None:
        self.id = new_id()
        self.scope = scope
        self.position = position
        self.turns = turns
        self._raw = raw
        self._text = text
        # What its notifications say of a change, beside its id, is the same for all with the same variant.
        self.variant = (turns, raw, text)
        method = "turn/updated" if turns else "session/updated"
        # Of each of its notifications.
        self.beginning = f'{{"jsonrpc":"2.0","method":"{method}","params":{{"subscriptionId":"{self.id}"'.encode(
            "ascii"
        )
        self._run_key = notifications.turn_run if turns else notifications.session_run
        self._concerns_kind = notifications.concerns_turns if turns else notifications.concerns_sessions

    def concerns(self, change: Change) -> bool:
        return self._concerns_kind(change) and self.scope.covers(change)

    def joins(self, earlier: Change, later: Change) -> bool:
        """Whether two neighbouring changes of this subscription may be told as one."""
        key = self._run_key(later)
        return key is not None and key == self._run_key(earlier)

    def params(self, run: list[Change], session: Session | None) -> dict[str, Any]:
        """The params of the notification of a run of joined changes, under the seq of the last. ``session``: the one
        that it is about, as it is now, for a subscription of sessions."""
        last = run[-1]
        if self.turns:
            change = notifications.joined_pieces(run) if len(run) > 1 else last
            return notifications.turn_updated(self.id, change, raw=self._raw, text=self._text)
        return notifications.session_updated(self.id, last, session)

    def is_ended_by(self, change: Change) -> bool:
        """Whether the change took away what the subscription is about."""
        name = _DELETED.get(change.kind)
        return name is not None and getattr(self.scope, name) is not None and self.scope.covers(change)

    def ended(self, reason: EndReason) -> dict[str, Any]:
        """The notification that nothing more comes."""
        params = {"subscriptionId": self.id, "seq": self.position, "reason": reason}
        return notification_message("subscription/ended", params)


class SubscriptionIndex:
    """The subscriptions to one store, found by what a change is about: no subscription is asked about changes of
    another turn, response or session than its own."""

    def __init__(self) -> None:
        self._all: dict[str, ServerSubscription] = {}
        self._by_scope: dict[tuple[str, str | None], dict[ServerSubscription, None]] = {}
        # What `about` found, until a subscription begins or ends: a stream is asked about for each of its pieces.
        self._about: dict[_About, list[ServerSubscription]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def get(self, subscription_id: str) -> ServerSubscription | None:
        return self._all.get(subscription_id)

    def every(self) -> list[ServerSubscription]:
        return list(self._all.values())

    def add(self, subscription: ServerSubscription) -> None:
        self._all[subscription.id] = subscription
        self._about.clear()
        for key in _keys(subscription.scope):
            self._by_scope.setdefault(key, {})[subscription] = None

    def remove(self, subscription: ServerSubscription) -> None:
        del self._all[subscription.id]
        self._about.clear()
        for key in _keys(subscription.scope):
            same = self._by_scope[key]
            del same[subscription]
            if not same:
                del self._by_scope[key]

    def about(self, change: Change) -> list[ServerSubscription]:
        """The subscriptions whose scope covers the change. A subscription may still ignore changes of this kind."""
        key = (change.kind, change.session_id, change.round_id, change.response_id, change.turn_id)
        found = self._about.get(key)
        if found is None:
            if len(self._about) >= _KEPT:
                self._about.clear()
            found = self._about[key] = self._find(change)
        return found

    def _find(self, change: Change) -> list[ServerSubscription]:
        found: list[ServerSubscription] = []
        for key in _keys_of_change(change):
            found.extend(self._by_scope.get(key, ()))
        return [subscription for subscription in found if subscription.concerns(change)]


def _keys(scope: Scope) -> list[tuple[str, str | None]]:
    """Under what a subscription is found: its own narrowest id, and those whose deletion takes it along."""
    if scope.session_id is None:
        return [("store", None)]
    keys: list[tuple[str, str | None]] = [("in session", scope.session_id)]
    if scope.round_id is not None:
        keys.append(("in round", scope.round_id))
    if scope.turn_id is not None:
        keys.append(("turn", scope.turn_id))
    elif scope.response_id is not None:
        keys.append(("response", scope.response_id))
    else:
        keys.append(("session", scope.session_id))
    return keys


def _keys_of_change(change: Change) -> tuple[tuple[str, str | None], ...]:
    ended = _DELETED.get(change.kind)
    if ended == "session_id":
        return (("store", None), ("in session", change.session_id))
    if ended == "round_id":
        return (("store", None), ("session", change.session_id), ("in round", change.round_id))
    return (
        ("store", None),
        ("session", change.session_id),
        ("response", change.response_id),
        ("turn", change.turn_id),
    )

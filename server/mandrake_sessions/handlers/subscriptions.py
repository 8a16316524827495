"""``turn/subscribe``, ``session/subscribe`` and their ends"""

from __future__ import annotations

from mandrake_sessions.errors import NotFound
from mandrake_sessions.handlers.context import StoreContext, SubscriptionContext
from mandrake_sessions.handlers.registry import handle, handle_unsubscribe
from mandrake_sessions.protocol import methods
from mandrake_sessions.protocol.params import SessionSubscribe, TurnSubscribe
from mandrake_sessions.protocol.results import Nothing, SessionSubscription, TurnSubscription


def turn_subscribe(context: StoreContext, params: TurnSubscribe) -> TurnSubscription:
    scope = context.manager.feed.turn_scope(
        turn_id=params.get("turn_id"), response_id=params.get("response_id"), session_id=params.get("session_id")
    )
    raw, text = params.get("include_raw", False), params.get("include_text", True)
    start = context.manager.feed.follow_turns(
        scope,
        since=params.get("since"),
        store_id=params.get("store_id"),
        include_raw=raw,
        include_text=text,
        lazily=True,
    )
    subscription_id = context.subscriptions.follow_turns(context.manager, scope, start, raw=raw, text=text)
    return TurnSubscription(subscription_id, start.store_id, start.seq, start.reset, start.turns)


def session_subscribe(context: StoreContext, params: SessionSubscribe) -> SessionSubscription:
    scope = context.manager.feed.turn_scope(session_id=params.get("session_id"))
    start = context.manager.feed.follow_sessions(
        scope.session_id, since=params.get("since"), store_id=params.get("store_id"), lazily=True
    )
    subscription_id = context.subscriptions.follow_sessions(context.manager, scope, start)
    return SessionSubscription(subscription_id, start.store_id, start.seq, start.reset, start.sessions)


def _end(context: SubscriptionContext, subscription_id: str, *, turns: bool) -> Nothing:
    if not context.subscriptions.end(subscription_id.lower(), turns=turns):
        where = "of this kind on this connection; it has ended, or another connection began it"
        raise NotFound("subscription", subscription_id, where)
    return Nothing()


handle(methods.TURN_SUBSCRIBE, turn_subscribe)
handle(methods.SESSION_SUBSCRIBE, session_subscribe)
handle_unsubscribe(methods.TURN_UNSUBSCRIBE, lambda context, params: _end(context, **params, turns=True))
handle_unsubscribe(methods.SESSION_UNSUBSCRIBE, lambda context, params: _end(context, **params, turns=False))

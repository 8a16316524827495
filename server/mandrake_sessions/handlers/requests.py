"""``request/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.model import Request
from mandrake_sessions.protocol.params import RequestChange, RequestId


def request_get(context: StoreContext, params: RequestId) -> Request:
    return context.manager.get_request(**params)


def request_update(context: StoreContext, params: RequestChange) -> Request:
    return context.manager.update_request(**params)

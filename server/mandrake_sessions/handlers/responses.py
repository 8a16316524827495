"""``response/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.model import Response, ResponseProgress
from mandrake_sessions.protocol.params import ResponseChange, ResponseId, ResponseStatusGet


def response_get(context: StoreContext, params: ResponseId) -> Response:
    return context.manager.get_response(**params)


def response_update(context: StoreContext, params: ResponseChange) -> Response:
    return context.manager.update_response(**params)


def response_status(context: StoreContext, params: ResponseStatusGet) -> ResponseProgress:
    return context.manager.response_status(**params, lazily=True)

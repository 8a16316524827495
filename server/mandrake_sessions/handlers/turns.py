"""``turn/*``, but for subscriptions"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle
from mandrake_sessions.protocol import methods

handle(methods.TURN_CREATE, lambda context, params: context.manager.create_turn(**params, lazily=True))
handle(methods.TURN_APPEND, lambda context, params: context.manager.append_turn(**params))
handle(methods.TURN_UPDATE, lambda context, params: context.manager.update_turn(**params, lazily=True))
handle(methods.TURN_GET, lambda context, params: context.manager.get_turn(**params, lazily=True))
handle(methods.TURN_DELETE, lambda context, params: context.manager.delete_turn(**params))
handle(methods.TURN_LIST, lambda context, params: context.manager.list_turns(**params, lazily=True))
handle(methods.TURN_LATEST, lambda context, params: context.manager.latest_turn(**params, lazily=True))

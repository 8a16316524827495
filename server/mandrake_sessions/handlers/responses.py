"""``response/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle
from mandrake_sessions.protocol import methods

handle(methods.RESPONSE_GET, lambda context, params: context.manager.get_response(**params))
handle(methods.RESPONSE_UPDATE, lambda context, params: context.manager.update_response(**params))
handle(methods.RESPONSE_STATUS, lambda context, params: context.manager.response_status(**params, lazily=True))

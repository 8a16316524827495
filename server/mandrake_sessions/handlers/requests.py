"""``request/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle
from mandrake_sessions.protocol import methods

handle(methods.REQUEST_GET, lambda context, params: context.manager.get_request(**params))
handle(methods.REQUEST_UPDATE, lambda context, params: context.manager.update_request(**params))

"""``round/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle
from mandrake_sessions.protocol import methods

handle(methods.ROUND_CREATE, lambda context, params: context.manager.create_round(**params))
handle(methods.ROUND_GET, lambda context, params: context.manager.get_round(**params))
handle(methods.ROUND_UPDATE, lambda context, params: context.manager.update_round(**params))
handle(methods.ROUND_LIST, lambda context, params: context.manager.list_rounds(**params, lazily=True))
handle(methods.ROUND_DELETE, lambda context, params: context.manager.delete_round(**params))

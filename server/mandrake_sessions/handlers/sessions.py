"""``session/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle, handle_all
from mandrake_sessions.operations.joining import JoinedSessions
from mandrake_sessions.protocol import methods

handle(methods.SESSION_CREATE, lambda context, params: context.manager.create_session(**params))
handle(methods.SESSION_GET, lambda context, params: context.manager.get_session(**params))
handle(methods.SESSION_LIST, lambda context, params: context.manager.list_sessions(**params, lazily=True))
handle_all(methods.SESSION_LIST, lambda params: JoinedSessions(**params))
handle(methods.SESSION_UPDATE, lambda context, params: context.manager.update_session(**params))
handle(methods.SESSION_DELETE, lambda context, params: context.manager.delete_session(**params))
handle(methods.SESSION_HISTORY, lambda context, params: context.manager.history(**params, lazily=True))
handle(methods.SESSION_FORK, lambda context, params: context.manager.fork_session(**params))

"""``server/*`` and ``rpc.discover``"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle_service
from mandrake_sessions.protocol import methods
from mandrake_sessions.protocol.discovery import document

handle_service(methods.RPC_DISCOVER, lambda _, __: document())
handle_service(methods.SERVER_HEALTH, lambda context, _: context.service.health())
handle_service(methods.SERVER_INFO, lambda context, _: context.service.info())

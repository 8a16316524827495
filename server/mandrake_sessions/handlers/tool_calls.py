"""``toolCall/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.registry import handle
from mandrake_sessions.protocol import methods

handle(methods.TOOL_CALL_UPSERT, lambda context, params: context.manager.upsert_tool_call(**params))
handle(methods.TOOL_CALL_DELETE, lambda context, params: context.manager.delete_tool_call(**params))

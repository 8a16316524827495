"""``toolCall/*``"""

from __future__ import annotations

from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.model import ToolCall, ToolCallDeleted
from mandrake_sessions.protocol.params import ToolCallId, ToolCallUpsert


def tool_call_upsert(context: StoreContext, params: ToolCallUpsert) -> ToolCall:
    return context.manager.upsert_tool_call(**params)


def tool_call_delete(context: StoreContext, params: ToolCallId) -> ToolCallDeleted:
    return context.manager.delete_tool_call(**params)

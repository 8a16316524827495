"""An agent by the Python SDK: it thinks, says something in pieces, and asks before it calls a tool."""

from __future__ import annotations

import asyncio
from typing import Any

import acp
from acp import schema

OPTIONS = [
    schema.PermissionOption(option_id="yes", name="Allow", kind="allow_once"),
    schema.PermissionOption(option_id="no", name="Reject", kind="reject_once"),
]


class Agent:
    client: Any

    def on_connect(self, conn: Any) -> None:
        self.client = conn

    async def initialize(self, protocol_version: int, **_: Any) -> acp.InitializeResponse:
        return acp.InitializeResponse(
            protocol_version=protocol_version, agent_info=schema.Implementation(name="sdk-agent", version="1.0")
        )

    async def new_session(self, cwd: str, **_: Any) -> acp.NewSessionResponse:
        return acp.NewSessionResponse(session_id=f"of {cwd}")

    async def prompt(self, prompt: list[Any], session_id: str, **_: Any) -> acp.PromptResponse:
        async def tell(update: Any) -> None:
            await self.client.session_update(session_id=session_id, update=update)

        await tell(acp.update_agent_thought_text("Which files?"))
        for word in ("You said: ", prompt[0].text):
            await tell(acp.update_agent_message_text(word))
        await tell(acp.start_tool_call("call-1", "Write a file", kind="edit", status="pending"))
        asked = schema.ToolCallUpdate(tool_call_id="call-1")
        answer = await self.client.request_permission(session_id=session_id, tool_call=asked, options=OPTIONS)
        status: Any = "completed" if getattr(answer.outcome, "option_id", None) == "yes" else "failed"
        content = [acp.tool_content(acp.text_block("written"))]
        await tell(acp.update_tool_call("call-1", status=status, content=content))
        await tell(acp.update_agent_message_text("Done."))
        return acp.PromptResponse(stop_reason="end_turn")


asyncio.run(acp.run_agent(Agent()))  # type: ignore[arg-type]

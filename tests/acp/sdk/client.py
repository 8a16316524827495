"""A client by the Python SDK: it prompts an agent, allows what it asks for, and prints what it heard, as JSON.

python client.py AGENT [ARG...]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import acp
from acp import schema


class Client:
    def __init__(self) -> None:
        self.heard: list[list[Any]] = []

    def on_connect(self, conn: Any) -> None:
        pass

    async def request_permission(self, options: Any, tool_call: Any, **_: Any) -> acp.RequestPermissionResponse:
        self.heard.append(["asked", tool_call.tool_call_id])
        outcome = schema.AllowedOutcome(outcome="selected", option_id=options[0].option_id)
        return acp.RequestPermissionResponse(outcome=outcome)

    async def session_update(self, update: Any, **_: Any) -> None:
        text = getattr(getattr(update, "content", None), "text", None)
        self.heard.append([update.session_update, text])


async def main() -> None:
    client = Client()
    async with acp.spawn_agent_process(client, sys.argv[1], *sys.argv[2:], env=dict(os.environ)) as (agent, _):  # type: ignore[arg-type]
        begun = await agent.initialize(protocol_version=acp.PROTOCOL_VERSION)
        assert begun.agent_info is not None
        session = await agent.new_session(cwd=os.getcwd(), mcp_servers=[])  # noqa: PTH109
        done = await agent.prompt(session_id=session.session_id, prompt=[acp.text_block("Grüße, 世界")])
    told = {"agent": begun.agent_info.name, "heard": client.heard, "stop": done.stop_reason}
    print(json.dumps(told))


asyncio.run(main())

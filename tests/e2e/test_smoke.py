"""The main job: an agent streams in one process, a watcher in another sees every piece as it comes."""

from __future__ import annotations

from pathlib import Path

from wire import Conversation, Framing, apply_update, serving


def test_a_watcher_in_another_process_sees_a_turn_stream(workspace: Path, framing: Framing) -> None:
    with serving(workspace, framing) as agent, serving(workspace, framing) as watcher:
        conversation = Conversation(agent, title="A talk")
        watching = watcher.request("turn/subscribe", sessionId=conversation.session, includeRaw=True)
        assert watching["turns"] == []
        turn_id = conversation.turn(content="It ", toolCalls=[{"id": "call-1", "kind": "read"}])
        for piece in ("holds ", "three ", "files."):
            last = agent.request("turn/append", turnId=turn_id, content=piece, rawResponse="{}")
        agent.request("toolCall/upsert", turnId=turn_id, toolCall={"id": "call-1", "status": "completed"})
        agent.request("toolCall/upsert", turnId=turn_id, toolCall={"id": "call-2", "arguments": {"a": 1}})
        agent.request("toolCall/delete", turnId=turn_id, toolCallId="call-2")
        ended = agent.request("turn/update", turnId=turn_id, status="completed", outputTokens=4)
        assert last["chunkCount"] == 3

        turns: dict[str, dict[str, object]] = {}
        for params in watcher.notifications_until(ended["seq"]):
            apply_update(turns, params)
        assert turns == {turn_id: ended}
        assert ended["content"] == "It holds three files."
        assert ended == watcher.request("turn/get", turnId=turn_id)

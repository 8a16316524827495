"""An agent for pictures that speaks ACP and has no model: it says the same to every prompt, piece by piece."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

_SESSION = "talk-42"
_SAYS = "The longest wait is 30 seconds now, and no two clients wait the same time. All 12 tests pass."
_CALL = {"toolCallId": "call-1", "title": "make test", "kind": "execute"}


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        answer = {
            "initialize": lambda: {"protocolVersion": 1, "agentInfo": {"name": "example-agent", "version": "1"}},
            "session/new": lambda: {"sessionId": _SESSION},
            "session/prompt": _work,
        }[message["method"]]()
        _say({"id": message["id"], "result": answer})


def _work() -> dict[str, Any]:
    _update("agent_thought_chunk", content={"type": "text", "text": "The tests tell whether the jitter is right."})
    time.sleep(0.6)
    _update("tool_call", **_CALL, status="in_progress", rawInput={"command": "make test"})
    time.sleep(0.8)
    _update("tool_call_update", toolCallId="call-1", status="completed", rawOutput={"exitCode": 0})
    for word in _SAYS.split(" "):
        _update("agent_message_chunk", content={"type": "text", "text": f"{word} "})
        time.sleep(0.12)
    return {"stopReason": "end_turn"}


def _update(update: str, **fields: Any) -> None:
    params = {"sessionId": _SESSION, "update": {"sessionUpdate": update, **fields}}
    _say({"method": "session/update", "params": params})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The figure of the README: what a server needs above its rest, whatever its clients do within the limits."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hostile.memory import MIB, needs_proc, peak, resident
from wire import Wire, serving

pytestmark = needs_proc

# What the README promises, while no message and no text is above 8 MiB.
ABOVE_REST = 256 * MIB
TIMEOUT = 120.0
# Each near 8 MiB as JSON: one byte a character, four bytes of memory a character, six bytes of JSON a character.
TEXTS = {
    "ascii": "x" * (8 * MIB - 4096),
    "astral": "\N{PILE OF POO}" * (2 * MIB - 1024),
    "control": "\x01" * (8 * MIB // 6 - 1024),
}


class Heavy:
    """A client that sends characters as they are, and lets go the answers that it has waited for."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._next_id = 1_000_000

    def post(self, method: str, **params: Any) -> int:
        self._next_id += 1
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        self._wire.send_bytes(self._wire.frame(json.dumps(message, ensure_ascii=False).encode()))
        return self._next_id

    def answer(self, message_id: int) -> Any:
        answer = self._wire.wait_for(lambda m: isinstance(m, dict) and m.get("id") == message_id, TIMEOUT)
        assert "error" not in answer, str(answer)[:500]
        return answer["result"]

    def call(self, method: str, **params: Any) -> Any:
        return self.answer(self.post(method, **params))

    def at_once(self, *requests: tuple[str, dict[str, Any]]) -> None:
        for message_id in [self.post(method, **params) for method, params in requests]:
            self.answer(message_id)

    def hear(self, method: str) -> None:
        self._wire.wait_for(lambda m: isinstance(m, dict) and m.get("method") == method, TIMEOUT)


@pytest.mark.parametrize("kind", TEXTS)
def test_a_server_needs_no_more_than_the_readme_says(workspace: Path, kind: str) -> None:
    """Everything that takes or gives much, in one process, whose peak is looked at after each."""
    text = TEXTS[kind]
    with serving(workspace, "lines", "--durability", "normal", "--feed-max-bytes", str(64 * MIB)) as wire:
        wire.request("session/list")
        rest = resident(wire.process)
        client = Heavy(wire)

        def look(what: str) -> None:
            assert peak(wire.process) - rest < ABOVE_REST, f"{what}: {(peak(wire.process) - rest) // MIB} MiB"

        meta = {"m": text}
        session = client.call("session/create", metadata=meta)["id"]
        made = client.call("round/create", sessionId=session, content=text[: len(text) // 2])
        round_id, response = made["round"]["id"], made["response"]["id"]
        client.call("round/update", roundId=round_id, metadata=meta)
        turns = [client.call("turn/create", responseId=response, metadata=meta)["id"] for _ in range(2)]
        for turn in turns:
            client.at_once(*(("turn/append", {"turnId": turn, part: text}) for part in ("content", "rawResponse")))
        look("writes")
        for method, params in (
            ("session/get", {"sessionId": session}),
            ("session/list", {}),
            ("session/history", {"sessionId": session}),
            ("round/get", {"roundId": round_id}),
            ("round/list", {"sessionId": session}),
            ("response/status", {"responseId": response}),
            ("turn/get", {"turnId": turns[0]}),
            ("turn/list", {"responseId": response}),
        ):
            client.call(method, **params)
            look(method)
        client.at_once(*[("session/history", {"sessionId": session})] * 3)
        look("three long reads at once")
        client.at_once(*(("turn/update", {"turnId": turns[0], "outputTokens": count}) for count in range(1, 9)))
        look("a group of updates")
        updates = [{"method": "turn/update", "params": {"turnId": turn, "outputTokens": 9}} for turn in turns]
        client.call("transaction/run", operations=updates)
        look("transaction/run")
        wire.send([{"jsonrpc": "2.0", "id": n, "method": "turn/get", "params": {"turnId": turns[0]}} for n in range(3)])
        wire.wait_for(lambda m: isinstance(m, list), TIMEOUT)
        look("a batch")
        followed = [client.call("turn/subscribe", responseId=response)["subscriptionId"]]
        look("turn/subscribe")
        followed += [
            client.call("turn/subscribe", responseId=response, includeText=False)["subscriptionId"] for _ in range(3)
        ]
        client.call("turn/update", turnId=turns[1], content=text, includeText=False)
        for _ in followed:
            client.hear("turn/updated")
        look("a change that several are told of")
        for subscription in followed:
            client.call("turn/unsubscribe", subscriptionId=subscription)
        client.call("session/delete", sessionId=session)
        look("session/delete")


def test_requests_that_wait_are_bounded_by_what_they_take_when_they_are_read(workspace: Path) -> None:
    """An empty list is three bytes of a message, and sixty of memory."""
    lists = ",".join(["[]"] * 300_000)
    with serving(workspace, "lines", "--durability", "normal") as wire:
        wire.request("session/list")
        rest = resident(wire.process)
        body = '{"jsonrpc":"2.0","id":"%d","method":"session/create","params":{"metadata":{"m":[%s]}}}'
        for number in range(9):
            wire.send_bytes(wire.frame((body % (number, lists)).encode()))
        for number in range(9):
            wire.wait_for(partial(_is_answer, str(number)), TIMEOUT)
        assert peak(wire.process) - rest < ABOVE_REST


def _is_answer(message_id: str, message: Any) -> bool:
    return isinstance(message, dict) and message.get("id") == message_id

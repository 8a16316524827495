"""The figure of docs/limits.md: what a server needs above its rest, whatever its clients do within the limits."""

from __future__ import annotations

import json
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hostile.memory import MIB, keep_rules, needs_proc, peak, resident
from mandrake_sessions.limits import MAX_SUBSCRIPTIONS
from mandrake_sessions.protocol.methods import METHODS
from wire import Conversation, Wire, serving

pytestmark = needs_proc

# What docs/limits.md promises, while no message and no text is above 8 MiB.
ABOVE_REST = 240 * MIB
# What may be kept when all is answered.
KEPT = 64 * MIB
TIMEOUT = 240.0
# Each near 8 MiB as JSON: four bytes of memory a character, six bytes of JSON a character.
TEXTS = {
    "astral": "\N{PILE OF POO}" * (2 * MIB - 1024),
    "control": "\x01" * (8 * MIB // 6 - 1024),
}

# What takes most memory for its JSON.
AT_ONCE = "astral"


class Heavy:
    """A client that sends characters as they are, lets go the answers that it has waited for, and looks at the peak
    after each."""

    def __init__(self, wire: Wire) -> None:
        keep_rules(wire)
        self._wire = wire
        self._next_id = 1_000_000
        self.rest = resident(wire.process)
        self.used: set[str] = set()

    def post(self, method: str, **params: Any) -> int:
        self.used.add(method)
        self._next_id += 1
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        self._wire.send_bytes(self._wire.frame(json.dumps(message, ensure_ascii=False).encode()))
        return self._next_id

    def answer(self, message_id: int) -> Any:
        answer = self._wire.wait_for(lambda m: isinstance(m, dict) and m.get("id") == message_id, TIMEOUT)
        assert "error" not in answer, str(answer)[:500]
        return answer["result"]

    def call(self, method: str, **params: Any) -> Any:
        result = self.answer(self.post(method, **params))
        self.look(method)
        return result

    def at_once(self, *requests: tuple[str, dict[str, Any]]) -> None:
        for message_id in [self.post(method, **params) for method, params in requests]:
            self.answer(message_id)
        self.look(f"at once: {[method for method, _ in requests]}")

    def batch(self, *requests: tuple[str, dict[str, Any]]) -> None:
        messages = [{"jsonrpc": "2.0", "id": n, "method": name, "params": p} for n, (name, p) in enumerate(requests)]
        self._wire.send(messages)
        answers = self._wire.wait_for(lambda m: isinstance(m, list), TIMEOUT)
        assert sorted(answer["id"] for answer in answers if "result" in answer) == list(range(len(requests)))
        self.look(f"a batch: {[method for method, _ in requests]}")

    def hear(self, method: str) -> None:
        self._wire.wait_for(lambda m: isinstance(m, dict) and m.get("method") == method, TIMEOUT)

    def look(self, what: str) -> None:
        above = peak(self._wire.process) - self.rest
        assert above < ABOVE_REST, f"{what}: {above // MIB} MiB"

    def look_at_rest(self) -> None:
        kept = resident(self._wire.process) - self.rest
        assert kept < KEPT, f"{kept // MIB} MiB are kept"


class Filled:
    """A client's session in which everything is as large as a message allows."""

    def __init__(self, client: Heavy, text: str) -> None:
        self.text = text
        meta = {"m": text}
        half = text[: len(text) // 2]
        self.session = client.call("session/create", metadata={"m": half})["id"]
        client.call("session/update", sessionId=self.session, metadata=meta)
        made = client.call("round/create", sessionId=self.session, content=half, metadata={"m": half})
        self.round, self.request, self.response = (made[name]["id"] for name in ("round", "request", "response"))
        client.call("round/update", roundId=self.round, metadata=meta)
        client.call("request/update", requestId=self.request, content=text)
        client.call("request/update", requestId=self.request, blocks=[{"type": "text", "text": text}])
        client.call("response/update", responseId=self.response, status="open", stopReason=text)
        self.turns = [client.call("turn/create", responseId=self.response, metadata=meta)["id"] for _ in range(2)]
        parts = ("content", "rawResponse")
        client.at_once(*(("turn/append", {"turnId": self.turns[0], part: text}) for part in parts))
        client.call("toolCall/upsert", turnId=self.turns[0], toolCall={"id": "one", "arguments": {"a": text}})
        client.call("toolCall/upsert", turnId=self.turns[0], toolCall={"id": "two", "content": text})
        few = [{"id": str(number), "arguments": {"a": text[: len(text) // 4]}} for number in range(4)]
        client.call("turn/create", responseId=self.response, toolCalls=few)

    @property
    def reads(self) -> list[tuple[str, dict[str, Any]]]:
        session, response = {"sessionId": self.session}, {"responseId": self.response}
        return [
            ("session/get", session),
            ("session/list", {}),
            ("session/list", {"scope": "all"}),
            ("store/list", {}),
            ("session/history", session | {"includeRaw": True}),
            ("session/usage", {"groupBy": "cwd"}),
            ("session/usage", {"groupBy": "cwd", "scope": "all"}),
            ("session/search", {"query": "a", "role": "user"}),
            ("session/search", {"query": "aaaa " * 5000}),
            ("session/search", {"query": "a", "scope": "all"}),
            ("round/get", {"roundId": self.round}),
            ("round/list", session),
            ("request/get", {"requestId": self.request}),
            ("response/get", response),
            ("response/status", response),
            ("turn/get", {"turnId": self.turns[0]}),
            ("turn/list", response | {"includeRaw": True}),
            ("turn/latest", response),
            ("server/info", {}),
            ("server/health", {}),
            ("rpc.discover", {}),
        ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", TEXTS)
def test_a_server_needs_no_more_than_the_readme_says(workspace: Path, kind: str) -> None:
    """Every method, with as much as it takes or gives, alone and, with what takes most memory, together: all in one
    process."""
    text = TEXTS[kind]
    with serving(workspace, "lines", "--durability", "normal", "--feed-max-bytes", str(64 * MIB)) as wire:
        client = Heavy(wire)
        filled = Filled(client, text)
        client.look_at_rest()
        for method, params in filled.reads:
            client.call(method, **params)
        _export(client, text)
        if kind == AT_ONCE:
            _read_at_once(client, filled)
            _write_at_once(client, filled)
            _follow(client, filled)
        client.look_at_rest()
        client.call("toolCall/delete", turnId=filled.turns[0], toolCallId="two")
        client.call("turn/delete", turnId=filled.turns[0])
        client.call("round/delete", roundId=filled.round)
        client.call("session/delete", sessionId=filled.session)
        client.look_at_rest()
        assert kind != AT_ONCE or client.used == set(METHODS)


def _export(client: Heavy, text: str) -> None:
    """As much as a document may hold, in each format."""
    session = client.call("session/create", title="An export")["id"]
    content = text[: len(text) // 4 * 3]
    client.call("round/create", sessionId=session, content=content)
    for form in ("jsonl", "atif", "markdown", "html"):
        client.call("session/export", sessionId=session, format=form)
    client.call("session/export", sessionId=session, format="jsonl", redact=True)
    client.call("session/delete", sessionId=session)


def _read_at_once(client: Heavy, filled: Filled) -> None:
    history = ("session/history", {"sessionId": filled.session})
    client.at_once(*[history] * 3, ("turn/update", {"turnId": filled.turns[1], "metadata": {"n": filled.text}}))
    client.at_once(*[("response/status", {"responseId": filled.response})] * 2, *filled.reads[3:6])
    client.batch(*filled.reads[:4])


def _write_at_once(client: Heavy, filled: Filled) -> None:
    counts = range(1, 5)
    turn, session, response = {"turnId": filled.turns[0]}, {"sessionId": filled.session}, filled.response
    client.at_once(*(("turn/update", turn | {"outputTokens": count}) for count in counts))
    client.at_once(*(("session/update", session | {"title": str(count)}) for count in counts))
    request = {"requestId": filled.request}
    client.at_once(*(("request/update", request | {"content": str(count)}) for count in range(2)))
    client.at_once(*(("response/update", {"responseId": response, "status": "open"}) for _ in range(2)))
    client.at_once(("session/fork", session), ("session/fork", session))
    many = [{"method": "turn/update", "params": turn | {"outputTokens": 9 + count}} for count in counts]
    many += [{"method": "session/update", "params": session | {"title": f"{count}."}} for count in range(2)]
    client.call("transaction/run", operations=many)
    client.call(
        "transaction/run", operations=[{"method": "turn/update", "params": turn | {"metadata": {"k": filled.text}}}]
    )


def _follow(client: Heavy, filled: Filled) -> None:
    """First states, and changes that several are told of."""
    response = {"responseId": filled.response}
    wide = [client.call("turn/subscribe", **response, includeRaw=True)["subscriptionId"]]
    wide += [client.call("turn/subscribe", **response, includeText=False)["subscriptionId"] for _ in range(3)]
    sessions = client.call("session/subscribe")["subscriptionId"]
    client.call("turn/update", turnId=filled.turns[1], content=filled.text[1:], includeText=False)
    for _ in wide:
        client.hear("turn/updated")
    client.hear("session/updated")
    client.call("session/update", sessionId=filled.session, metadata={"k": filled.text})
    client.hear("session/updated")
    client.look("changes that are told")
    for subscription in wide:
        client.call("turn/unsubscribe", subscriptionId=subscription)
    client.call("session/unsubscribe", subscriptionId=sessions)


def test_one_change_that_all_subscriptions_are_told_of(workspace: Path) -> None:
    with serving(workspace, "lines", "--durability", "normal") as wire:
        client = Heavy(wire)
        conversation = Conversation(wire)
        turn = conversation.turn()
        for message_id in [client.post("turn/subscribe", turnId=turn) for _ in range(MAX_SUBSCRIPTIONS)]:
            client.answer(message_id)
        client.call("turn/append", turnId=turn, content="x" * (256 * 1024))
        for _ in range(MAX_SUBSCRIPTIONS):
            client.hear("turn/updated")
        client.look("1,024 subscriptions")


def test_a_long_session_is_deleted(workspace: Path) -> None:
    with serving(workspace, "lines", "--durability", "normal") as wire:
        client = Heavy(wire)
        conversation = Conversation(wire)
        for _ in range(4):
            turn = conversation.turn()
            for message_id in [client.post("turn/append", turnId=turn, content="x" * 4096) for _ in range(2000)]:
                client.answer(message_id)
        client.call("session/delete", sessionId=conversation.session)


def test_statements_do_not_keep_what_they_were_given(workspace: Path) -> None:
    """Each choice of fields is a statement of its own, and 256 of those are kept."""
    fields: dict[str, Any] = {"kind": "k", "model": "m", "inputTokens": 1, "cacheReadTokens": 1, "inputCost": 1.0}
    with serving(workspace, "lines", "--durability", "normal") as wire:
        client = Heavy(wire)
        turn = Conversation(wire).turn()
        changes = 0
        for count in range(len(fields) + 1):
            for names in combinations(fields, count):
                changes += 1
                # What does not differ is not written.
                given = {
                    name: f"{fields[name]}{changes}" if isinstance(fields[name], str) else changes for name in names
                }
                client.call("turn/update", turnId=turn, **given, metadata={"m": f"{changes} {'x' * 4 * MIB}"})
        client.look_at_rest()


@pytest.mark.parametrize("character", ["x", "\N{PILE OF POO}"])
def test_one_very_large_message(workspace: Path, character: str) -> None:
    """At most twelve times its size, and what comes after it is answered as ever."""
    size = 60 * MIB
    with serving(workspace, "lines", "--durability", "normal") as wire:
        wire.request("session/list")
        rest = resident(wire.process)
        conversation = Conversation(wire)
        turn, other = conversation.turn(), conversation.turn()
        content = character * (size // len(character.encode()))
        message = {"jsonrpc": "2.0", "id": "large", "method": "turn/append"}
        message["params"] = {"turnId": turn, "content": content}  # type: ignore[assignment]
        wire.send_bytes(wire.frame(json.dumps(message, ensure_ascii=False).encode()))
        after = wire.post("turn/append", turnId=other, content="after")
        wire.wait_for(partial(_is_answer, "large"), TIMEOUT)
        wire.result(after)
        assert wire.request("turn/get", turnId=turn)["content"] == content
        assert peak(wire.process) - rest < 12 * size
        wire.request("turn/append", turnId=other, content="and more")
        assert resident(wire.process) - rest < 2 * size


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

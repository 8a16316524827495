"""Clients that are generated from the JSON Schema may fill in its defaults, as validators can be told to do. A call
means the same with them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from mandrake_sessions.errors import StorageReason
from mandrake_sessions.model import UnavailableReason
from mandrake_sessions.protocol.methods import METHODS
from mandrake_sessions.protocol.names import type_name
from validation import schema
from wire import Conversation, Message, Wire

# Methods that make an entity, or take one away: for what is left out they have defaults.
MAKING = ("create", "fork", "delete", "run")
UPDATES = [name for name, method in METHODS.items() if method.access.writes and name.split("/")[1] not in MAKING]
# These say where the entity is, and what the answer has. `usage` is replaced whole, so its defaults replace nothing.
HARMLESS = {"scope", "includeText"}
REPLACED_WHOLE = {"usage"}


def described(name: str) -> Message:
    return schema()["$defs"][name]  # type: ignore[no-any-return]


def shapes(part: Message) -> Iterator[Message]:
    """The objects that a part of the schema may be."""
    if "$ref" in part:
        yield from shapes(described(part["$ref"].rsplit("/", 1)[1]))
    for choice in part.get("anyOf", ()):
        yield from shapes(choice)
    if "properties" in part:
        yield part


def filled(part: Message, value: Any) -> Any:
    """The value with the defaults of what it leaves out, at any depth."""
    if isinstance(value, list):
        return [filled(part["items"], item) for item in value] if "items" in part else value
    shape = next(shapes(part), None)
    if not isinstance(value, dict) or shape is None:
        return value
    properties = shape["properties"]
    given = {name: filled(properties[name], inner) for name, inner in value.items()}
    return {name: of["default"] for name, of in properties.items() if "default" in of} | given


def in_full(method: str, params: Message) -> Message:
    found: Message = filled(described(f"{type_name(method)}Params"), params)
    return found


def defaults(part: Message) -> Iterator[str]:
    """The fields of what an update may be given that have a default."""
    for shape in shapes(part):
        for name, inner in shape["properties"].items():
            if "default" in inner:
                yield name
            if name not in REPLACED_WHOLE:
                yield from defaults(inner)


def test_these_update() -> None:
    assert set(UPDATES) == {
        "session/update", "round/update", "request/update", "response/update", "turn/update", "turn/append",
        "toolCall/upsert",
    }  # fmt: skip


@pytest.mark.parametrize("method", UPDATES)
def test_an_update_has_no_default_that_changes_something(method: str) -> None:
    assert set(defaults(described(f"{type_name(method)}Params"))) <= HARMLESS


CALL = {
    "id": "call", "title": "ls", "kind": "read", "serverName": "s", "methodName": "m", "arguments": {"path": "."},
    "response": 1, "content": [2], "locations": [3], "status": "completed", "startTime": 1, "endTime": 2,
    "metadata": {"a": 1},
}  # fmt: skip
TURN = {
    "kind": "thought", "toolCallId": "call", "content": "It is done.", "rawResponse": "raw", "status": "completed",
    "model": "m", "metadata": {"a": 1}, "currentTokens": 1, "expectedTokens": 2, "inputTokens": 3, "outputTokens": 4,
    "thoughtTokens": 5, "cacheReadTokens": 6, "cacheWriteTokens": 7, "inputCost": 0.25, "outputCost": 0.5, "cost": 1.0,
    "currency": "EUR", "toolCalls": [CALL],
}  # fmt: skip
SESSION = {
    "externalId": "x", "agent": "a", "source": "acp", "cwd": "/w", "relation": "fork", "title": "My token ghp_x",
    "description": "d", "metadata": {"a": 1},
}  # fmt: skip


class Kept:
    """A session, a round, a response and a turn of which every field has another value than its default."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        talk = Conversation(wire, **SESSION)
        self.ids = {"sessionId": talk.session, "roundId": talk.round, "requestId": talk.request}
        self.ids |= {"responseId": talk.response, "turnId": talk.turn(**TURN)}
        wire.request("session/update", sessionId=talk.session, archived=True)
        wire.request("round/update", roundId=talk.round, metadata={"b": 2})
        wire.request("request/update", requestId=talk.request, content="in /home/me?", blocks=[1])
        usage = {"inputTokens": 1, "cost": 2.0, "currency": "CHF"}
        wire.request("response/update", responseId=talk.response, status="error", stopReason="s", usage=usage)

    def all(self) -> Any:
        found = self.wire.request("session/history", sessionId=self.ids["sessionId"], includeRaw=True)
        return without_marks(found)


def without_marks(value: Any) -> Any:
    """What an update that changes nothing leaves as it is."""
    if isinstance(value, list):
        return [without_marks(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_marks(inner) for name, inner in value.items() if name not in ("seq", "updatedAt")}


def test_an_update_with_its_defaults_changes_nothing_more(wire: Wire) -> None:
    kept = Kept(wire)
    before = kept.all()
    for method, params in (
        ("session/update", {"sessionId": kept.ids["sessionId"]}),
        ("round/update", {"roundId": kept.ids["roundId"], "metadata": {"b": 2}}),
        ("request/update", {"requestId": kept.ids["requestId"]}),
        ("response/update", {"responseId": kept.ids["responseId"]}),
        ("response/update", {"responseId": kept.ids["responseId"], "usage": {"inputTokens": 1, "cost": 2.0}}),
        ("turn/update", {"turnId": kept.ids["turnId"]}),
        ("toolCall/upsert", {"turnId": kept.ids["turnId"], "toolCall": {"id": "call"}}),
    ):
        if "usage" in params:
            wire.request(method, **params)
            before = kept.all()
        wire.request(method, **in_full(method, params))
        assert kept.all() == before, method


def test_a_read_with_its_defaults_gives_the_same(wire: Wire) -> None:
    kept = Kept(wire)
    deadline = time.monotonic() + 20
    while not wire.request("session/search", query="done", archived=None)["hits"] and time.monotonic() < deadline:
        time.sleep(0.05)
    (store,) = wire.request("store/list")["stores"]
    of_session = {"sessionId": kept.ids["sessionId"]}
    calls: list[tuple[str, Message]] = [
        *(("session/export", {**of_session, "format": name}) for name in ("markdown", "html", "jsonl", "atif")),
        *((name, of_session) for name in ("session/get", "session/history", "round/list", "session/usage")),
        ("session/get", {"externalId": "x"}),
        ("session/list", {}),
        ("session/list", {"archived": True}),
        ("session/search", {"query": "done", "archived": None}),
        ("session/usage", {"groupBy": "day"}),
        ("round/get", {"roundId": kept.ids["roundId"]}),
        ("request/get", {"requestId": kept.ids["requestId"]}),
        *((name, {"responseId": kept.ids["responseId"]}) for name in ("response/get", "response/status")),
        *((name, {"responseId": kept.ids["responseId"]}) for name in ("turn/list", "turn/latest")),
        ("turn/get", {"turnId": kept.ids["turnId"]}),
    ]
    reading = {name for name, method in METHODS.items() if method.reads}
    assert {name for name, _ in calls} == reading
    for method, params in calls:
        for where in ({}, {"store": store["storeId"]}):
            given = {**params, **where}
            assert wire.request(method, **in_full(method, given)) == wire.request(method, **given), (method, given)


def test_what_a_store_cannot_do_is_also_why_it_is_not_available() -> None:
    """Beside three reasons of its own."""
    assert {*UnavailableReason} == {*map(str, StorageReason), "busy", "copied", "gone"}

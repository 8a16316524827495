"""Errors show the value that breaks a rule, and name what it is about: the field, the turn, the operation."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from strict import StrictSyncClient, Talk
from wire import Message, serving, store_of

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
SECRET = "sk-" + 40 * "x"
# A param of each type and of each set of words, with a value that it does not take.
VALUES: list[tuple[str, Message, str]] = [
    ("session/list", {"sort": "newest"}, "params.sort: must be one of changed, active, not 'newest'"),
    ("session/list", {"state": "b"}, "params.state: must be one of idle, running, requires_action, failed, not 'b'"),
    ("session/usage", {"groupBy": 7}, "params.groupBy: must be one of day, model, session, agent, cwd, not 7"),
    ("session/history", {"sessionId": UNKNOWN, "order": "up"}, "params.order: must be one of asc, desc, not 'up'"),
    (
        "session/export",
        {"sessionId": UNKNOWN, "format": "pdf"},
        "params.format: must be one of markdown, html, jsonl, atif, not 'pdf'",
    ),
    (
        "turn/create",
        {"responseId": UNKNOWN, "status": "done"},
        "params.status: must be one of streaming, completed, error, cancelled, interrupted, not 'done'",
    ),
    ("session/list", {"limit": "5"}, "params.limit: must be an integer, not '5'"),
    ("session/list", {"limit": 1.5}, "params.limit: must be an integer, not 1.5"),
    ("session/list", {"limit": SECRET}, "params.limit: must be an integer, not 'sk-xxxxxxxx...xxxxxxxxxx'"),
    ("session/list", {"archived": "yes"}, "params.archived: must be true or false, not 'yes'"),
    ("session/create", {"title": 5}, "params.title: must be a string, not 5"),
    ("session/create", {"title": False}, "params.title: must be a string, not false"),
    ("session/create", {"title": ["a"]}, "params.title: must be a string, not an array"),
    ("session/create", {"metadata": None}, "params.metadata: must be an object, not null"),
    ("session/create", {"parentId": 10**50}, "params.parentId: must be a string, not a number of many digits"),
    ("turn/create", {"responseId": UNKNOWN, "cost": "0.5"}, "params.cost: must be a number, not '0.5'"),
    ("turn/create", {"responseId": UNKNOWN, "toolCalls": {}}, "params.toolCalls: must be an array, not an object"),
    ("session/usage", {"timezone": "Mars/Base"}, "params.timezone: there is no time zone 'Mars/Base'; give a name of "),
    (
        "turn/create",
        {"responseId": UNKNOWN, "currency": "euro"},
        "params.currency: must be a currency of ISO 4217 such as USD or EUR, not 'euro'",
    ),
    (
        "response/update",
        {"responseId": UNKNOWN, "usage": {"currency": "XBT"}},
        "params.usage.currency: must be a currency of ISO 4217 such as USD or EUR, not 'XBT'",
    ),
]


@pytest.mark.parametrize(("method", "params", "said"), VALUES)
def test_an_error_shows_the_value(client: StrictSyncClient, method: str, params: Message, said: str) -> None:
    error = client.error(method, **params)
    assert error.kind == "invalidParams"
    assert error.message.startswith(said)
    assert error.message == f"{error.data['path']}: {error.data['reason']}"
    assert SECRET not in json.dumps(error.data)


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("session/create", {}, "createdAt"),
        ("turn/create", {"responseId": UNKNOWN}, "streamEndTime"),
        ("response/update", {"responseId": UNKNOWN}, "endTime"),
    ],
)
def test_a_time_in_the_far_future_is_rejected(
    client: StrictSyncClient, method: str, params: Message, field: str
) -> None:
    error = client.error(method, **params, **{field: 10**15})
    latest = re.fullmatch(
        rf"params\.{field}: must be at most a day ahead of the clock, so at most (\d+), not {10**15}", error.message
    )
    assert latest
    assert error.kind == "invalidParams"
    client.session_create(created_at=int(latest[1]))


def test_an_id_in_use_is_told_with_its_field(client: StrictSyncClient) -> None:
    talk = Talk(client)
    taken = {"requestId": talk.request, "responseId": talk.response}
    for field, value in taken.items():
        error = client.error("round/create", sessionId=talk.session, content="?", **{field: value})
        assert error.message.startswith("there is another ")
        assert error.message.endswith(f"and for a new {field.removesuffix('Id')} another {field}")
    client.session_create(id=UNKNOWN)
    assert client.error("session/create", id=UNKNOWN, title="b").message.endswith("a new session another id")


def test_a_cursor_of_another_list_is_told_with_what_may_differ(client: StrictSyncClient) -> None:
    for title in "abc":
        client.session_create(title=title, metadata={"long": "x"})
    cursor = client.session_list(limit=1, agent=None).next_cursor
    assert cursor is not None
    for params in ({"cursor": cursor, "sort": "active"}, {"cursor": cursor, "query": "a"}, {"cursor": "a" * 1000}):
        message = client.error("session/list", **params).message
        assert re.match(r"params\.cursor: '[^']{20,40}' is not a cursor of this list\. Send all params as ", message)
        assert "(filters, order, query, store)" in message


def test_a_tool_call_is_one_of_a_turn(client: StrictSyncClient) -> None:
    error = client.error("toolCall/delete", turnId=Talk(client).turn(), toolCallId="zz")
    assert error.message == "no toolCall 'zz' in this turn; it was deleted, or is in another turn"
    assert error.data["entity"] == "toolCall"


@pytest.mark.parametrize(
    ("failing", "place", "said"),
    [
        ({"method": "session/create", "params": {"titel": "a"}}, "params.titel", "unknown field; did you mean"),
        ({"method": "session/create", "params": {"agent": ""}}, "params.agent", "must not be empty"),
        ({"method": "session/create", "params": {"scope": "bogus"}}, "params.scope", "must be one of"),
        ({"method": "session/get"}, "method", "session/get is not a write"),
        ({"method": "session/create", "params": {"scope": "system"}}, "params", "names another store"),
        ({}, "method", "is missing"),
        ({"metod": "session/create"}, "metod", "unknown field; did you mean 'method'?"),
    ],
)
def test_an_operation_that_fails_is_named_once(
    client: StrictSyncClient, failing: Message, place: str, said: str
) -> None:
    error = client.error("transaction/run", operations=[{"method": "session/create"}, failing])
    path = f"params.operations[1].{place}"
    assert error.message.startswith(f"{path}: {said}")
    assert error.message.count("operations") - error.message.count("beside operations") == 1
    assert error.message.endswith("; nothing of the transaction was stored")
    assert (error.data["path"], error.data["operation"]) == (path, 1)
    assert client.session_list().sessions == []


def test_a_transaction_that_meets_damage_names_the_file(workspace: Path) -> None:
    """Its path is that of a file, not of a param."""
    with serving(workspace) as wire:
        session = wire.request("session/create")["id"]
    with closing(sqlite3.connect(store_of(workspace))) as database:
        database.execute("UPDATE session SET metadata = 'odd'")
        database.commit()
    with serving(workspace) as wire:
        wire.let_be("server/healthChanged")
        params: Message = {"sessionId": session, "content": "?"}
        alone = wire.error("round/create", **params)
        within = wire.error("transaction/run", operations=[{"method": "round/create", "params": params}])
        assert alone["data"]["kind"] == "storage"
        assert within["data"] == alone["data"] | {"operation": 0}
        assert within["message"] == f"operations[0]: {alone['message']}; nothing of the transaction was stored"

"""What breaks a rule is named in the error, what may be sent again may, and what is given comes back as it was given.

Each type in each field, each limit, and input that nobody thought of: see ``tests/hostile``. Broken messages:
``tests/e2e/test_bad_input.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.backends import Backend
from mandrake_sessions.client.framing import Framing
from mandrake_sessions.model import TurnStatus
from strict import StrictSyncClient, Talk

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_fields_that_are_the_clients_own_are_ignored(client: StrictSyncClient) -> None:
    own = {"_trace": 1, "workDoneToken": "a", "partialResultToken": 2}
    made = client.request("session/create", {"title": "a"} | own)
    assert (made["title"], made["metadata"]) == ("a", {})
    assert not own.keys() & made.keys()
    assert client.request("session/get", {"sessionId": made["id"]} | own) == made


VALUES: list[tuple[str, dict[str, Any], str]] = [
    ("session/create", {"id": "not a uuid"}, "params.id"),
    ("session/create", {"title": "\ud800"}, "params.title"),
    ("session/create", {"metadata": {"a": ["\udfff"]}}, "params.metadata"),
    ("session/get", {}, "params"),
    ("session/get", {"sessionId": UNKNOWN, "externalId": "a"}, "params"),
    ("session/list", {"limit": 0}, "params.limit"),
    ("session/list", {"limit": 1001}, "params.limit"),
    ("session/list", {"cursor": "from elsewhere"}, "params.cursor"),
    ("session/history", {"sessionId": UNKNOWN, "order": "up"}, "params.order"),
    ("turn/create", {"responseId": UNKNOWN, "inputTokens": -1}, "params.inputTokens"),
    ("turn/create", {"responseId": UNKNOWN, "inputTokens": 2**63}, "params.inputTokens"),
    ("turn/create", {"responseId": UNKNOWN, "inputCost": -0.5}, "params.inputCost"),
    ("turn/create", {"responseId": UNKNOWN, "status": "done"}, "params.status"),
    ("turn/create", {"responseId": UNKNOWN, "kind": ""}, "params.kind"),
    ("turn/create", {"responseId": UNKNOWN, "toolCalls": [{"id": "a"}, {"title": "b"}]}, "params.toolCalls[1].id"),
    ("turn/create", {"responseId": UNKNOWN, "toolCalls": [{"id": "a"}, {"id": "a"}]}, "params.toolCalls[1].id"),
    ("turn/create", {"responseId": UNKNOWN, "toolCalls": [{"id": "a", "x": 1}]}, "params.toolCalls[0].x"),
    ("turn/append", {"turnId": UNKNOWN}, "params.content"),
    ("turn/append", {"turnId": UNKNOWN, "content": "x", "chunk": -1}, "params.chunk"),
    ("toolCall/upsert", {"turnId": UNKNOWN, "toolCall": {"id": ""}}, "params.toolCall.id"),
    ("response/update", {"responseId": UNKNOWN, "status": "streaming"}, "params.status"),
    ("turn/subscribe", {"turnId": UNKNOWN, "sessionId": UNKNOWN}, "params"),
    ("session/create", {"scope": "planet"}, "params.scope"),
    ("transaction/run", {"operations": [{"method": 3}]}, "params.operations[0].method"),
]


@pytest.mark.parametrize(("method", "params", "path"), VALUES)
def test_a_value_that_breaks_a_rule_is_named(
    client: StrictSyncClient, method: str, params: dict[str, Any], path: str
) -> None:
    error = client.error(method, **params)
    assert (error.code, error.data["path"]) == (-32602, path)


def test_ids_of_another_entity_are_not_found(client: StrictSyncClient) -> None:
    conversation = Talk(client)
    turn = conversation.turn()
    for method, field, wrong, entity in [
        ("session/get", "sessionId", turn, "session"),
        ("round/get", "roundId", conversation.session, "round"),
        ("request/get", "requestId", conversation.response, "request"),
        ("response/get", "responseId", conversation.request, "response"),
        ("turn/get", "turnId", conversation.response, "turn"),
        ("turn/subscribe", "turnId", conversation.response, "turn"),
        ("turn/unsubscribe", "subscriptionId", turn, "subscription"),
        ("session/subscribe", "sessionId", turn, "session"),
        ("session/history", "sessionId", turn, "session"),
        ("turn/list", "responseId", turn, "response"),
    ]:
        error = client.error(method, **{field: wrong})
        assert (error.code, error.data["entity"], error.data["id"]) == (-32010, entity, wrong)


def test_an_external_id_of_several_agents_names_the_candidates(client: StrictSyncClient) -> None:
    ids = [client.session_create(external_id="e", agent=agent).id for agent in ("a", "b", None)]
    error = client.error("session/get", externalId="e")
    assert (error.code, error.data["reason"], error.data["candidates"]) == (-32011, "ambiguous", ids)
    assert "'a', 'b', none; give the agent too" in str(error)
    assert client.session_get(external_id="e", agent="b").id == ids[1]


def test_a_status_that_ended_stays(client: StrictSyncClient) -> None:
    conversation = Talk(client)
    for final in (TurnStatus.COMPLETED, TurnStatus.ERROR, TurnStatus.CANCELLED):
        turn = conversation.turn(content="x", status=final)
        for other in ("streaming", "interrupted", "completed", "error", "cancelled"):
            if other != final:
                error = client.error("turn/update", turnId=turn, status=other)
                assert (error.code, error.data["reason"]) == (-32011, "turnEnded")
        assert client.error("turn/append", turnId=turn, content="y").data["reason"] == "turnEnded"
        assert client.error("turn/update", turnId=turn, content="y").data["reason"] == "turnEnded"
        again = client.turn_update(turn_id=turn, status=final, content="x", output_tokens=5)
        assert (again.content, again.output_tokens) == ("x", 5)


def test_create_calls_can_be_sent_again(client: StrictSyncClient) -> None:
    ids = [f"{n:08d}-AC96-774B-BCCE-B302099A8057" for n in range(3)]
    session = {"id": ids[0], "title": "t", "metadata": {"a": 1, "b": 2}}
    first = client.request("session/create", session)
    again = client.request("session/create", {"metadata": {"b": 2, "a": 1}, "title": "t", "id": ids[0].lower()})
    assert first == again
    assert first["id"] == ids[0].lower()
    detail = {"sessionId": ids[0], "content": "c", "id": ids[1]}
    assert client.request("round/create", detail) == client.request("round/create", detail)
    turn = {"responseId": client.round_get(round_id=ids[1]).response.id, "id": ids[2], "content": "a"}
    client.request("turn/create", turn)
    client.turn_append(turn_id=ids[2], content="b")
    assert client.request("turn/create", turn)["content"] == "ab"
    for method, params in (
        ("session/create", session | {"title": "other"}),
        ("round/create", detail | {"content": "other"}),
        ("turn/create", turn | {"content": "other"}),
    ):
        error = client.error(method, **params)
        assert (error.code, error.data["reason"]) == (-32011, "idInUse")
    client.session_delete(session_id=ids[0])
    assert client.request("session/create", session | {"title": "anew"})["title"] == "anew"


def test_pieces_can_be_sent_again(client: StrictSyncClient) -> None:
    turn = Talk(client).turn()
    first = client.turn_append(turn_id=turn, content="a", chunk=0)
    assert client.turn_append(turn_id=turn, content="a", chunk=0) == first
    second = client.turn_append(turn_id=turn, content="b")
    assert (second.chunk, second.chunk_count) == (1, 2)
    gap = client.error("turn/append", turnId=turn, content="d", chunk=3)
    assert (gap.code, gap.data["expected"], gap.data["actual"]) == (-32011, 2, 3)
    client.turn_update(turn_id=turn, status=TurnStatus.COMPLETED)
    assert client.turn_append(turn_id=turn, content="b", chunk=1).seq == second.seq
    assert client.turn_get(turn_id=turn).content == "ab"


def test_a_transaction_is_all_or_nothing(client: StrictSyncClient) -> None:
    operations: list[dict[str, Any]] = [
        {"method": "session/create", "params": {"id": UNKNOWN}},
        {"method": "round/create", "params": {"sessionId": UNKNOWN, "content": "x"}},
    ]
    error = client.error("transaction/run", operations=[*operations, {"method": "turn/append", "params": {}}])
    assert (error.code, error.data["operation"]) == (-32602, 2)
    assert error.data["path"] == "params.operations[2].params.turnId"
    assert client.session_list().sessions == []
    results = client.request("transaction/run", {"operations": operations})["results"]
    assert results[1]["round"]["sessionId"] == UNKNOWN
    for method in ("turn/get", "transaction/run", "turn/subscribe", "nope"):
        assert client.error("transaction/run", operations=[{"method": method}]).data["operation"] == 0


OPAQUE: list[Any] = [
    {"jsonrpc": "2.0", "id": 1, "method": "x"}, [{"jsonrpc": {"jsonrpc": []}}], {"class": 1, "1x": 2, "": 3, "a b": 4},
    2**64, -(2**200), 10**4000, 1.0, 1e100, -0.0, 0.1, "\x00", "\u2028\u2029\x85", "🦑", True, None, "\\ud800",
]  # fmt: skip


def test_content_is_opaque(backend: Backend, workspace: Path, framing: Framing) -> None:
    with backend.connected(workspace, framing=framing) as client:
        call = {"id": "c", "arguments": OPAQUE, "response": OPAQUE, "content": OPAQUE, "locations": OPAQUE}
        turn = Talk(client).turn(content="".join(map(str, OPAQUE)), metadata={"all": OPAQUE}, tool_calls=[call])
        found = client.turn_get(turn_id=turn)
        assert repr(found.metadata) == repr({"all": OPAQUE})
        assert found.content == "".join(map(str, OPAQUE))
        assert repr([getattr(found.tool_calls[0], name) for name in call if name != "id"]) == repr([OPAQUE] * 4)


def test_a_failed_append_that_nobody_waits_for_is_told(client: StrictSyncClient) -> None:
    client.notify("turn/append", {"turnId": UNKNOWN, "content": "x", "chunk": 3})
    rejected = client.told("turn/rejected")
    assert (rejected.turn_id, rejected.chunk, rejected.error["code"]) == (UNKNOWN, 3, -32010)
    client.notify("turn/append", {"turnId": 5, "content": []})
    assert client.told("turn/rejected").turn_id is None
    client.notify("session/delete", {"sessionId": UNKNOWN})
    client.notify("no/such/method")
    assert client.session_list().sessions == []


def test_errors_hold_neither_sql_nor_a_path_of_the_code(client: StrictSyncClient) -> None:
    for method, params in [*((m, p) for m, p, _ in VALUES), ("turn/get", {"turnId": UNKNOWN}), ("nope", {})]:
        error = client.error(method, **params)
        told = json.dumps([str(error), error.data])
        assert not any(word in told for word in ("Traceback", ".py", "SELECT", "INSERT", "sqlite3"))

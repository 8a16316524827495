"""What bad input gets: the answer of the protocol's section 5, exactly once, and the connection goes on.

Each type in each field, each limit, and input that nobody thought of: see ``tests/hostile``.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wire import Conversation, Framing, Wire, run_script, serving

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
PING = {"jsonrpc": "2.0", "id": "ping", "method": "server/health"}
CREATE = {"jsonrpc": "2.0", "id": 1, "method": "session/create"}


def envelope(**changes: Any) -> bytes:
    return json.dumps(CREATE | changes).encode()


BROKEN: dict[str, tuple[bytes, Any, int, str]] = {
    "no JSON": (b"{oops", None, -32700, "parse"),
    "half a message, its id first": (b'{"jsonrpc":"2.0","id":7,"method":', 7, -32700, "parse"),
    "an id that is cut off": (b'{"jsonrpc":"2.0","id":12', None, -32700, "parse"),
    "an id that is no number": (b'{"jsonrpc":"2.0","id":01,"method":"m"}', None, -32700, "parse"),
    "bad UTF-8": (b'{"jsonrpc":"2.0","id":"x","method":"\xff"}', "x", -32700, "parse"),
    "NaN": (b'{"jsonrpc":"2.0","id":3,"method":"session/create","params":{"metadata":{"a":NaN}}}', 3, -32700, "parse"),
    "beyond a double": (b'{"jsonrpc":"2.0","id":3,"method":"m","params":{"a":1e999}}', 3, -32700, "parse"),
    "a scalar": (b"17", None, -32600, "invalidRequest"),
    "a string": (b'"hello"', None, -32600, "invalidRequest"),
    "an empty batch": (b"[]", None, -32600, "invalidRequest"),
    "no version": (b'{"id":4,"method":"session/create"}', 4, -32600, "invalidRequest"),
    "another version": (envelope(jsonrpc="1.0"), 1, -32600, "invalidRequest"),
    "a method that is no text": (envelope(method=3), 1, -32600, "invalidRequest"),
    "an id that is an object": (envelope(id={}), None, -32600, "invalidRequest"),
    "neither method nor result": (b'{"jsonrpc":"2.0","id":5}', 5, -32600, "invalidRequest"),
    "an unknown method": (envelope(method="session/creat"), 1, -32601, "methodNotFound"),
    "params that are a list": (envelope(params=[1]), 1, -32602, "invalidParams"),
    "nested too deep": (envelope(params={"metadata": json.loads("[" * 128 + "]" * 128)}), 1, -32600, "invalidRequest"),
    "nested far too deep": (b'{"jsonrpc":"2.0","id":6,"params":' + b"[" * 200_000, 6, -32600, "invalidRequest"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_gets_one_error_and_the_next_is_carried_out(
    workspace: Path, framing: Framing, name: str
) -> None:
    body, message_id, code, kind = BROKEN[name]
    with serving(workspace, framing) as wire:
        wire.send_bytes(wire.frame(body))
        answer = wire.next_message()
        assert (answer["id"], answer["error"]["code"]) == (message_id, code)
        assert answer["error"]["data"]["kind"] == kind
        assert answer["error"]["data"]["retryable"] is False
        wire.send(PING)
        assert wire.answer("ping")["result"]["status"] == "ok"


@pytest.mark.parametrize(
    ("prefix", "lost"),
    [
        (b"X-Unknown: 1\r\ncontent-LENGTH: %d\r\nContent-Type: application/x; charset=utf-8\r\n\r\n", False),
        (b"Content-Length: %d\n\n", False),
        (b"\r\n\r\nContent-Length:%d\r\n\r\n", False),
        (b"Content-Length: abc\r\n\r\n{}\r\nContent-Length: %d\r\n\r\n", True),
        (b"Content-Length: -5\r\n\r\nrubbish\nCONTENT-LENGTH: %d\r\n\r\n", True),
        (b"X-Other: 5\r\n\r\nnot this Content-Length: 3x\r\n\ncontent-length: %d\r\n\r\n", True),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n\r\nContent-Length: %d\r\n\r\n", True),
        (b'"the rest of a body"}}Content-Length: %d\r\n\r\n', True),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_header_blocks(workspace: Path, prefix: bytes, lost: bool, at_once: bool) -> None:
    body = json.dumps(PING).encode()
    data = prefix % len(body) + body
    with serving(workspace, "headers") as wire:
        wire.send_bytes(b"Content-Length: %d\r\n\r\n%b" % (len(body), body.replace(b"ping", b"pong")))
        for part in [data] if at_once else [data[n : n + 1] for n in range(len(data))]:
            wire.send_bytes(part)
        assert wire.answer("pong")
        assert wire.answer("ping")
        if lost:
            assert wire.next_message()["error"]["code"] == -32700


def test_a_byte_order_mark_blank_lines_and_crlf_are_skipped(workspace: Path) -> None:
    body = json.dumps(PING).encode()
    found = run_script(workspace, b"\xef\xbb\xbf\r\n \n" + body + b"\r\n\r\n" + body)
    assert [message["id"] for message in found] == ["ping", "ping"]


@pytest.mark.parametrize("size", [2048, 5_000_000])
def test_a_message_that_is_too_large_is_skipped(workspace: Path, framing: Framing, size: int) -> None:
    with serving(workspace, framing, "--max-message-bytes", "2047") as wire:
        body = envelope(id=9, params={"title": ""})
        wire.send_bytes(wire.frame(body.replace(b'""', b'"' + b"x" * (size - len(body)) + b'"')))
        answer = wire.next_message()
        assert (answer["id"], answer["error"]["code"]) == (9, -32600)
        assert answer["error"]["data"]["kind"] == "tooLarge"
        fits = envelope(id=10, params={"title": ""})
        wire.send_bytes(wire.frame(fits.replace(b'""', b'"' + b"x" * (2047 - len(fits)) + b'"')))
        assert "result" in wire.answer(10)


def test_a_batch_is_answered_as_one(wire: Wire) -> None:
    wire.send(
        [
            CREATE | {"params": {"title": "a"}},
            {"jsonrpc": "2.0", "method": "session/create", "params": {"title": "b"}},
            1,
            CREATE | {"id": 2, "method": "nope"},
            CREATE | {"id": 3, "method": "session/list"},
        ]
    )
    answers = wire.next_message()
    by_id = {answer["id"]: answer for answer in answers}
    assert len(answers) == 4
    assert by_id[None]["error"]["code"] == -32600
    assert by_id[2]["error"]["code"] == -32601
    assert {session["title"] for session in by_id[3]["result"]["sessions"]} == {"a", "b"}
    wire.send([{"jsonrpc": "2.0", "method": "session/create"}])
    assert len(wire.request("session/list")["sessions"]) == 3


def test_fields_that_are_the_clients_own_are_ignored(wire: Wire) -> None:
    wire.request("session/create", _trace=1, workDoneToken="a", partialResultToken=2)


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
def test_a_value_that_breaks_a_rule_is_named(wire: Wire, method: str, params: dict[str, Any], path: str) -> None:
    error = wire.error(method, **params)
    assert (error["code"], error["data"]["path"]) == (-32602, path)


def test_ids_of_another_entity_are_not_found(wire: Wire) -> None:
    conversation = Conversation(wire)
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
        error = wire.error(method, **{field: wrong})
        assert (error["code"], error["data"]["entity"], error["data"]["id"]) == (-32010, entity, wrong)


def test_a_status_that_ended_stays(wire: Wire) -> None:
    conversation = Conversation(wire)
    for final in ("completed", "error", "cancelled"):
        turn = conversation.turn(content="x", status=final)
        for other in ("streaming", "interrupted", "completed", "error", "cancelled"):
            if other != final:
                error = wire.error("turn/update", turnId=turn, status=other)
                assert (error["code"], error["data"]["reason"]) == (-32011, "turnEnded")
        assert wire.error("turn/append", turnId=turn, content="y")["data"]["reason"] == "turnEnded"
        assert wire.error("turn/update", turnId=turn, content="y")["data"]["reason"] == "turnEnded"
        again = wire.request("turn/update", turnId=turn, status=final, content="x", outputTokens=5)
        assert (again["content"], again["outputTokens"]) == ("x", 5)


def test_create_calls_can_be_sent_again(wire: Wire) -> None:
    ids = [f"{n:08d}-AC96-774B-BCCE-B302099A8057" for n in range(3)]
    session = {"id": ids[0], "title": "t", "metadata": {"a": 1, "b": 2}}
    first = wire.request("session/create", **session)
    again = wire.request("session/create", metadata={"b": 2, "a": 1}, title="t", id=ids[0].lower())
    assert first == again
    assert first["id"] == ids[0].lower()
    detail = {"sessionId": ids[0], "content": "c", "id": ids[1]}
    assert wire.request("round/create", **detail) == wire.request("round/create", **detail)
    turn = {"responseId": wire.request("round/get", roundId=ids[1])["response"]["id"], "id": ids[2], "content": "a"}
    wire.request("turn/create", **turn)
    wire.request("turn/append", turnId=ids[2], content="b")
    assert wire.request("turn/create", **turn)["content"] == "ab"
    for method, params in (
        ("session/create", session | {"title": "other"}),
        ("round/create", detail | {"content": "other"}),
        ("turn/create", turn | {"content": "other"}),
    ):
        error = wire.error(method, **params)
        assert (error["code"], error["data"]["reason"]) == (-32011, "idInUse")
    wire.request("session/delete", sessionId=ids[0])
    assert wire.request("session/create", **session | {"title": "anew"})["title"] == "anew"


def test_pieces_can_be_sent_again(wire: Wire) -> None:
    turn = Conversation(wire).turn()
    first = wire.request("turn/append", turnId=turn, content="a", chunk=0)
    assert wire.request("turn/append", turnId=turn, content="a", chunk=0) == first
    second = wire.request("turn/append", turnId=turn, content="b")
    assert (second["chunk"], second["chunkCount"]) == (1, 2)
    gap = wire.error("turn/append", turnId=turn, content="d", chunk=3)
    assert (gap["code"], gap["data"]["expected"], gap["data"]["actual"]) == (-32011, 2, 3)
    wire.request("turn/update", turnId=turn, status="completed")
    assert wire.request("turn/append", turnId=turn, content="b", chunk=1)["seq"] == second["seq"]
    assert wire.request("turn/get", turnId=turn)["content"] == "ab"


def test_a_transaction_is_all_or_nothing(wire: Wire) -> None:
    operations: list[dict[str, Any]] = [
        {"method": "session/create", "params": {"id": UNKNOWN}},
        {"method": "round/create", "params": {"sessionId": UNKNOWN, "content": "x"}},
    ]
    error = wire.error("transaction/run", operations=[*operations, {"method": "turn/append", "params": {}}])
    assert (error["code"], error["data"]["operation"]) == (-32602, 2)
    assert error["data"]["path"] == "params.operations[2].params.turnId"
    assert wire.request("session/list")["sessions"] == []
    results = wire.request("transaction/run", operations=operations)["results"]
    assert results[1]["round"]["sessionId"] == UNKNOWN
    for method in ("turn/get", "transaction/run", "turn/subscribe", "nope"):
        assert wire.error("transaction/run", operations=[{"method": method}])["data"]["operation"] == 0


OPAQUE: list[Any] = [
    {"jsonrpc": "2.0", "id": 1, "method": "x"}, [{"jsonrpc": {"jsonrpc": []}}], {"class": 1, "1x": 2, "": 3, "a b": 4},
    2**64, -(2**200), 10**4000, 1.0, 1e100, -0.0, 0.1, "\x00", "\u2028\u2029\x85", "🦑", True, None, "\\ud800",
]  # fmt: skip


def test_content_is_opaque(workspace: Path, framing: Framing) -> None:
    with serving(workspace, framing) as wire:
        call = {"id": "c", "arguments": OPAQUE, "response": OPAQUE, "content": OPAQUE, "locations": OPAQUE}
        turn = Conversation(wire).turn(content="".join(map(str, OPAQUE)), metadata={"all": OPAQUE}, toolCalls=[call])
        found = wire.request("turn/get", turnId=turn)
        assert repr(found["metadata"]) == repr({"all": OPAQUE})
        assert found["content"] == "".join(map(str, OPAQUE))
        assert repr([found["toolCalls"][0][name] for name in call if name != "id"]) == repr([OPAQUE] * 4)


def test_a_line_is_a_line_for_every_reader(workspace: Path) -> None:
    found = run_script(workspace, CREATE | {"params": {"title": "a\u2028b\u2029c\x85d\x0be"}})
    assert found[0]["result"]["title"] == "a\u2028b\u2029c\x85d\x0be"


def test_a_failed_append_that_nobody_waits_for_is_told(wire: Wire) -> None:
    wire.notify("turn/append", turnId=UNKNOWN, content="x", chunk=3)
    rejected = wire.notification("turn/rejected")
    assert (rejected["turnId"], rejected["chunk"], rejected["error"]["code"]) == (UNKNOWN, 3, -32010)
    wire.notify("turn/append", turnId=5, content=[])
    assert wire.notification("turn/rejected")["turnId"] is None
    wire.notify("session/delete", sessionId=UNKNOWN)
    wire.notify("no/such/method")
    assert wire.request("session/list")["sessions"] == []


def test_errors_hold_neither_sql_nor_a_path_of_the_code(wire: Wire) -> None:
    for method, params in [*((m, p) for m, p, _ in VALUES), ("turn/get", {"turnId": UNKNOWN}), ("nope", {})]:
        told = json.dumps(wire.error(method, **params))
        assert not any(word in told for word in ("Traceback", ".py", "SELECT", "INSERT", "sqlite3"))


@pytest.mark.parametrize("pipelined", [1, 5])
@pytest.mark.parametrize("method", ["turn/append", "session/create", "session/list", "turn/subscribe"])
def test_a_store_that_another_program_broke_is_told_of(workspace: Path, method: str, pipelined: int) -> None:
    """Another program takes a table away: no method that needs it can do its work; each request is told so, once."""
    with serving(workspace) as wire:
        conversation = Conversation(wire)
        turn = conversation.turn(detached=True)
        other_program(workspace, "DROP TABLE feed")
        params = {"turn/append": {"turnId": turn, "content": "x"}, "session/get": {"sessionId": conversation.session}}
        for message_id in [wire.post(method, **params.get(method, {})) for _ in range(pipelined)]:
            error = wire.answer(message_id)["error"]
            assert (error["code"], error["data"]["reason"]) == (-32013, "corrupt")
        assert wire.notification("server/healthChanged")["status"] == "degraded"
        assert wire.error("no/such/method")["code"] == -32601


@pytest.mark.parametrize("pipelined", [1, 5])
@pytest.mark.parametrize("method", ["turn/append", "session/create"])
def test_a_trigger_of_another_program_is_named_by_each_answer(workspace: Path, method: str, pipelined: int) -> None:
    with serving(workspace) as wire:
        turn = Conversation(wire).turn(detached=True)
        other_program(workspace, "CREATE TRIGGER no BEFORE INSERT ON feed BEGIN SELECT raise(ABORT, 'no'); END")
        params = {"turnId": turn, "content": "x"} if method == "turn/append" else {}
        for message_id in [wire.post(method, **params) for _ in range(pipelined)]:
            error = wire.answer(message_id)["error"]
            assert (error["data"]["kind"], error["data"]["reason"]) == ("storage", "corrupt")
            assert "trigger no" in error["message"]
        wire.let_be("server/healthChanged")
        assert wire.error("no/such/method")["code"] == -32601
        assert wire.request("turn/get", turnId=turn)["content"] == ""


def other_program(workspace: Path, statement: str) -> None:
    with closing(sqlite3.connect(workspace / ".ws" / "db.sqlite")) as other:
        other.execute(statement)

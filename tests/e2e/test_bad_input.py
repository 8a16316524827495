"""What bad input gets: the answer of the protocol's section 5, exactly once, and the connection goes on.

Each type in each field, each limit, and input that nobody thought of: see ``tests/hostile``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wire import Framing, Wire, run_script, serving

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


@pytest.mark.parametrize(
    ("line", "message_id"),
    [
        (envelope(id=7, method="server/health"), 7),
        (envelope(id="a", params={"text": "Content-Length: 5"}), "a"),
        (b'{"jsonrpc":"2.0","method":"initialized"}', None),
        (b'{"id":7}}', None),
        (b'{"jsonrpc":"2.0","id":7,"result":null}', None),
        (b"[1]", None),
        (b"{", None),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n\r\n"])
def test_a_line_of_json_between_messages_with_headers_is_answered(
    workspace: Path, line: bytes, message_id: str | int | None, end: bytes
) -> None:
    """At once, before another message comes: whoever sent it may wait for that. It is not carried out."""
    with serving(workspace, "headers") as wire:
        wire.send(PING)
        assert wire.answer("ping")
        wire.send_bytes(line + end)
        answer = wire.next_message()
        assert (answer["id"], answer["error"]["code"]) == (message_id, -32700)
        assert answer["error"]["data"]["kind"] == "parse"
        wire.send(PING)
        assert wire.answer("ping")["result"]["status"] == "ok"


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


def test_a_line_is_a_line_for_every_reader(workspace: Path) -> None:
    found = run_script(workspace, CREATE | {"params": {"title": "a\u2028b\u2029c\x85d\x0be"}})
    assert found[0]["result"]["title"] == "a\u2028b\u2029c\x85d\x0be"

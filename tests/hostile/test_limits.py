"""Each limit on both sides: at it all is well; one beyond is refused by name, changes nothing, and is not the end."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from figures import record
from hostile.memory import MIB, needs_proc, peak, resident
from mandrake_sessions.limits import (
    MAX_BATCH,
    MAX_INTEGER_DIGITS,
    MAX_JSON_DEPTH,
    MAX_LIMIT,
    MAX_METADATA_BYTES,
    MAX_OPERATIONS,
    MAX_PENDING,
    MAX_SUBSCRIPTIONS,
    MAX_TEXT_BYTES,
)
from wire import Conversation, Framing, Message, Wire, serving

FAST = ("--durability", "normal")
PAGE = Path(__file__).parents[2] / "docs" / "limits.md"


@pytest.fixture
def quick(workspace: Path) -> Iterator[Wire]:
    with serving(workspace, "lines", *FAST) as wire:
        yield wire


def stored(wire: Wire) -> int:
    """The seq of the last change in the store."""
    seq: int = wire.request("session/list", limit=1)["seq"]
    return seq


def test_server_info_and_the_page_of_limits_name_each_limit(wire: Wire) -> None:
    told = wire.request("server/info")["limits"]
    page = PAGE.read_text(encoding="utf-8")
    for name, value in told.items():
        shown = f"{value // MIB} MiB" if name.endswith("Bytes") else f"{value:,}"
        assert shown in page, name
    assert set(told) == {
        "maxMessageBytes", "maxTextBytes", "maxMetadataBytes", "maxDepth", "maxValues", "maxIntegerDigits", "maxLimit",
        "maxSubscriptions", "maxOperations", "maxBatch", "maxPending", "maxPendingBytes",
    }  # fmt: skip


def test_values_of_a_message(quick: Wire) -> None:
    """Arrays and objects without end are refused before one of them is made; the same bytes in a text are none."""
    before = stored(quick)
    error = quick.error("session/create", metadata={"m": [[]] * 600_000})
    assert (error["code"], error["data"]["kind"]) == (-32600, "tooLarge")
    assert stored(quick) == before
    assert quick.request("session/create", metadata={"m": "[]," * 600_000})["metadata"] == {"m": "[]," * 600_000}
    assert len(quick.request("session/create", metadata={"m": [1] * 800_000})["metadata"]["m"]) == 800_000


def metadata(size: int, letter: str = "x") -> dict[str, Any]:
    """An object that takes so many bytes as it is stored."""
    room = size - len('{"a":""}')
    width = len(letter.encode())
    return {"a": letter * (room // width) + "x" * (room % width)}


METADATA: list[tuple[str, str, str]] = [
    ("session/create", "metadata", "x"),
    ("session/update", "metadata", "é"),
    ("round/create", "metadata", "\u2028"),
    ("round/update", "metadata", "x"),
    ("turn/create", "metadata", "🦑"),
    ("turn/create", "toolCalls[0].metadata", "x"),
    ("turn/update", "metadata", "x"),
    ("toolCall/upsert", "toolCall.metadata", "é"),
]


def with_metadata(conversation: Conversation, turn: str, method: str, path: str, value: Any) -> dict[str, Any]:
    needed = {
        "session/create": {},
        "session/update": {"sessionId": conversation.session},
        "round/create": {"sessionId": conversation.session, "content": "?"},
        "round/update": {"roundId": conversation.round},
        "turn/create": {"responseId": conversation.response},
        "turn/update": {"turnId": turn},
        "toolCall/upsert": {"turnId": turn},
    }[method]
    call = {"id": "c", "metadata": value}
    given = {"metadata": value, "toolCalls[0].metadata": [call], "toolCall.metadata": call}[path]
    return needed | {path.partition(".")[0].removesuffix("[0]"): given}


@pytest.mark.parametrize(("method", "path", "letter"), METADATA)
def test_metadata(quick: Wire, method: str, path: str, letter: str) -> None:
    conversation = Conversation(quick)
    turn = conversation.turn()
    fits = metadata(MAX_METADATA_BYTES, letter)
    result = quick.request(method, **with_metadata(conversation, turn, method, path, fits))
    assert json.dumps(fits, ensure_ascii=False) in json.dumps(result, ensure_ascii=False)
    before = stored(quick)
    beyond = with_metadata(conversation, turn, method, path, metadata(MAX_METADATA_BYTES + 1, letter))
    error = quick.error(method, **beyond)
    assert (error["code"], error["data"]["kind"]) == (-32600, "tooLarge")
    assert error["data"]["path"] == f"params.{path}"
    error = quick.error("transaction/run", operations=[{"method": method, "params": beyond}])
    assert (error["data"]["kind"], error["data"]["operation"]) == ("tooLarge", 0)
    assert error["data"]["path"] == f"params.operations[0].params.{path}"
    assert stored(quick) == before


def nested(levels: int) -> Any:
    """Objects and arrays in turn, so many."""
    value: Any = {}
    for level in range(levels - 1):
        value = [value] if level % 2 else {"a": value}
    return value


def test_nesting(quick: Wire, framing: Framing) -> None:
    # The message, its params and the metadata's object stand around it.
    fits = {"a": nested(MAX_JSON_DEPTH - 3)}
    assert quick.request("session/create", metadata=fits)["metadata"] == fits
    before = stored(quick)
    error = quick.error("session/create", metadata={"a": nested(MAX_JSON_DEPTH - 2)})
    assert (error["code"], error["data"]["kind"]) == (-32600, "invalidRequest")
    assert stored(quick) == before


def test_digits_of_an_integer(quick: Wire) -> None:
    fits = {"a": 10 ** (MAX_INTEGER_DIGITS - 1), "b": -(10 ** (MAX_INTEGER_DIGITS - 1))}
    assert quick.request("session/create", metadata=fits)["metadata"] == fits
    before = stored(quick)
    error = quick.error("session/create", metadata={"a": 10**MAX_INTEGER_DIGITS})
    assert (error["code"], error["data"]["kind"]) == (-32700, "parse")
    assert stored(quick) == before


def test_rows_of_a_page(quick: Wire) -> None:
    conversation = Conversation(quick)
    pages = {
        "session/list": {},
        "session/history": {"sessionId": conversation.session},
        "round/list": {"sessionId": conversation.session},
        "turn/list": {"responseId": conversation.response},
    }
    for method, params in pages.items():
        quick.request(method, **params, limit=MAX_LIMIT)
        error = quick.error(method, **params, limit=MAX_LIMIT + 1)
        assert (error["data"]["kind"], error["data"]["path"]) == ("invalidParams", "params.limit")


# A text of the greatest size has to fit into a message.
ROOMY = (*FAST, "--max-message-bytes", str(MAX_TEXT_BYTES + MIB))
# The text as it was read, decoded, checked, bound and sent again: a few times its size, and no more the second time.
MAY_GROW = 12 * MAX_TEXT_BYTES


@pytest.mark.parametrize(("field", "letter"), [("content", "x"), ("rawResponse", "é")])
@needs_proc
def test_the_text_of_a_turn(workspace: Path, field: str, letter: str) -> None:
    """Created, appended and replaced, each up to the last byte; the two texts count for themselves."""
    full = letter * (MAX_TEXT_BYTES // len(letter.encode()))
    other = {"content": "rawResponse", "rawResponse": "content"}[field]
    with serving(workspace, "headers", *ROOMY) as wire:
        conversation = Conversation(wire)
        before = resident(wire.process)

        def request(method: str, **params: Any) -> Any:
            """Sent in UTF-8: with escapes the message would be three times as long."""
            message = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
            wire.send_bytes(wire.frame(json.dumps(message, ensure_ascii=False).encode()))
            return wire.answer(method)

        def refused(method: str, **params: Any) -> None:
            seq = stored(wire)
            error = request(method, **params)["error"]
            assert (error["code"], error["data"]["kind"]) == (-32600, "tooLarge")
            assert error["data"]["path"] == f"params.{field}"
            assert stored(wire) == seq

        quiet = {"includeText": False}
        created = request("turn/create", responseId=conversation.response, **{field: full}, **quiet)["result"]["id"]
        refused("turn/create", responseId=conversation.response, **{field: full + "x"})
        refused("turn/append", turnId=created, **{field: "x"})
        wire.request("turn/append", turnId=created, **{other: "y"})
        assert "result" in request("turn/update", turnId=created, **{field: full[1:]}, **quiet)
        wire.request("turn/append", turnId=created, **{field: letter})
        refused("turn/append", turnId=created, **{field: "x"})
        refused("turn/update", turnId=created, **{field: "x" + full})
        assert wire.request("turn/get", turnId=created)[field] == full
        grown = peak(wire.process) - before
        record("text of a turn at its limit", peak_bytes=grown, text_bytes=MAX_TEXT_BYTES, field=field, letter=letter)
        assert grown < MAY_GROW


def test_subscriptions_of_a_connection(quick: Wire) -> None:
    """To turns and to sessions, in all stores together; each one that ends leaves room for one."""
    turn = Conversation(quick).turn()
    follow = {"turn/subscribe": {"turnId": turn}, "session/subscribe": {"scope": "system"}}
    posted = [quick.post("turn/subscribe", turnId=turn) for _ in range(MAX_SUBSCRIPTIONS - 1)]
    ids = [quick.result(message_id)["subscriptionId"] for message_id in posted]
    system = quick.request("session/subscribe", scope="system")["subscriptionId"]

    def no_room() -> None:
        for method, params in follow.items():
            error = quick.error(method, **params)
            assert (error["code"], error["data"]["reason"]) == (-32011, "tooManySubscriptions")
            assert (error["data"]["expected"], error["data"]["actual"]) == (MAX_SUBSCRIPTIONS, MAX_SUBSCRIPTIONS + 1)
            assert "unsubscribe" in error["message"]

    no_room()
    quick.request("turn/unsubscribe", subscriptionId=ids.pop())
    ids.append(quick.request("turn/subscribe", turnId=turn)["subscriptionId"])
    no_room()
    quick.request("session/unsubscribe", subscriptionId=system)
    ids.append(quick.request("turn/subscribe", turnId=turn)["subscriptionId"])
    no_room()
    quick.request("turn/append", turnId=turn, content="x")
    told = [quick.notification()["subscriptionId"] for _ in range(MAX_SUBSCRIPTIONS)]
    assert sorted(told) == sorted(ids)


def test_subscriptions_that_end_by_themselves_leave_room(quick: Wire) -> None:
    turn = Conversation(quick).turn()
    for message_id in [quick.post("turn/subscribe", turnId=turn) for _ in range(MAX_SUBSCRIPTIONS)]:
        quick.result(message_id)
    quick.request("turn/delete", turnId=turn)
    for _ in range(MAX_SUBSCRIPTIONS):
        assert quick.notification()["kind"] == "deleted"
        assert quick.notification("subscription/ended")["reason"] == "deleted"
    quick.request("session/subscribe")


def test_operations_of_a_transaction(quick: Wire) -> None:
    turn = Conversation(quick).turn()
    append = {"method": "turn/append", "params": {"turnId": turn, "content": "x"}}
    results = quick.request("transaction/run", operations=[append] * MAX_OPERATIONS)["results"]
    assert [result["chunk"] for result in results] == list(range(MAX_OPERATIONS))
    before = stored(quick)
    error = quick.error("transaction/run", operations=[append] * (MAX_OPERATIONS + 1))
    assert (error["code"], error["data"]["kind"]) == (-32600, "tooLarge")
    assert error["data"]["path"] == "params.operations"
    assert stored(quick) == before


def append_message(turn: str, message_id: int) -> Message:
    return {
        "jsonrpc": "2.0", "id": message_id, "method": "turn/append", "params": {"turnId": turn, "content": "x"},
    }  # fmt: skip


def test_messages_of_a_batch(workspace: Path, framing: Framing) -> None:
    with serving(workspace, framing, *FAST) as wire:
        turn = Conversation(wire).turn()
        batch = [append_message(turn, number) for number in range(1_000_000, 1_000_000 + MAX_BATCH)]
        wire.send(batch)
        answers = wire.next_message()
        assert [answer["id"] for answer in answers] == [message["id"] for message in batch]
        assert [answer["result"]["chunk"] for answer in answers] == list(range(MAX_BATCH))
        before = stored(wire)
        wire.send([*batch, 1])
        answer = wire.next_message()
        assert (answer["id"], answer["error"]["code"]) == (None, -32600)
        assert answer["error"]["data"]["kind"] == "tooLarge"
        assert stored(wire) == before


def test_a_huge_batch_is_answered_once(wire: Wire) -> None:
    """Half as many messages as bytes fit into a message would otherwise be as many answers."""
    size = wire.request("server/info")["limits"]["maxMessageBytes"]
    wire.send_bytes(b"[1" + b",1" * ((size - 3) // 2) + b"]\n")
    answer = wire.next_message()
    assert (answer["id"], answer["error"]["data"]["kind"]) == (None, "tooLarge")
    wire.request("server/health")


# What a read may take beyond the last message that there was room for, and what a pipe holds.
BURST = 64 * 1024
FLOOD = 3 * MAX_PENDING
# 9 MB where 10,000 wait; when nothing bounded them, all of the flood took 28 MB.
FLOOD_MAY_GROW = 18 * MIB


def in_messages(lines: list[bytes]) -> Iterator[bytes]:
    yield from lines


def in_batches(lines: list[bytes]) -> Iterator[bytes]:
    """The same messages, a hundred a batch: what waits is counted by the message."""
    for start in range(0, len(lines), 100):
        yield b"[" + b",".join(line.rstrip() for line in lines[start : start + 100]) + b"]\n"


@needs_proc
@pytest.mark.parametrize("packed", [in_messages, in_batches])
def test_requests_that_wait(workspace: Path, packed: Any) -> None:
    """While another process holds the lock the server reads so much and no more: the client's pipe stays full. Then
    each request is answered, once and in order."""
    with serving(workspace, "lines", *FAST, "--busy-timeout", "100") as wire:
        turn = Conversation(wire).turn()
        lines = [json.dumps(append_message(turn, 1000 + number)).encode() + b"\n" for number in range(FLOOD)]
        sent: list[int] = [0]

        def flood() -> None:
            for part in packed(lines):
                wire.send_bytes(part)
                sent[0] += part.count(b'"id"')

        with closing(sqlite3.connect(workspace / ".ws" / "db.sqlite")) as other:
            other.execute("BEGIN IMMEDIATE")
            before = resident(wire.process)
            writer = threading.Thread(target=flood)
            writer.start()
            stuck = _settled(sent)
            grown = resident(wire.process) - before
            other.rollback()
        slack = 2 * BURST // len(lines[0]) + 200
        assert MAX_PENDING <= stuck <= MAX_PENDING + slack
        assert grown < FLOOD_MAY_GROW
        answers: list[Message] = []
        while len(answers) < FLOOD:
            message = wire.next_message()
            answers += message if isinstance(message, list) else [message]
        writer.join()
        assert [answer["id"] for answer in answers] == list(range(1000, 1000 + FLOOD))
        assert [answer["result"]["chunk"] for answer in answers] == list(range(FLOOD))
        record("requests behind a lock", sent=FLOOD, read_while_locked=stuck, grown_bytes=grown, packed=packed.__name__)


def _settled(count: list[int]) -> int:
    """A count that has stopped growing: it stood still for a while that is long beside a write to a pipe."""
    last, still = -1, 0
    while still < 20 or last < 1:
        time.sleep(0.05)
        still = still + 1 if count[0] == last else 0
        last = count[0]
    return last


def test_nothing_that_is_not_answered_takes_room_for_ever(workspace: Path, framing: Framing) -> None:
    """Notifications, of ours, of LSP's and of nobody's, and answers to no request: more of each than may wait."""
    with serving(workspace, framing, *FAST) as wire:
        wire.initialize()
        kinds: list[Message] = [
            {"jsonrpc": "2.0", "method": "$/setTrace", "params": {"value": "off"}},
            {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 5}},
            {"jsonrpc": "2.0", "method": "$/nobody/knows"},
            {"jsonrpc": "2.0", "method": "server/info"},
            {"jsonrpc": "2.0", "id": 5, "result": None},
        ]
        for message in kinds:
            wire.send_bytes(wire.frame(json.dumps(message).encode()) * (MAX_PENDING + 1))
            wire.send_bytes(wire.frame(json.dumps([message]).encode()) * 10)
            wire.request("server/health")

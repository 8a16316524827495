"""A piece sent again under its ordinal: acknowledged where it is the same, refused where it says something else.

What is acknowledged must be stored, so another text for a stored ordinal is never acknowledged while it can be told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.backends import Backend
from wire import Conversation, Message, Wire

STORED: list[Message] = [{"content": "abc"}, {"content": "d", "rawResponse": '{"d": 1}'}, {"rawResponse": "raw"}]


OTHERS: list[tuple[int, Message]] = [
    (0, {"content": "XYZ"}),
    (0, {"content": "ab"}),
    (0, {"content": "abc", "rawResponse": "more"}),
    (0, {"rawResponse": "abc"}),
    (1, {"content": "d"}),
    (1, {"content": "d", "rawResponse": '{"d":1}'}),
    (2, {"rawResponse": ""}),
    (2, {"content": "raw"}),
]


def stored_turn(wire: Wire, **fields: Any) -> str:
    turn = Conversation(wire).turn(**fields)
    for chunk, piece in enumerate(STORED):
        wire.request("turn/append", turnId=turn, chunk=chunk, **piece)
    return turn


def check(wire: Wire, turn: str) -> None:
    """Every stored piece is acknowledged again with its own seq; every other text is refused, and changes nothing."""
    before = wire.request("turn/get", turnId=turn)
    seqs = []
    for chunk, piece in enumerate(STORED):
        receipt = wire.request("turn/append", turnId=turn, chunk=chunk, **piece)
        seqs.append(receipt["seq"])
        assert (receipt["chunk"], receipt["chunkCount"]) == (chunk, len(STORED))
    assert seqs == sorted(set(seqs))
    for chunk, piece in OTHERS:
        error = wire.error("turn/append", turnId=turn, chunk=chunk, **piece)
        assert (error["code"], error["data"]["reason"]) == (-32011, "chunkDiffers"), piece
        assert "XYZ" not in str(error), "the error quotes a text"
    assert wire.request("turn/get", turnId=turn) == before


@pytest.mark.parametrize("end", ["streaming", "completed", "interrupted", "replaced"])
def test_another_text_for_a_stored_piece_is_refused(wire: Wire, end: str) -> None:
    turn = stored_turn(wire, content="begun ")
    change = {"content": "all of it anew"} if end == "replaced" else {"status": end}
    wire.request("turn/update", turnId=turn, **change)
    check(wire, turn)


def test_also_in_the_burst_that_stores_the_piece(wire: Wire) -> None:
    turn = Conversation(wire).turn()
    texts = [(0, "a"), (0, "a"), (0, "b"), (1, "c"), (1, "b"), (1, "c")]
    answers = [wire.answer(n) for n in [wire.post("turn/append", turnId=turn, chunk=n, content=t) for n, t in texts]]
    assert ["error" in answer for answer in answers] == [False, False, True, False, True, False]
    assert wire.request("turn/get", turnId=turn)["content"] == "ac"


def test_in_a_transaction_it_takes_the_whole_with_it(wire: Wire) -> None:
    turn = stored_turn(wire)
    pieces = [{"chunk": 3, "content": "new"}, {"chunk": 0, "content": "XYZ"}]
    operations = [{"method": "turn/append", "params": {"turnId": turn, **piece}} for piece in pieces]
    error = wire.error("transaction/run", operations=operations)
    assert (error["data"]["reason"], error["data"]["operation"]) == ("chunkDiffers", 1)
    assert wire.request("turn/get", turnId=turn)["chunkCount"] == len(STORED)
    check(wire, turn)


def test_a_notification_of_another_text_is_rejected_aloud(wire: Wire) -> None:
    turn = stored_turn(wire)
    wire.notify("turn/append", turnId=turn, chunk=0, content="XYZ")
    rejected = wire.notification("turn/rejected")
    assert (rejected["turnId"], rejected["chunk"]) == (turn, 0)
    assert rejected["error"]["data"]["reason"] == "chunkDiffers"


def test_what_is_no_longer_kept_is_acknowledged(backend: Backend, workspace: Path) -> None:
    """Nobody can tell then; the receipt has the turn's own seq."""
    with backend.serving(workspace, "lines", "--feed-max-bytes", "1024") as wire:
        turn = stored_turn(wire)
        wire.request("turn/update", turnId=turn, status="completed")
        sure = wire.request("turn/get", turnId=turn)
        wire.request("turn/append", turnId=Conversation(wire).turn(), content="newer than it" * 500)
        seq = 0
        while seq != sure["seq"]:
            seq = wire.request("turn/append", turnId=turn, chunk=0, content="abc")["seq"]
        assert wire.request("turn/append", turnId=turn, chunk=0, content="XYZ")["seq"] == sure["seq"]
        assert wire.request("turn/get", turnId=turn) == sure

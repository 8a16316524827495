"""A piece that is sent again to another process, after it was folded into the turn's text."""

from __future__ import annotations

from pathlib import Path

from conformance.test_chunk_differs import stored_turn
from wire import Wire, serving


def test_of_another_process_and_folded(workspace: Path, wire: Wire) -> None:
    """Many pieces, so that the first were folded into the turn's text long ago; the feed keeps them."""
    turn = stored_turn(wire)
    numbers = [wire.post("turn/append", turnId=turn, content=f"{n} ") for n in range(3000)]
    for number in numbers:
        wire.result(number)
    with serving(workspace) as other:
        assert other.request("turn/append", turnId=turn, chunk=0, content="abc")["chunk"] == 0
        assert other.error("turn/append", turnId=turn, chunk=0, content="abd")["data"]["reason"] == "chunkDiffers"

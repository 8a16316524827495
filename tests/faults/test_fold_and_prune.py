"""Folding a turn's pieces and pruning them from the feed, together and in a real server: no text is lost by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from wire import TIMEOUT, Conversation, Failed, Wire, serving

FEED = ("--feed-max-bytes", "100000")


def until_pruned(wire: Wire, turn_id: str) -> None:
    """Wait until the feed no longer has the turn's first change."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        start = wire.request("turn/subscribe", turnId=turn_id, since=0, includeText=False)
        wire.let_be("turn/updated")
        try:
            wire.request("turn/unsubscribe", subscriptionId=start["subscriptionId"])
        except Failed:
            # On a busy machine the feed was pruned before the subscription had read it.
            assert wire.notification("subscription/ended")["reason"] == "pruned"
        if start["reset"]:
            return
        time.sleep(0.1)
    raise AssertionError("the feed was not pruned")


@pytest.mark.parametrize("piece", ["x" * 300_000, "x", "\x00" * 5_000])
def test_text_that_was_folded_and_pruned_is_all_there(workspace: Path, piece: str) -> None:
    """Turns that stream: one piece that is folded at once, or one that is not; then pieces of another push them out."""
    with serving(workspace, "lines", *FEED) as wire:
        first, second, other = (Conversation(wire).turn() for _ in range(3))
        for turn_id in (first, second):
            wire.request("turn/append", turnId=turn_id, content=piece)
        for _ in range(4):
            wire.request("turn/append", turnId=other, content="y" * 50_000)
        until_pruned(wire, first)
        assert wire.request("turn/get", turnId=first)["chunkCount"] == 1
        assert wire.request("turn/append", turnId=first, content="z")["chunk"] == 1
        assert wire.request("turn/get", turnId=first)["content"] == piece + "z"
        assert wire.request("turn/update", turnId=second, status="completed")["content"] == piece
        wire.kill()
    with serving(workspace, "lines", *FEED) as wire:
        assert wire.request("turn/get", turnId=first)["content"] == piece + "z"
        assert wire.request("turn/append", turnId=first, content="!")["chunkCount"] == 3
        assert wire.request("turn/update", turnId=first, status="completed")["content"] == piece + "z!"
        assert wire.request("turn/get", turnId=other)["chunkCount"] == 4

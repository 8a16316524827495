"""Folding a turn's pieces and pruning them from the feed, together and in a real server: no text is lost by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mandrake_sessions.model import TurnStatus
from strict import StrictSyncClient, Talk, connected
from wire import TIMEOUT

FEED = ("--feed-max-bytes", "100000")


def until_pruned(client: StrictSyncClient, turn_id: str) -> None:
    """Wait until the feed no longer has the turn's first change."""
    client.let_be("turn/updated")
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        changes = client.followed("turn/subscribe", turnId=turn_id, since=0, includeText=False)
        if client.refusal("turn/unsubscribe", subscriptionId=changes.begun["subscriptionId"]) is not None:
            # On a busy machine the feed was pruned before the subscription had read it.
            assert changes.ended()["reason"] == "pruned"
        if changes.begun["reset"]:
            return
        time.sleep(0.1)
    raise AssertionError("the feed was not pruned")


@pytest.mark.parametrize("piece", ["x" * 300_000, "x", "\x00" * 5_000])
def test_text_that_was_folded_and_pruned_is_all_there(workspace: Path, piece: str) -> None:
    """Turns that stream: one piece that is folded at once, or one that is not; then pieces of another push them out."""
    with connected(workspace, *FEED) as client:
        first, second, other = (Talk(client).turn() for _ in range(3))
        for turn_id in (first, second):
            client.turn_append(turn_id=turn_id, content=piece)
        for _ in range(4):
            client.turn_append(turn_id=other, content="y" * 50_000)
        until_pruned(client, first)
        assert client.turn_get(turn_id=first).chunk_count == 1
        assert client.turn_append(turn_id=first, content="z").chunk == 1
        assert client.turn_get(turn_id=first).content == piece + "z"
        assert client.turn_update(turn_id=second, status=TurnStatus.COMPLETED).content == piece
        client.kill()
    with connected(workspace, *FEED) as client:
        assert client.turn_get(turn_id=first).content == piece + "z"
        assert client.turn_append(turn_id=first, content="!").chunk_count == 3
        assert client.turn_update(turn_id=first, status=TurnStatus.COMPLETED).content == piece + "z!"
        assert client.turn_get(turn_id=other).chunk_count == 4

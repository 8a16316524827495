"""Pruning: the feed stays within its bounds, and nothing but its past is lost."""

from __future__ import annotations

import pytest

from conformance.streaming import feed_bytes, feed_rows, keep_house, stream
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import FeedPruned
from mandrake_sessions.model import Scope, TurnStatus
from mandrake_sessions.operations.housekeeping import housekeeper


@pytest.mark.parametrize("ended", [True, False])
def test_what_was_streamed_outlives_its_pieces(manager: SessionManager, ended: bool) -> None:
    turn_id = stream(manager, 5000, content="begin ")
    if ended:
        manager.update_turn(turn_id, status=TurnStatus.COMPLETED)
    before = manager.get_turn(turn_id)
    keep_house(manager)
    assert manager.get_turn(turn_id) == before
    assert feed_rows(manager) < 15
    if not ended:
        assert manager.append_turn(turn_id, content="on").chunk == 5000
        assert manager.get_turn(turn_id).content == f"{before.content}on"
    # A piece that the feed no longer holds is acknowledged all the same.
    again = manager.append_turn(turn_id, content="0 piece, ", chunk=0)
    assert (again.chunk, again.seq) == (0, manager.get_turn(turn_id).seq)


def test_a_since_from_before_is_reset_and_one_that_is_kept_is_not(manager: SessionManager) -> None:
    turn_id = stream(manager, 5000)
    keep_house(manager)
    last = manager.feed.last_seq()
    start = manager.feed.follow_turns(Scope(), since=5)
    assert (start.reset, start.seq, [turn.id for turn in start.turns]) == (True, last, [turn_id])
    assert not manager.feed.follow_turns(Scope(), since=last).reset
    with pytest.raises(FeedPruned):
        manager.feed.changes_since(5)
    seqs = [change.seq for change in manager.feed.changes_since(last - 1)]
    assert seqs == [last]
    assert manager.create_session().seq == last + 1


def test_changes_that_are_young_and_few_are_kept(manager: SessionManager) -> None:
    stream(manager, 100)
    before = feed_rows(manager)
    keep_house(manager, max_bytes=10**6)
    assert feed_rows(manager) == before
    keep_house(manager, max_bytes=10**6, max_age=0.0)
    assert feed_rows(manager) == 1


def test_text_that_was_replaced_goes_with_the_change_that_named_it(manager: SessionManager) -> None:
    turn_id = stream(manager, 10, content="first", raw_response="raw")
    manager.update_turn(turn_id, content="second")
    manager.update_turn(turn_id, content="third", raw_response="rest")
    expected = manager.get_turn(turn_id)
    keep_house(manager)
    keep_house(manager, max_age=0.0)
    assert manager.get_turn(turn_id) == expected
    with manager.store.reading() as sql:
        assert sql.execute("SELECT content FROM text").fetchall() == [("third",)]


@pytest.mark.parametrize("text", ["x" * 300_000, "\x00" + "x" * 300_000, "ä" * 150_000, "x" * 5_000, "x"])
def test_the_feed_keeps_about_its_bound(manager: SessionManager, text: str) -> None:
    """However large a row is: at least the bound, and not much more than a row above it."""
    turn_id = stream(manager, 0)
    size = len(text.encode())
    bound = 20 * size if size > 1 else 100_000
    for _ in range(5):
        manager.append_pieces({"turn_id": turn_id, "content": text} for _ in range(2 * bound // (size + 90)))
        keep_house(manager, max_bytes=bound)
        assert bound <= feed_bytes(manager) <= bound * 17 // 16 + size + 500


def test_the_bound_holds_while_the_feed_grows(manager: SessionManager) -> None:
    """One housekeeper, which measures what is new alone; also where much of the feed was deleted meanwhile."""
    bound = 200_000
    keeper = housekeeper(manager.store, bound, 1000.0)
    turns = [stream(manager, 0) for _ in range(3)]
    for n in range(60):
        manager.append_turn(turns[n % 3], content="y" * (7_000 if n % 10 else 60_000))
        if n in (20, 40):
            manager.delete_turn(turns.pop())
            turns.append(stream(manager, 0))
            turns = [turns[-1], *turns[:-1]]
            before = feed_bytes(manager)
            for _ in range(20):
                keeper.step()
            assert feed_bytes(manager) >= min(before, bound)
        for _ in range(20):
            keeper.step()
        assert feed_bytes(manager) <= bound + 75_000


def test_a_text_that_is_replaced_again_and_again_does_not_stay(manager: SessionManager) -> None:
    turn_id = stream(manager, 3, content="first", raw_response="raw")
    keeper = housekeeper(manager.store, 100_000, 1000.0)
    for n in range(40):
        manager.update_turn(turn_id, content=f"{n}" + "z" * 20_000)
        for _ in range(5):
            keeper.step()
    with manager.store.reading() as sql:
        (held,) = sql.execute("SELECT sum(length(content)) FROM text").fetchone()
    assert held < 200_000
    assert manager.get_turn(turn_id).content == "39" + "z" * 20_000
    assert (manager.get_turn(turn_id).raw_response or "").startswith("raw<>")

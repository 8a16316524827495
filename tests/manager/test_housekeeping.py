"""Pruning and giving space back: the feed stays within its bounds, and nothing but its past is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import FeedPruned
from mandrake_sessions.model import Scope, TurnStatus
from mandrake_sessions.operations.housekeeping import housekeeper
from mandrake_sessions.store.idle import LATER


def keep_house(manager: SessionManager, max_bytes: int = 1024, max_age: float = 1000.0) -> None:
    keeper = housekeeper(manager.store, max_bytes, max_age)
    for _ in range(10_000):
        if keeper.step() == LATER:
            return
    raise AssertionError("the work never ends")


def stream(manager: SessionManager, pieces: int, **fields: str | bool) -> str:
    session = manager.create_session(title="long")
    turn = manager.create_turn(manager.create_round(session.id, content="?").response.id, **fields)  # type: ignore[arg-type]
    for start in range(0, pieces, 500):
        manager.append_pieces(
            {"turn_id": turn.id, "content": f"{n} piece, ", "raw_response": "<>"}
            for n in range(start, min(pieces, start + 500))
        )
    return turn.id


def feed_rows(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM feed").fetchone()[0])


@pytest.mark.parametrize("ended", [True, False])
def test_what_was_streamed_outlives_its_pieces(manager: SessionManager, database: Path, ended: bool) -> None:
    turn_id = stream(manager, 5000, content="begin ")
    if ended:
        manager.update_turn(turn_id, status=TurnStatus.COMPLETED)
    before = manager.get_turn(turn_id)
    keep_house(manager)
    assert manager.get_turn(turn_id) == before
    assert feed_rows(database) < 15
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


def test_changes_that_are_young_and_few_are_kept(manager: SessionManager, database: Path) -> None:
    stream(manager, 100)
    before = feed_rows(database)
    keep_house(manager, max_bytes=10**6)
    assert feed_rows(database) == before
    keep_house(manager, max_bytes=10**6, max_age=0.0)
    assert feed_rows(database) == 1


def test_text_that_was_replaced_goes_with_the_change_that_named_it(manager: SessionManager, database: Path) -> None:
    turn_id = stream(manager, 10, content="first", raw_response="raw")
    manager.update_turn(turn_id, content="second")
    manager.update_turn(turn_id, content="third", raw_response="rest")
    expected = manager.get_turn(turn_id)
    keep_house(manager)
    keep_house(manager, max_age=0.0)
    assert manager.get_turn(turn_id) == expected
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT content FROM text").fetchall() == [("third",)]


def test_the_file_is_hardly_more_than_its_text(manager: SessionManager, database: Path) -> None:
    turn_id = stream(manager, 60_000)
    manager.update_turn(turn_id, status=TurnStatus.COMPLETED)
    turn = manager.get_turn(turn_id)
    text = len(turn.content or "") + len(turn.raw_response or "")
    keep_house(manager)
    assert not Path(f"{database}-wal").stat().st_size
    assert database.stat().st_size < 1.3 * text + 300_000


def test_deleting_gives_space_back(manager: SessionManager, database: Path) -> None:
    keep_house(manager)
    empty = database.stat().st_size
    turn_id = stream(manager, 20_000)
    session_id = manager.list_sessions().sessions[0].id
    manager.update_turn(turn_id, status=TurnStatus.COMPLETED)
    keep_house(manager)
    assert database.stat().st_size > 3 * empty
    manager.delete_session(session_id)
    keep_house(manager)
    assert database.stat().st_size < empty + 100_000


def feed_bytes(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT content, raw_response, data FROM feed").fetchall()
    return sum(90 + sum(len(text.encode()) for text in row if text is not None) for row in rows)


@pytest.mark.parametrize("text", ["x" * 300_000, "\x00" + "x" * 300_000, "ä" * 150_000, "x" * 5_000, "x"])
def test_the_feed_keeps_about_its_bound(manager: SessionManager, database: Path, text: str) -> None:
    """However large a row is: at least the bound, and not much more than a row above it."""
    turn_id = stream(manager, 0)
    size = len(text.encode())
    bound = 20 * size if size > 1 else 100_000
    for _ in range(5):
        manager.append_pieces({"turn_id": turn_id, "content": text} for _ in range(2 * bound // (size + 90)))
        keep_house(manager, max_bytes=bound)
        assert bound <= feed_bytes(database) <= bound * 17 // 16 + size + 500


def test_the_bound_holds_while_the_feed_grows(manager: SessionManager, database: Path) -> None:
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
            before = feed_bytes(database)
            for _ in range(20):
                keeper.step()
            assert feed_bytes(database) >= min(before, bound)
        for _ in range(20):
            keeper.step()
        assert feed_bytes(database) <= bound + 75_000


def test_a_text_that_is_replaced_again_and_again_does_not_stay(manager: SessionManager, database: Path) -> None:
    turn_id = stream(manager, 3, content="first", raw_response="raw")
    keeper = housekeeper(manager.store, 100_000, 1000.0)
    for n in range(40):
        manager.update_turn(turn_id, content=f"{n}" + "z" * 20_000)
        for _ in range(5):
            keeper.step()
    with closing(sqlite3.connect(database)) as connection:
        (held,) = connection.execute("SELECT sum(length(content)) FROM text").fetchone()
    assert held < 200_000
    assert manager.get_turn(turn_id).content == "39" + "z" * 20_000
    assert (manager.get_turn(turn_id).raw_response or "").startswith("raw<>")


def test_a_store_that_was_replaced_is_measured_from_its_beginning(tmp_path: Path) -> None:
    large, small = tmp_path / "large.sqlite", tmp_path / "small.sqlite"
    with SessionManager(small) as manager:
        stream(manager, 5)
    with SessionManager(large) as manager:
        stream(manager, 500)
        keeper = housekeeper(manager.store, 2_000, 1000.0)
        for _ in range(20):
            keeper.step()
        small.replace(large)
        stream(manager, 100)
        for _ in range(20):
            keeper.step()
        assert 2_000 <= feed_bytes(large) <= 2_700


def account_as_before(database: Path) -> None:
    """Leave streaming turns as release 0.3.0 left them: what was folded stands in the feed's pieces alone."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE turn SET chunk_count = 0, content_bytes = 0, raw_response_bytes = 0, seq = pk")
        connection.commit()


@pytest.mark.parametrize("lost", [False, True])
def test_a_file_of_the_release_before_loses_nothing_more(tmp_path: Path, lost: bool) -> None:
    """Its folded pieces are accounted for before they go; where they are gone already, the text that is there is."""
    database = tmp_path / "db.sqlite"
    with SessionManager(database) as manager:
        turn_id = stream(manager, 0, detached=True)
        manager.append_turn(turn_id, content="ä" * 200_000)
        manager.update_turn(turn_id, metadata={"n": 1})
        if lost:
            keep_house(manager, max_age=0.0)
        account_as_before(database)
    with SessionManager(database) as manager:
        (turn,) = manager.feed.follow_turns(Scope()).turns
        assert turn.chunk_count == 1
        assert turn.content == "ä" * 200_000
        keep_house(manager, max_age=0.0)
        assert manager.append_turn(turn_id, content="z").chunk == 1
        keep_house(manager, max_age=0.0)
        assert manager.append_turn(turn_id, content="!").chunk_count == 3
        ended = manager.update_turn(turn_id, status=TurnStatus.COMPLETED)
        assert ended.content == "ä" * 200_000 + "z!"
        assert ended.chunk_count == 3
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT content_bytes FROM turn").fetchall() == [(400_002,)]

"""Giving space back: the file shrinks with what it holds. Pruning is in ``tests/conformance/test_feed_pruning.py``."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from conformance.streaming import feed_bytes, keep_house, stream
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Scope, TurnStatus
from mandrake_sessions.operations.housekeeping import housekeeper


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
    turn_id = stream(manager, 40_000)
    session_id = manager.list_sessions().sessions[0].id
    manager.update_turn(turn_id, status=TurnStatus.COMPLETED)
    keep_house(manager)
    assert database.stat().st_size > 3 * empty
    manager.delete_session(session_id)
    keep_house(manager)
    assert database.stat().st_size < empty + 100_000


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
        assert 2_000 <= feed_bytes(manager) <= 2_700


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

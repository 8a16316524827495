"""``transaction(at=…)``: what is written in it happened then, for programs that import what is past."""

from __future__ import annotations

import time

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import FeedPruned, InvalidValue
from mandrake_sessions.model import ResponseStatus, TurnStatus
from mandrake_sessions.operations.housekeeping import housekeeper
from mandrake_sessions.store.idle import LATER

# A day in 2020, and a minute later.
THEN = 1_600_000_000_000
LATER_THEN = THEN + 60_000
DAY = 24 * 60 * 60 * 1000


def clock() -> int:
    return time.time_ns() // 1_000_000


def test_all_that_is_written_has_the_given_time(manager: SessionManager) -> None:
    with manager.transaction(at=THEN):
        session = manager.create_session()
        detail = manager.create_round(session.id, content="What is in here?")
        turn = manager.create_turn(detail.response.id)
        manager.append_turn(turn.id, content="A few files.")
    for entity in (manager.get_session(session.id), detail.round, detail.request, detail.response, turn):
        assert (entity.created_at, entity.updated_at) == (THEN, THEN), entity
    assert (turn.stream_start_time, turn.stream_end_time) == (THEN, None)
    with manager.transaction(at=LATER_THEN):
        ended = manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
        response = manager.update_response(detail.response.id, status=ResponseStatus.COMPLETED)
        whole = manager.create_turn(detail.response.id, content="It.", status=TurnStatus.COMPLETED)
        archived = manager.update_session(session.id, archived=True)
    assert (ended.created_at, ended.updated_at, ended.stream_end_time) == (THEN, LATER_THEN, LATER_THEN)
    assert (response.created_at, response.updated_at, response.end_time) == (THEN, LATER_THEN, LATER_THEN)
    assert (whole.stream_start_time, whole.stream_end_time) == (LATER_THEN, LATER_THEN)
    assert (archived.created_at, archived.updated_at, archived.archived_at) == (THEN, LATER_THEN, LATER_THEN)


def test_listeners_and_later_readers_hear_the_given_time(manager: SessionManager) -> None:
    turn = manager.create_turn(manager.create_round(manager.create_session().id, content="?").response.id)
    with manager.transaction(at=turn.created_at + DAY // 2):
        changed = manager.update_turn(turn.id, current_tokens=5)
    (change,) = manager.feed.changes_since(turn.seq)
    assert change.changes is not None
    assert change.changes["updated_at"] == changed.updated_at == turn.created_at + DAY // 2


def test_a_part_has_the_time_of_the_whole_or_its_own(manager: SessionManager) -> None:
    with manager.transaction(at=THEN):
        with manager.transaction():
            inherited = manager.create_session()
        with manager.transaction(at=LATER_THEN):
            own = manager.create_session()
            with manager.transaction():
                of_the_part = manager.create_session()
        with pytest.raises(ZeroDivisionError), manager.transaction(at=LATER_THEN):
            manager.create_session()
            raise ZeroDivisionError
        after = manager.create_session()
    times = [session.created_at for session in (inherited, own, of_the_part, after)]
    assert times == [THEN, LATER_THEN, LATER_THEN, THEN]
    assert abs(manager.create_session().created_at - clock()) < 60_000


def test_a_part_of_a_transaction_without_a_time_may_have_one(manager: SessionManager) -> None:
    with manager.transaction():
        now = manager.create_session()
        with manager.transaction(at=THEN):
            past = manager.create_session()
        again = manager.create_session()
    assert past.created_at == THEN
    assert now.created_at == again.created_at > THEN


def test_no_time_lies_before_the_creation_of_its_entity(manager: SessionManager) -> None:
    session = manager.create_session()
    detail = manager.create_round(session.id, content="?")
    turn = manager.create_turn(detail.response.id)
    with manager.transaction(at=THEN):
        archived = manager.update_session(session.id, archived=True)
        request = manager.update_request(detail.request.id, content="!")
        response = manager.update_response(detail.response.id, status=ResponseStatus.ERROR)
        ended = manager.update_turn(turn.id, status=TurnStatus.ERROR)
    assert (archived.updated_at, archived.archived_at) == (session.created_at, session.created_at)
    assert request.updated_at == detail.request.created_at
    assert (response.updated_at, response.end_time) == (detail.response.created_at, detail.response.created_at)
    assert (ended.updated_at, ended.stream_end_time) == (turn.created_at, turn.stream_start_time)


@pytest.mark.parametrize("at", [-1, 1.5, "2020-09-13", True, 2**63])
def test_what_is_no_time_is_rejected(manager: SessionManager, at: int) -> None:
    with pytest.raises(InvalidValue) as caught, manager.transaction(at=at):
        manager.create_session()
    assert caught.value.field == "at"
    assert manager.list_sessions().sessions == []


def test_a_day_ahead_of_the_clock_is_the_most(manager: SessionManager) -> None:
    at = clock() + DAY - 60_000
    with manager.transaction(at=at):
        assert manager.create_session().created_at == at
    with (
        pytest.raises(InvalidValue, match="at most a day ahead of the clock"),
        manager.transaction(at=clock() + DAY + 60_000),
    ):
        manager.create_session()
    assert len(manager.list_sessions().sessions) == 1


@pytest.fixture
def _each_change_has_its_own_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else many changes are as young as the youngest of them."""
    monkeypatch.setattr("mandrake_sessions.operations.housekeeping.SPAN_ROWS", 1)


@pytest.mark.usefixtures("_each_change_has_its_own_age")
def test_the_feed_keeps_imported_changes_as_long_as_any(manager: SessionManager) -> None:
    """What happened in 2020 and was written now is young to the feed."""
    with manager.transaction(at=THEN):
        manager.create_round(manager.create_session().id, content="?")
    _check_that_the_feed_keeps(manager, after=0)


@pytest.mark.usefixtures("_each_change_has_its_own_age")
def test_the_feed_keeps_imported_pieces_as_long_as_any(manager: SessionManager) -> None:
    with manager.transaction(at=THEN):
        turn = manager.create_turn(manager.create_round(manager.create_session().id, content="?").response.id)
        first = manager.append_turn(turn.id, content="first ")
    # Now a piece is the oldest that the feed holds.
    _keep_house(manager, max_age=0.0)
    with manager.transaction(at=THEN):
        manager.append_pieces({"turn_id": turn.id, "content": f"{n} "} for n in range(5))
    _check_that_the_feed_keeps(manager, after=first.seq - 1)


def _check_that_the_feed_keeps(manager: SessionManager, *, after: int) -> None:
    changes = manager.feed.changes_since(after)
    _keep_house(manager, max_age=3600.0)
    assert manager.feed.changes_since(after) == changes
    # As it is with what was written without a time.
    _keep_house(manager, max_age=0.0)
    with pytest.raises(FeedPruned):
        manager.feed.changes_since(after)


def _keep_house(manager: SessionManager, *, max_age: float) -> None:
    keeper = housekeeper(manager.store, 10**6, max_age)
    for _ in range(10_000):
        if keeper.step() == LATER:
            return
    raise AssertionError("the work never ends")

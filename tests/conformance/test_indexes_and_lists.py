"""Faults of the service that this one follows, each of which must not come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conformance.backends import Backend
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Conflict, InvalidValue, NotFound
from mandrake_sessions.model import Change, ChangeKind, ResponseStatus, Round, Session, Turn, TurnStatus

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def session(manager: SessionManager) -> Session:
    return manager.create_session(title="A talk")


@pytest.fixture
def response(manager: SessionManager, session: Session) -> str:
    return manager.create_round(session.id, content="What is in here?").response.id


def rounds(manager: SessionManager, session: Session, count: int) -> list[Round]:
    return [manager.create_round(session.id, content=str(n)).round for n in range(count)]


def test_round_indexes_count_and_are_never_given_again(manager: SessionManager, session: Session) -> None:
    made = rounds(manager, session, 3)
    assert [r.index for r in made] == [0, 1, 2]
    manager.delete_round(made[2].id)
    assert manager.create_round(session.id, content="?").round.index == 3
    manager.delete_round(made[0].id)
    assert [r.index for r in manager.list_rounds(session.id).rounds] == [1, 3]


def test_turn_indexes_count_and_are_never_given_again(manager: SessionManager, response: str) -> None:
    made = [manager.create_turn(response) for _ in range(3)]
    assert [turn.index for turn in made] == [0, 1, 2]
    manager.delete_turn(made[2].id)
    assert manager.create_turn(response).index == 3


def test_indexes_are_unique_when_threads_race(manager: SessionManager, session: Session, response: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        turns = list(threads.map(lambda _: manager.create_turn(response).index, range(30)))
        made = list(threads.map(lambda _: manager.create_round(session.id, content="?").round.index, range(30)))
    assert sorted(turns) == list(range(30))
    assert sorted(made) == list(range(1, 31))


def test_latest_gives_the_last_turn(manager: SessionManager, response: str) -> None:
    assert manager.latest_turn(response) is None
    turns = [manager.create_turn(response, content=str(n)) for n in range(3)]
    assert manager.latest_turn(response) == turns[-1]


def pages(read: Callable[..., Any], name: str, limit: int) -> list[list[Any]]:
    found, cursor = [], None
    while True:
        page = read(limit=limit, cursor=cursor)
        found.append(getattr(page, name))
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("name", ["sessions", "rounds", "turns", "history asc", "history desc"])
def test_lists_keep_their_limit_and_give_every_row_once(manager: SessionManager, name: str, limit: int) -> None:
    sessions = [manager.create_session() for _ in range(7)]
    made = rounds(manager, sessions[0], 7)
    turns = [manager.create_turn(made[0].response_id) for _ in range(7)]
    lists: dict[str, tuple[Callable[..., Any], str, list[Any]]] = {
        "sessions": (manager.list_sessions, "sessions", [sessions[0], *reversed(sessions[1:])]),
        "rounds": (lambda **page: manager.list_rounds(sessions[0].id, **page), "rounds", made),
        "turns": (lambda **page: manager.list_turns(made[0].response_id, **page), "turns", turns),
        "history asc": (lambda **page: manager.history(sessions[0].id, **page), "rounds", made),
        "history desc": (lambda **page: manager.history(sessions[0].id, order="desc", **page), "rounds", made[::-1]),
    }
    read, attribute, expected = lists[name]
    found = pages(read, attribute, limit)
    assert [entity.id for page in found for entity in page] == [entity.id for entity in expected]
    assert all(0 < len(page) <= limit for page in found)


def test_a_cursor_stays_good_while_rows_come_and_go(manager: SessionManager, session: Session) -> None:
    made = rounds(manager, session, 6)
    first = manager.list_rounds(session.id, limit=2)
    manager.delete_round(made[1].id)
    manager.delete_round(made[2].id)
    rounds(manager, session, 1)
    rest = manager.list_rounds(session.id, limit=10, cursor=first.next_cursor)
    assert [r.index for r in rest.rounds] == [3, 4, 5, 6]


def test_a_session_that_changes_while_it_is_listed_is_given_once(manager: SessionManager) -> None:
    made = [manager.create_session(title=str(n)) for n in range(6)]
    first = manager.list_sessions(limit=2)
    manager.update_session(made[5].id, title="changed")
    rest = manager.list_sessions(limit=10, cursor=first.next_cursor)
    assert Counter(s.id for s in first.sessions + rest.sessions) == Counter(s.id for s in made)


@pytest.mark.parametrize("cursor", ["", "x", "eyJ9", "WyJ4IiwxXQ", "é", "A" * 1000])
def test_a_cursor_from_elsewhere_is_refused(manager: SessionManager, session: Session, cursor: str) -> None:
    with pytest.raises(InvalidValue, match="cursor"):
        manager.list_rounds(session.id, cursor=cursor)


def test_a_cursor_of_another_list_is_refused(manager: SessionManager, session: Session) -> None:
    rounds(manager, session, 2)
    cursor = manager.list_rounds(session.id, limit=1).next_cursor
    other = manager.create_session()
    for read in (
        lambda: manager.list_rounds(other.id, cursor=cursor),
        lambda: manager.history(session.id, cursor=cursor),
        lambda: manager.list_sessions(cursor=cursor),
    ):
        with pytest.raises(InvalidValue, match="cursor"):
            read()


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.0, True, "5"])
def test_a_limit_that_is_none_is_refused(manager: SessionManager, limit: Any) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        manager.list_sessions(limit=limit)


TABLES = ("session", "round", "request", "response", "turn", "tool_call", "text")


def rows(manager: SessionManager) -> dict[str, int]:
    with manager.store.reading() as sql:
        return {t: sql.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}  # noqa: S608


@pytest.mark.parametrize("entity", ["session", "round", "turn"])
def test_a_delete_leaves_no_row_behind(manager: SessionManager, entity: str) -> None:
    before = rows(manager)
    session = manager.create_session(title="secret title")
    detail = manager.create_round(session.id, content="secret request")
    if entity != "session":
        before = rows(manager)
        if entity == "round":
            before = {**before, "round": 0, "request": 0, "response": 0}
    turn = manager.create_turn(detail.response.id, content="secret", tool_calls=[{"id": "secret"}])
    for _ in range(3):
        manager.append_turn(turn.id, content="secret text", raw_response="secret raw")
    manager.upsert_tool_call(turn.id, {"id": "secret", "response": "secret"})
    manager.update_turn(turn.id, content="another secret")
    deleted = {
        "session": lambda: manager.delete_session(session.id),
        "round": lambda: manager.delete_round(detail.round.id),
        "turn": lambda: manager.delete_turn(turn.id),
    }[entity]().deleted
    assert deleted.turns == 1
    assert rows(manager) == before
    with manager.store.reading() as sql:
        told = sql.execute("SELECT * FROM feed").fetchall()
    assert not [row for row in told if "secret text" in str(row) or "secret raw" in str(row)]
    assert [row[2] for row in told][-1:] == [
        {"session": "sessionDeleted", "round": "roundDeleted", "turn": "deleted"}[entity]
    ]


@pytest.mark.parametrize("name", ["delete_session", "delete_round", "delete_turn", "response_status", "latest_turn"])
def test_what_is_not_there_is_not_found(manager: SessionManager, name: str) -> None:
    with pytest.raises(NotFound, match=UNKNOWN):
        getattr(manager, name)(UNKNOWN)


def test_times_are_integer_milliseconds(manager: SessionManager, response: str) -> None:
    turn = manager.create_turn(response, status=TurnStatus.COMPLETED)
    times = [turn.created_at, turn.updated_at, turn.stream_start_time, turn.stream_end_time]
    assert all(isinstance(time, int) and 1_700_000_000_000 < time < 4_000_000_000_000 for time in times)


def test_half_a_round_is_never_left(manager: SessionManager, session: Session) -> None:
    taken = manager.create_round(session.id, content="first")
    with pytest.raises(Conflict, match="response"):
        manager.create_round(session.id, content="second", response_id=taken.response.id)
    assert (rows(manager)["round"], rows(manager)["request"]) == (1, 1)
    assert manager.create_round(session.id, content="third").round.index == 1


def test_a_turn_that_streams_has_no_end_time(manager: SessionManager, response: str) -> None:
    turn = manager.create_turn(response)
    assert turn.stream_end_time is None
    with pytest.raises(Conflict, match="stream_end_time"):
        manager.update_turn(turn.id, stream_end_time=5)
    ended = manager.update_turn(turn.id, status=TurnStatus.INTERRUPTED, stream_end_time=0)
    assert ended.stream_end_time == 0
    manager.append_turn(turn.id, content="again")
    assert manager.get_turn(turn.id).stream_end_time is None
    assert manager.get_turn(turn.id).status is TurnStatus.STREAMING


def test_a_stored_zero_is_a_zero_and_metadata_an_object(manager: SessionManager, response: str) -> None:
    turn = manager.create_turn(response, expected_tokens=0, cache_read_tokens=0, metadata={"n": 0, "": [False]})
    found = manager.get_turn(turn.id)
    assert (found.expected_tokens, found.cache_read_tokens, found.cache_write_tokens) == (0, 0, None)
    assert found.metadata == {"n": 0, "": [False]}


def test_a_status_of_an_empty_or_streaming_response(manager: SessionManager, response: str) -> None:
    assert manager.response_status(response).is_complete
    turn = manager.create_turn(response)
    assert not manager.response_status(response).is_complete
    manager.update_turn(turn.id, status=TurnStatus.ERROR, error="out of luck")
    assert manager.response_status(response).is_complete


def test_a_response_gets_and_loses_its_end_time(manager: SessionManager, response: str) -> None:
    ended = manager.update_response(response, status=ResponseStatus.COMPLETED, stop_reason="end_turn")
    assert ended.end_time is not None
    again = manager.update_response(response, status=ResponseStatus.ERROR)
    assert (again.end_time, again.stop_reason) == (ended.end_time, "end_turn")
    assert manager.update_response(response, status=ResponseStatus.OPEN, stop_reason=None).end_time is None


@pytest.mark.parametrize("count", [2, 60])
def test_a_history_takes_as_many_statements_however_long_it_is(
    manager: SessionManager, backend: Backend, session: Session, count: int
) -> None:
    for made in rounds(manager, session, count):
        manager.append_turn(manager.create_turn(made.response_id).id, content="x")
    with manager.snapshot(), manager.store.reading() as sql, backend.traced(sql) as statements:
        assert len(manager.history(session.id, limit=count).rounds) == count
    assert len(statements) == 10


def test_a_history_is_one_snapshot(manager: SessionManager, session: Session) -> None:
    made = rounds(manager, session, 3)
    with manager.snapshot():
        before = manager.history(session.id, limit=2)
        manager.delete_round(made[1].id)
        manager.create_round(session.id, content="later")
        assert manager.history(session.id, limit=2) == before
        assert len(manager.history(session.id).rounds) == 3
    assert [r.index for r in manager.history(session.id).rounds] == [0, 2, 3]


def test_a_page_ends_early_at_about_eight_mebibytes(manager: SessionManager, session: Session) -> None:
    for made in rounds(manager, session, 4):
        manager.create_turn(made.response_id, content="x" * 3 * 1024 * 1024, status=TurnStatus.COMPLETED)
    found = pages(lambda **page: manager.history(session.id, **page), "rounds", 50)
    assert [len(page) for page in found] == [2, 2]
    assert len(manager.history(session.id, include_text=False).rounds) == 4


def test_every_listener_hears_every_change_of_every_turn(manager: SessionManager, response: str) -> None:
    heard: list[list[Change]] = [[], [], []]
    removers = [manager.add_listener(one.append) for one in heard[:2]]

    def broken(change: Change) -> None:
        heard[2].append(change)
        raise ValueError("a listener's own fault")

    manager.add_listener(broken)
    for _ in range(2):
        turn = manager.create_turn(response)
        manager.append_turn(turn.id, content="x")
        manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
        manager.delete_turn(turn.id)
    last = manager.feed.last_seq()
    manager.close()
    manager.init()
    for one in heard:
        assert one[-1].seq == last
        assert [change.kind for change in one].count(ChangeKind.TURN_DELETED) == 2
    removers[0]()


def test_two_managers_that_append_in_turn_lose_nothing(
    backend: Backend, manager: SessionManager, response: str
) -> None:
    turn = manager.create_turn(response)
    with backend.manager() as other:
        for n in range(40):
            (manager, other)[n % 2].append_turn(turn.id, content=f"{n} ")
    assert manager.get_turn(turn.id).content == "".join(f"{n} " for n in range(40))


def test_a_folded_text_is_the_same_text(
    manager: SessionManager, response: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mandrake_sessions.store.sql.texts.FOLD_PIECES", 7)
    turn = manager.create_turn(response, content="begin ", raw_response="[")
    expected, raw = "begin ", "["
    for n in range(30):
        manager.append_turn(turn.id, content=f"{n} ", raw_response=f"<{n}>" if n % 3 else "")
        expected, raw = expected + f"{n} ", raw + (f"<{n}>" if n % 3 else "")
        assert (manager.get_turn(turn.id).content, manager.get_turn(turn.id).raw_response) == (expected, raw)
    manager.update_turn(turn.id, content="anew ")
    manager.append_turn(turn.id, content="and on", raw_response="]")
    found: Turn = manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
    assert (found.content, found.raw_response) == ("anew and on", raw + "]")
    assert found.chunk_count == 31

"""A feed that tells something else than the rows of the entities: the check finds it, and after its mend every
subscriber reads the state again."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.maintenance import check_up, repair
from mandrake_sessions.model import ResponseStatus, Scope, TurnStatus
from mandrake_sessions.operations.housekeeping import housekeeper
from mandrake_sessions.store.sqlite.connect import connect
from mandrake_sessions.store.sqlite.deep_check import deep_check

# What is wrong, the statement that makes it so, and words of what the check says.
WRONG = {
    "creation of a turn gone": ("DELETE FROM feed WHERE kind = 'created'", "turn whose creation"),
    "creation of a round gone": ("DELETE FROM feed WHERE kind = 'roundCreated'", "round whose creation"),
    "creation of a session gone": ("DELETE FROM feed WHERE kind = 'sessionCreated'", "session whose creation"),
    "updates gone": ("DELETE FROM feed WHERE kind = 'updated'", "turn.seq that is not the last change"),
    "older updates gone": (
        "DELETE FROM feed WHERE kind = 'updated'"
        " AND seq NOT IN (SELECT max(seq) FROM feed WHERE kind = 'updated' GROUP BY turn_pk)",
        "changes missing from the feed",
    ),
    "update of a response gone": ("DELETE FROM feed WHERE kind = 'responseUpdated'", "response whose update"),
    "all but pieces and the newest gone": (
        "DELETE FROM feed WHERE chunk IS NULL AND seq < (SELECT max(seq) FROM feed)", "creation",
    ),
    "turn.seq": ("UPDATE turn SET seq = pk", "turn.seq that is not the last change"),
    "session.seq": ("UPDATE session SET seq = pk", "session.seq that is not the last change"),
    "turn updated, as a session": ("UPDATE feed SET kind = 'sessionUpdated' WHERE kind = 'updated'", "wrong entity"),
    "turn updated, as a deletion": ("UPDATE feed SET kind = 'sessionDeleted' WHERE kind = 'updated'", "wrong entity"),
    "turn created, as a session": (
        "UPDATE feed SET kind = 'sessionUpdated' WHERE kind = 'created'", "turn whose creation",
    ),
    "session created, as a deletion": (
        "UPDATE feed SET kind = 'sessionDeleted' WHERE kind = 'sessionCreated'", "wrong entity",
    ),
    "response updated, as a creation": (
        "UPDATE feed SET kind = 'roundCreated' WHERE kind = 'responseUpdated'", "response whose update",
    ),
    "another session's": (
        "UPDATE feed SET session_pk = (SELECT pk FROM session WHERE title = 'two') WHERE round_pk IS NOT NULL",
        "wrong entity",
    ),
    "another round's": (
        "UPDATE feed SET round_pk = (SELECT max(pk) FROM round) WHERE kind = 'responseUpdated'",
        "response whose update",
    ),
    "another turn's": (
        "UPDATE feed SET turn_pk = (SELECT max(pk) FROM turn) WHERE kind = 'updated'", "turn.seq that is not the last",
    ),
    "before its creation": (
        "UPDATE feed SET session_pk = (SELECT max(pk) FROM session) WHERE kind = 'sessionUpdated'", "wrong entity",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions, rounds, a turn that has ended and one that streams, and changes of each of them."""
    path = tmp_path_factory.mktemp("sound") / "db.sqlite"
    with SessionManager(path) as manager:
        one = manager.create_session(title="one")
        manager.update_session(one.id, description="the first")
        detail = manager.create_round(one.id, content="question")
        manager.create_round(one.id, content="another question")
        for ends in (True, False):
            turn = manager.create_turn(detail.response.id, content="begin", detached=True)
            manager.append_turn(turn.id, content=" piece")
            manager.update_turn(turn.id, model="a model")
            manager.upsert_tool_call(turn.id, {"id": "call"})
            manager.append_turn(turn.id, content=" piece")
            if ends:
                manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
        # In another millisecond than its creation.
        time.sleep(0.005)
        manager.update_response(detail.response.id, status=ResponseStatus.COMPLETED)
        manager.create_session(title="two")
    return path


def found_in(path: Path) -> list[str]:
    with closing(connect(str(path), read_only=True)) as connection:
        return [problem.text for problem in deep_check(connection)]


def turns_of(manager: SessionManager) -> list[tuple[int, str | None]]:
    """The number and the text of each turn of the first session."""
    (one,) = manager.list_sessions(query="one").sessions
    return [(turn.seq, turn.content) for talk in manager.history(one.id).rounds for turn in talk.response.turns]


@pytest.mark.parametrize("name", WRONG)
def test_it_is_found_and_mended_and_subscribers_begin_again(name: str, sound: Path, tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite"
    shutil.copy(sound, database)
    statement, words = WRONG[name]
    with SessionManager(database) as manager:
        before = turns_of(manager)
        last = manager.feed.changes_since(0, limit=1000)[-1].seq
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute(statement).rowcount, "it changes nothing"
        connection.commit()
    assert any(words in text for text in found_in(database)), found_in(database)
    assert all(mended.done for mended in repair(str(database), check_up(str(database))))
    assert found_in(database) == []
    with SessionManager(database) as manager:
        assert all(manager.feed.follow_turns(Scope(), since=since).reset for since in (1, last - 1, last))
        assert turns_of(manager) == before


def test_deletions_and_pruning_leave_nothing_to_find(sound: Path, tmp_path: Path) -> None:
    """Each takes rows of the feed with it, so numbers are missing."""
    database = tmp_path / "db.sqlite"
    shutil.copy(sound, database)
    with SessionManager(database) as manager:
        one, two = manager.list_sessions(query="one").sessions[0], manager.list_sessions(query="two").sessions[0]
        first, second = manager.history(one.id).rounds
        ended, streams = first.response.turns
        for work in (
            lambda: manager.delete_tool_call(ended.id, "call"),
            lambda: manager.append_turn(streams.id, content=" more"),
            lambda: manager.delete_turn(ended.id),
            lambda: manager.append_turn(streams.id, content=" and more"),
            lambda: manager.update_round(second.id, metadata={"n": 1}),
            lambda: manager.delete_round(first.id),
            lambda: manager.update_request(second.request.id, content="asked again"),
            lambda: manager.delete_session(two.id),
            lambda: manager.create_turn(second.response.id, tool_calls=[{"id": str(n)} for n in range(150)]),
            lambda: housekeeper(manager.store, 2_000, 1000.0).step(),
            lambda: manager.delete_round(second.id, following=True),
            lambda: housekeeper(manager.store, 1, 0.0).step(),
            lambda: manager.delete_session(one.id),
        ):
            work()
            assert found_in(database) == []


def test_a_check_beside_a_writer_sees_one_state(sound: Path, tmp_path: Path) -> None:
    """Before each of its statements another connection writes, and prunes the feed."""
    path = tmp_path / "db.sqlite"
    shutil.copy(sound, path)
    with SessionManager(path) as manager, closing(connect(str(path), read_only=True)) as connection:
        keeper = housekeeper(manager.store, 1, 0.0)
        statements = 0

        def write(_: str) -> None:
            nonlocal statements
            statements += 1
            session = manager.create_session(title="beside")
            manager.update_session(session.id, title="changed")
            keeper.step()

        connection.set_trace_callback(write)
        assert deep_check(connection) == []
        connection.set_trace_callback(None)
        assert statements > 20
        assert deep_check(connection) == []

"""A store that is sound for SQLite and odd in itself: what is read from the file is data."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Conflict, FeedPruned, NotFound, StorageFailure
from mandrake_sessions.maintenance import check_up, repair
from mandrake_sessions.model import ToolCallStatus, TurnStatus
from mandrake_sessions.store.columns import TABLES
from mandrake_sessions.store.connect import connect
from mandrake_sessions.store.deep_check import deep_check

ODD = (
    "''",
    "'{'",
    "'[]'",
    "'weird'",
    "-1",
    "0",
    "9223372036854775807",
    "NULL",
    "CAST(x'ff' AS TEXT)",
    "'a' || char(0)",
)
ANSWERS = (NotFound, Conflict, FeedPruned, StorageFailure)
SEED = 8
TRIED = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Turns that stream and that have ended, texts, pieces, tool calls, and changes of all kinds."""
    path = tmp_path_factory.mktemp("model") / "db.sqlite"
    with SessionManager(path) as manager:
        session = manager.create_session(title="one", metadata={"a": 1})
        detail = manager.create_round(session.id, content="question", blocks=[1])
        for ends in (True, False):
            turn = manager.create_turn(detail.response.id, content="begin", tool_calls=[{"id": "c"}], detached=True)
            for _ in range(3):
                manager.append_turn(turn.id, content="piece", raw_response="raw")
            manager.upsert_tool_call(turn.id, {"id": "d", "status": ToolCallStatus.FAILED})
            if ends:
                manager.update_turn(turn.id, status=TurnStatus.COMPLETED)
    return path


def use(path: Path, ids: dict[str, str]) -> None:
    """Everything that a client may do; whatever is raised on purpose is an answer."""
    with SessionManager(path) as manager:
        for work in (
            lambda: manager.list_sessions(query="one"),
            lambda: manager.history(ids["session"]),
            lambda: manager.list_turns(ids["response"]),
            lambda: manager.response_status(ids["response"]),
            lambda: manager.get_turn(ids["turn"]),
            lambda: manager.follow_turns(manager.turn_scope()),
            lambda: manager.changes_since(0),
            lambda: manager.append_turn(ids["turn"], content="more"),
            lambda: manager.update_turn(ids["turn"], metadata={"b": 2}),
            lambda: manager.create_session(title="another"),
            lambda: manager.create_round(ids["session"], content="next"),
            lambda: manager.delete_session(ids["session"]),
        ):
            # Anything else is a fault.
            with suppress(*ANSWERS):
                work()


def mutations() -> list[tuple[str, str, str]]:
    found = [(table, column, value) for table, decoders in TABLES.items() for column in decoders for value in ODD]
    found += [
        ("feed", column, value) for column in ("at", "kind", "chunk", "data", "content", "turn_pk") for value in ODD
    ]
    return random.Random(SEED).sample(found, TRIED)


@pytest.mark.parametrize(("table", "column", "value"), mutations())
def test_an_odd_value_harms_its_entity_alone_and_is_mended(
    model: Path, tmp_path: Path, table: str, column: str, value: str
) -> None:
    path = tmp_path / "db.sqlite"
    shutil.copy(model, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        ids = {
            name: connection.execute(f"SELECT id FROM {name} ORDER BY pk DESC").fetchone()[0]  # noqa: S608
            for name in ("session", "response", "turn")
        }
        last = f"(SELECT max(rowid) FROM {table})"  # noqa: S608
        try:
            connection.execute(f'UPDATE {table} SET "{column}" = {value} WHERE rowid = {last}')  # noqa: S608
        except sqlite3.IntegrityError:
            return  # The schema itself forbids it.
    shutil.copy(path, tmp_path / "used.sqlite")
    use(tmp_path / "used.sqlite", ids)
    done = repair(str(path), check_up(str(path)))
    with closing(connect(str(path))) as connection:
        left = deep_check(connection)
    assert not left or not all(work.done for work in done), left

"""A store that is sound for SQLite and odd in itself: what is read from the file is data."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from commands.running import run
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Conflict, FeedPruned, NotFound, StorageFailure
from mandrake_sessions.maintenance import check_up, repair
from mandrake_sessions.model import ToolCallStatus, TurnStatus
from mandrake_sessions.store.sqlite.connect import connect
from mandrake_sessions.store.sqlite.deep_check import deep_check
from model.profile import TIMES
from strict import connected
from wire import store_of

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
    "'{\"a\": 1e999}'",
)
ANSWERS = (NotFound, Conflict, FeedPruned, StorageFailure)
SEED = 8
_VALUES = 3
# Each odd value of a table at a time would do, but for processes that work beside each other.
SHARES = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Turns that stream and that have ended, texts, pieces, tool calls, and changes of all kinds."""
    path = tmp_path_factory.mktemp("model") / "db.sqlite"
    with SessionManager(path) as manager:
        session = manager.create_session(title="one", metadata={"a": 1})
        detail = manager.create_round(session.id, content="question", blocks=[1])
        manager.update_response(detail.response.id, usage={"output_tokens": 5, "cost": 0.5, "currency": "EUR"})
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
            lambda: manager.feed.follow_turns(manager.feed.turn_scope()),
            lambda: manager.feed.changes_since(0),
            lambda: manager.append_turn(ids["turn"], content="more"),
            lambda: manager.update_turn(ids["turn"], metadata={"b": 2}),
            lambda: manager.create_session(title="another"),
            lambda: manager.create_round(ids["session"], content="next"),
            lambda: manager.delete_session(ids["session"]),
        ):
            # Anything else is a fault.
            with suppress(*ANSWERS):
                work()


def tables(path: Path) -> dict[str, list[str]]:
    """The columns of each table, the feed's and the ledger's too."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            table: [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
            for table in names
            if not table.startswith("sqlite_")
        }


def mutations(path: Path) -> list[tuple[str, str, str]]:
    """Each column of each table with some odd values, each of which stands in many of them; with more examples, all."""
    return [
        (table, column, value)
        for table, names in tables(path).items()
        for column in names
        for value in (ODD if TIMES > 1 else random.Random(f"{table} {column}").sample(ODD, _VALUES))
    ]


def make_odd(path: Path, table: str, column: str, value: str) -> bool:
    """In the newest row; False where the schema itself forbids it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        last = f"(SELECT max(rowid) FROM {table})"  # noqa: S608
        try:
            connection.execute(f'UPDATE {table} SET "{column}" = {value} WHERE rowid = {last}')  # noqa: S608
        except sqlite3.IntegrityError:
            return False
    return True


def ids_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            name: connection.execute(f"SELECT id FROM {name} ORDER BY pk DESC").fetchone()[0]  # noqa: S608
            for name in ("session", "response", "turn")
        }


@pytest.mark.parametrize("share", range(SHARES))
def test_an_odd_value_harms_its_entity_alone_and_is_mended(model: Path, tmp_path: Path, share: int) -> None:
    ids, wrong = ids_of(model), []
    path, used = tmp_path / "db.sqlite", tmp_path / "used.sqlite"
    for mutation in mutations(model)[share::SHARES]:
        for old in tmp_path.iterdir():
            if old.is_file():
                old.unlink()
        shutil.copy(model, path)
        if not make_odd(path, *mutation):
            continue
        shutil.copy(path, used)
        try:
            use(used, ids)
            done = repair(str(path), check_up(str(path)))
            with closing(connect(str(path))) as connection:
                left = deep_check(connection)
        except Exception as error:
            wrong.append((mutation, f"{type(error).__name__}: {error}"))
            continue
        if left and all(work.done for work in done):
            wrong.append((mutation, str(left)))
    assert not wrong, "\n".join(map(str, wrong))


# So many are tried with a server and the command line too.
SERVED = 16


def served(model: Path) -> list[tuple[str, str, str]]:
    return random.Random(SEED).sample(mutations(model), SERVED)


def requests(ids: dict[str, str]) -> list[tuple[str, dict[str, object]]]:
    turn: dict[str, object] = {"turnId": ids["turn"]}
    return [
        ("session/list", {}),
        ("session/history", {"sessionId": ids["session"]}),
        ("turn/get", turn),
        ("turn/subscribe", {"since": 0}),
        ("session/subscribe", {"since": 0}),
        ("turn/append", turn | {"content": "more"}),
        ("turn/update", turn | {"status": "completed"}),
        ("session/create", {"title": "another"}),
        ("session/delete", {"sessionId": ids["session"]}),
        ("server/health", {}),
    ]


@pytest.mark.parametrize("number", range(SERVED))
def test_a_server_answers_every_request_whatever_the_file_holds(model: Path, workspace: Path, number: int) -> None:
    mutation, ids = served(model)[number], ids_of(model)
    path = store_of(workspace)
    path.parent.mkdir(mode=0o700)
    shutil.copy(model, path)
    make_odd(path, *mutation)
    with connected(workspace) as client:
        for method in ("turn/updated", "session/updated", "subscription/ended", "server/healthChanged"):
            client.let_be(method)
        for method, params in requests(ids):
            error = client.refusal(method, **params)
            assert error is None or error.kind in ("notFound", "conflict", "storage"), (mutation, error)
    assert "Traceback" not in client.log, (mutation, client.log)
    for flags in (("--fix",), ()):
        done = run(workspace, "doctor", *flags, code=None)
    assert done.code == 0, (mutation, done.out)


def test_more_odd_values_than_are_mended_in_one_step(tmp_path: Path) -> None:
    count = 2500
    path = tmp_path / "db.sqlite"
    with SessionManager(path) as manager:
        manager.create_session()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO session (pk, id, seq, metadata, next_round_index, round_count, active_at, created_at,"
            " updated_at)"
            " WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 99 + ?)"
            " SELECT i, 'no id ' || i, i, '{', 0, 0, 0, 0, 0 FROM n",
            (count,),
        )
    repair(str(path), check_up(str(path)))
    with closing(connect(str(path))) as database:
        assert deep_check(database) == []
        (kept,) = database.execute('SELECT count(*) FROM session WHERE metadata = \'{"_unreadable": "{"}\'').fetchone()
    assert kept == count

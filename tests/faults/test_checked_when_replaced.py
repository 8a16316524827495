"""A file that takes the place of a store is looked through soon: its pages, and what its rows mean."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.protocol.results import StoreHealth
from mandrake_sessions.store.sqlite.pool import open_databases
from strict import StrictSyncClient, Talk, connected
from wire import SERVER, TIMEOUT, clean_environment, store_of


def changed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def without_a_table(path: Path) -> None:
    changed(path, "DROP TABLE text")


def without_its_row(path: Path) -> None:
    changed(path, "DELETE FROM store")


def with_an_odd_value(path: Path) -> None:
    changed(path, "UPDATE turn SET status = 'weird'")


def with_a_lost_piece(path: Path) -> None:
    changed(path, "DELETE FROM feed WHERE chunk = 1")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A store with a streaming turn of three pieces, that nobody has open."""
    path = tmp_path / "copy.sqlite"
    with SessionManager(path) as manager:
        turn = manager.create_turn(
            manager.create_round(manager.create_session().id, content="?").response.id, detached=True
        )
        for piece in ("a", "b", "c"):
            manager.append_turn(turn.id, content=piece)
    return path


def put_in_place(_: StrictSyncClient | None, copy: Path, store: Path) -> None:
    beside = store.with_name("arriving")
    shutil.copy(copy, beside)
    beside.replace(store)


def written_over(client: StrictSyncClient, copy: Path, store: Path) -> None:
    with closing(sqlite3.connect(store, timeout=10)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint").fetchone()[0] == 0
    # It is not seen between a checkpoint and the next look, which is a second away while nobody asks for anything.
    client.session_list()
    subprocess.run(["cp", str(copy), str(store)], check=True)


def health_once(client: StrictSyncClient, wanted: Callable[[StoreHealth], bool]) -> StoreHealth:
    """The health of the one store, as soon as it is as wanted."""
    deadline = time.monotonic() + TIMEOUT
    while not wanted(store := client.server_health().stores[0]):
        assert time.monotonic() < deadline, store
        time.sleep(0.05)
    return store


@pytest.mark.parametrize("put", [put_in_place, written_over], ids=lambda put: put.__name__)
@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (without_a_table, "text"),
        (without_its_row, "table store"),
        (with_an_odd_value, "turn.status"),
        (with_a_lost_piece, "pieces"),
    ],
)
def test_the_faults_of_a_replaced_file_are_pushed(
    workspace: Path,
    copy: Path,
    harm: Callable[[Path], None],
    named: str,
    put: Callable[[StrictSyncClient, Path, Path], None],
) -> None:
    """No request has touched what is wrong."""
    harm(copy)
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        Talk(client).turn(content="before")
        put(client, copy, store_of(workspace))
        store = health_once(client, lambda store: any("replaced another" in warning for warning in store.warnings))
        assert store.status == "degraded"
        told, *_ = [warning for warning in store.warnings if named in warning and "replaced another" in warning]
        assert "doctor --fix" in told
        client.wait_for_log(told)
        # What is not concerned goes on.
        if harm is not without_a_table:
            client.session_create(title="after")
        time.sleep(1.2)  # two more looks at the health
        assert client.stderr.count(told) == 1


def test_one_in_which_nothing_is_wrong_is_ok(workspace: Path, copy: Path) -> None:
    with connected(workspace) as client:
        Talk(client).turn(content="before")
        put_in_place(client, copy, store_of(workspace))
        assert client.told("server/healthChanged").status == "ok"
        time.sleep(2)
        client.session_create(title="after")
        assert client.server_health().status == "ok"


def test_a_file_replaced_while_no_server_ran_is_checked_too(workspace: Path, copy: Path) -> None:
    with connected(workspace) as client:
        client.session_create()
    with_a_lost_piece(copy)
    put_in_place(None, copy, store_of(workspace))
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        client.session_list()
        health_once(client, lambda store: any("pieces" in warning for warning in store.warnings))


def test_what_was_mended_is_ok_again(workspace: Path, copy: Path) -> None:
    with_a_lost_piece(copy)
    with SessionManager(copy) as manager:
        # As a server does it, without its pauses.
        (held,) = open_databases()
        held.diagnosis.is_unchecked = True
        manager.store.inspection().run()
        assert manager.store.state().faults
        assert manager.store.needs_inspection
        run_doctor(workspace, copy)
        manager.store.inspection().run()
        assert not manager.store.state().faults
        assert not manager.store.needs_inspection


def run_doctor(workspace: Path, database: Path) -> None:
    command = [*SERVER, "doctor", "--fix", "--database", str(database)]
    subprocess.run(
        command, cwd=workspace, env=clean_environment(workspace), check=True, capture_output=True, timeout=TIMEOUT
    )


@contextmanager
def filled(path: Path, turns: int) -> Iterator[None]:
    """For the block a store with so many turns, which takes a while to look through."""
    with SessionManager(path) as manager:
        response = manager.create_round(manager.create_session().id, content="?").response.id
        with manager.transaction():
            for _ in range(turns):
                manager.append_turn(manager.create_turn(response, content="x", detached=True).id, content="y" * 500)
    yield


def test_requests_are_answered_while_a_large_one_is_looked_through(workspace: Path, copy: Path) -> None:
    """And an end is not kept waiting, nor another file that is put in place meanwhile."""
    large = copy.with_name("large.sqlite")
    with filled(large, 5_000), connected(workspace) as client:
        client.let_be("server/healthChanged")
        client.session_create()
        put_in_place(client, large, store_of(workspace))
        turn = Talk(client).turn()
        longest = 0.0
        until = time.monotonic() + 2
        while time.monotonic() < until:
            begun = time.monotonic()
            client.turn_append(turn_id=turn, content="piece")
            longest = max(longest, time.monotonic() - begun)
        assert longest < 1
        put_in_place(client, copy, store_of(workspace))
        assert client.error("turn/append", turnId=turn, content="piece").kind == "notFound"
        put_in_place(client, large, store_of(workspace))
        client.session_list()
        time.sleep(1.5)

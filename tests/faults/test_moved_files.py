"""The database, or a part of it, is deleted, replaced or moved while servers have it open."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from mandrake_sessions.protocol.results import StoreHealth
from mandrake_sessions.store.sqlite.migrate import latest_version
from strict import StrictSyncClient, Talk, connected
from wire import OLDEST_SCHEMA, TIMEOUT, store_of


def is_whole(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return (
            connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            and not connection.execute("PRAGMA foreign_key_check").fetchall()
        )


def delete_all(workspace: Path) -> None:
    """A server that writes meanwhile may make a file again in a directory that is being emptied."""
    while (workspace / ".ws").exists():
        shutil.rmtree(workspace / ".ws", ignore_errors=True)


def delete_file(workspace: Path) -> None:
    store_of(workspace).unlink()


def delete_file_and_sidecars(workspace: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{store_of(workspace)}{suffix}").unlink()


def move_file(workspace: Path) -> None:
    store_of(workspace).rename(workspace / "elsewhere.sqlite")


def move_directory(workspace: Path) -> None:
    (workspace / ".ws").rename(workspace / "elsewhere")


GONE = [delete_all, delete_file, delete_file_and_sidecars, move_file, move_directory]


def told_of(client: StrictSyncClient) -> StoreHealth:
    """The store in the next change of health that the server tells of."""
    found: StoreHealth = client.told("server/healthChanged").stores[0]
    return found


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.__name__)
def test_a_file_that_went_is_made_anew_and_that_is_said(workspace: Path, gone: Callable[[Path], None]) -> None:
    """What is acknowledged after that is in the file that everybody finds, and nothing of the old one haunts it."""
    with connected(workspace) as client:
        turn = Talk(client).turn()
        client.turn_append(turn_id=turn, content="before")
        (before,) = client.server_health().stores
        gone(workspace)
        error = client.error("turn/append", turnId=turn, content="after")
        assert (error.kind, error.data["entity"]) == ("notFound", "turn")
        made = client.session_create(title="after")
        told = told_of(client)
        assert (told.status, told.reconnects) == ("ok", 1)
        assert any("deleted, replaced or moved" in warning for warning in told.warnings)
        assert told.store_id not in (None, before.store_id)
        with connected(workspace) as other:
            assert other.session_get(session_id=made.id).title == "after"
        client.wait_for_log("deleted, replaced or moved")
    assert is_whole(store_of(workspace))
    assert (workspace / ".ws" / ".gitignore").exists()


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.__name__)
def test_an_idle_subscriber_hears_that_its_store_went(workspace: Path, gone: Callable[[Path], None]) -> None:
    with connected(workspace) as client:
        turn = Talk(client).turn()
        subscriptions = [client.followed(method) for method in ("turn/subscribe", "session/subscribe")]
        begun = subscriptions[-1].begun
        gone(workspace)
        assert {changes.ended()["reason"] for changes in subscriptions} == {"closed"}
        again = client.followed("turn/subscribe", since=begun["seq"], storeId=begun["storeId"]).begun
        assert (again["reset"], again["turns"], again["storeId"]) == (True, [], None)
        assert client.error("turn/get", turnId=turn).kind == "notFound"
        assert not store_of(workspace).exists(), "looking after the file has made another one"
        client.session_create()
        assert told_of(client).reconnects == 1


def replace_with_another(workspace: Path, other: Path) -> None:
    """As `cp` and `mv` of a file from elsewhere do."""
    copy = workspace / "copy.sqlite"
    shutil.copy(other, copy)
    for suffix in ("-wal", "-shm"):
        Path(f"{store_of(workspace)}{suffix}").unlink(missing_ok=True)
    copy.replace(store_of(workspace))


def test_a_replaced_file_is_opened_and_migrated(workspace: Path) -> None:
    with connected(workspace) as client:
        client.session_create(title="before")
        changes = client.followed("session/subscribe")
        replace_with_another(workspace, OLDEST_SCHEMA)
        assert changes.ended()["reason"] == "closed"
        (session,) = client.session_list().sessions
        assert session.title == "A talk"
        client.session_update(session_id=session.id, title="after")
        told = told_of(client)
        assert (told.schema_version, told.reconnects) == (latest_version(), 1)
        assert client.followed("session/subscribe", storeId=changes.begun["storeId"], since=1).begun["reset"]
    assert is_whole(store_of(workspace))


def test_an_older_copy_of_the_same_store_is_another_store(workspace: Path, tmp_path: Path) -> None:
    """Its numbers will be given again, to other changes: so its storeId is a new one, and a subscriber is told."""
    with connected(workspace) as client:
        client.session_create()
    shutil.copy(store_of(workspace), tmp_path / "older.sqlite")
    with connected(workspace) as client:
        changes = client.followed("turn/subscribe")
        begun = changes.begun
        replace_with_another(workspace, tmp_path / "older.sqlite")
        assert changes.ended()["reason"] == "closed"
        told_of(client)
        again = client.followed("turn/subscribe", since=begun["seq"], storeId=begun["storeId"]).begun
        assert (again["reset"], again["storeId"] != begun["storeId"]) == (True, True)


def test_a_file_that_is_moved_away_and_back_goes_on(workspace: Path) -> None:
    with connected(workspace) as client:
        turn = Talk(client).turn()
        client.turn_append(turn_id=turn, content="a")
        store_of(workspace).rename(workspace / "elsewhere")
        (workspace / "elsewhere").rename(store_of(workspace))
        assert client.turn_append(turn_id=turn, content="b").chunk == 1
        assert client.turn_get(turn_id=turn).content == "ab"


def test_a_workspace_that_is_renamed_is_not_made_again(workspace: Path) -> None:
    """A store in the old place would be one that nobody looks for."""
    with connected(workspace) as client:
        session = client.session_create(title="kept")
        workspace.rename(workspace.with_name("renamed"))
        error = client.error("session/create")
        assert (error.kind, error.data["workspace"]) == ("workspaceNotFound", str(workspace))
        assert not workspace.exists()
        workspace.with_name("renamed").rename(workspace)
        # Without any request: the background check opens it again.
        store = told_of(client)
        assert (store.status, store.open, store.reconnects) == ("ok", True, 1)
        assert client.session_get(session_id=session.id).title == "kept"


@pytest.mark.parametrize("gone", [("-wal",), ("-shm",), ("-wal", "-shm")], ids=" and ".join)
@pytest.mark.parametrize("servers", [1, 3])
def test_a_deleted_wal_or_shm_loses_nothing(workspace: Path, servers: int, gone: tuple[str, ...]) -> None:
    """All servers leave the file before any comes back; what only the -wal held is in it then, and streams go on."""
    with ExitStack() as stack:
        first, *others = clients = [stack.enter_context(connected(workspace)) for _ in range(servers)]
        turn = Talk(first).turn()
        for client in clients:
            client.turn_append(turn_id=turn, content="a")
        changes = first.followed("turn/subscribe", turnId=turn)
        for suffix in gone:
            path = Path(f"{store_of(workspace)}{suffix}")
            assert path.stat().st_size > 0
            path.unlink()
        for client in [*others, first]:
            client.turn_append(turn_id=turn, content="b")
        for client in clients:
            got = client.turn_get(turn_id=turn)
            assert (got.content, got.status) == ("a" * servers + "b" * servers, "streaming")
        heard = ""
        while len(heard) < servers:
            heard += next(changes).content
        for client in [*others, first]:
            told = told_of(client)
            assert (told.status, told.reconnects) == ("ok", 1)
    assert is_whole(store_of(workspace))


@pytest.mark.parametrize("gone", [("-wal",), ("-wal", "-shm")], ids=" and ".join)
def test_a_server_that_leaves_late_is_waited_for(workspace: Path, gone: tuple[str, ...]) -> None:
    """Nobody opens the file before the last has left it, who copies into it what only the deleted -wal held."""
    with connected(workspace) as first, connected(workspace) as late:
        turn = Talk(first).turn()
        late.turn_append(turn_id=turn, content="a")
        os.kill(late.pid, signal.SIGSTOP)
        for suffix in gone:
            Path(f"{store_of(workspace)}{suffix}").unlink()
        reply = first.submit("turn/append", {"turnId": turn, "content": "b"})
        # As long as all others took at the most until they were back.
        time.sleep(2.5)
        os.kill(late.pid, signal.SIGCONT)
        assert reply.result(TIMEOUT)["chunk"] == 1
        for client in (first, late):
            assert client.turn_get(turn_id=turn).content == "ab"
            assert told_of(client).reconnects == 1
    assert is_whole(store_of(workspace))
    assert not list((workspace / ".ws").glob("*.backup"))


def test_a_server_that_slept_while_others_began_anew_finds_the_same_store(workspace: Path) -> None:
    """Its -shm was deleted, and says nothing of the checkpoints that others have done since: not that the file was
    written over either."""
    with connected(workspace) as first, connected(workspace) as late:
        turn = Talk(first).turn()
        slept = Talk(late).turn()
        late.turn_append(turn_id=turn, content="a")
        (before,) = late.server_health().stores
        os.kill(late.pid, signal.SIGSTOP)
        Path(f"{store_of(workspace)}-shm").unlink()
        with connected(workspace) as newcomer:
            newcomer.turn_append(turn_id=turn, content="b")
            for _ in range(8):
                Talk(newcomer).turn(content="x" * 2_000_000, status="completed")
                first.turn_append(turn_id=turn, content="c")
        os.kill(late.pid, signal.SIGCONT)
        late.turn_append(turn_id=slept, content="d")
        for client in (first, late):
            assert client.turn_get(turn_id=turn).content == "ab" + "c" * 8
            assert client.turn_get(turn_id=slept).status == "streaming"
            assert told_of(client).store_id == before.store_id
    assert is_whole(store_of(workspace))
    assert not list((workspace / ".ws").glob("*.backup"))


def test_deleted_wal_and_shm_leave_a_copy_where_others_may_have_begun_new_ones(workspace: Path) -> None:
    """What the server saw may not be written over what others see now, so it is kept beside."""
    with connected(workspace) as client:
        session = client.session_create(title="kept")
        for suffix in ("-wal", "-shm"):
            Path(f"{store_of(workspace)}{suffix}").unlink()
        with closing(sqlite3.connect(store_of(workspace))) as other:
            other.execute("SELECT count(*) FROM session").fetchone()
            after = client.session_create(title="after")
            client.wait_for_log("is kept as")
            told_of(client)
            assert [found.id for found in client.session_list().sessions] == [after.id]
    assert is_whole(store_of(workspace))
    (copy,) = (workspace / ".ws").glob("*.rescued-*.backup")
    with closing(sqlite3.connect(copy)) as connection:
        assert (session.id,) in connection.execute("SELECT id FROM session").fetchall()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_deleted_shm_is_used_no_more(workspace: Path) -> None:
    """SQLite shares one -shm among the connections of a process, a subscription's too: one that stayed open would lead
    all later ones to the deleted file, and two processes that lock different files damage the database."""
    with connected(workspace) as client, connected(workspace) as other:
        for each in (client, other):
            for method in ("server/healthChanged", "subscription/ended", "turn/updated"):
                each.let_be(method)
        turn = Talk(client).turn()
        client.followed("turn/subscribe")
        for n in range(30):
            client.turn_append(turn_id=turn, content="x" * 2000, chunk=n)
        Path(f"{store_of(workspace)}-shm").unlink()
        client.session_list()
        assert Path(f"{store_of(workspace)}-shm").exists()
        turns = [(each, Talk(each).turn()) for each in (client, other)]
        for _ in range(100):
            for each, own in turns:
                each.turn_append(turn_id=own, content="abc")
    assert is_whole(store_of(workspace))


def test_writes_that_flow_while_the_file_is_replaced_are_in_the_new_one_or_refused(workspace: Path) -> None:
    """Whatever was acknowledged after the replacement is in the file that is there; what was not is not."""
    with connected(workspace) as client:
        client.session_create(title="old")
        replies = [client.submit("session/create", {"title": f"n{n}"}) for n in range(300)]
        # The others are on their way.
        replies[0].result(TIMEOUT)
        delete_all(workspace)
        replies += [client.submit("session/create", {"title": f"n{n}"}) for n in range(300, 600)]
        for reply in replies:
            reply.result(TIMEOUT)
        told_of(client)
        titles = {session.title for session in client.session_list(limit=1000).sessions}
        assert {f"n{n}" for n in range(300, 600)} <= titles
        assert "old" not in titles

"""The database, or a part of it, is deleted, replaced or moved while servers have it open."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions.store.sqlite.migrate import latest_version
from wire import OLDEST_SCHEMA, Conversation, Message, Wire, run_script, serving, store_of


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


def health_of(wire: Wire) -> Message:
    (store,) = wire.request("server/health")["stores"]
    found: Message = store
    return found


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.__name__)
def test_a_file_that_went_is_made_anew_and_that_is_said(workspace: Path, gone: Callable[[Path], None]) -> None:
    """What is acknowledged after that is in the file that everybody finds, and nothing of the old one haunts it."""
    with serving(workspace) as wire:
        conversation = Conversation(wire)
        turn = conversation.turn()
        wire.request("turn/append", turnId=turn, content="before")
        before = health_of(wire)
        gone(workspace)
        error = wire.error("turn/append", turnId=turn, content="after")
        assert (error["data"]["kind"], error["data"]["entity"]) == ("notFound", "turn")
        made = wire.request("session/create", title="after")
        told = wire.notification("server/healthChanged")["stores"][0]
        assert (told["status"], told["reconnects"]) == ("ok", 1)
        assert any("deleted, replaced or moved" in warning for warning in told["warnings"])
        assert told["storeId"] not in (None, before["storeId"])
        (other,) = run_script(
            workspace, {"jsonrpc": "2.0", "id": 1, "method": "session/get", "params": {"sessionId": made["id"]}}
        )
        assert other["result"]["title"] == "after"
        wire.wait_for_log("deleted, replaced or moved")
    assert is_whole(store_of(workspace))
    assert (workspace / ".ws" / ".gitignore").exists()


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.__name__)
def test_an_idle_subscriber_hears_that_its_store_went(workspace: Path, gone: Callable[[Path], None]) -> None:
    with serving(workspace) as wire:
        turn = Conversation(wire).turn()
        for subscribe in ("turn/subscribe", "session/subscribe"):
            begun = wire.request(subscribe)
        gone(workspace)
        ended = [wire.notification("subscription/ended") for _ in range(2)]
        assert {end["reason"] for end in ended} == {"closed"}
        again = wire.request("turn/subscribe", since=begun["seq"], storeId=begun["storeId"])
        assert (again["reset"], again["turns"], again["storeId"]) == (True, [], None)
        assert wire.error("turn/get", turnId=turn)["data"]["kind"] == "notFound"
        assert not store_of(workspace).exists(), "looking after the file has made another one"
        wire.request("session/create")
        assert wire.notification("server/healthChanged")["stores"][0]["reconnects"] == 1


def replace_with_another(workspace: Path, other: Path) -> None:
    """As `cp` and `mv` of a file from elsewhere do."""
    copy = workspace / "copy.sqlite"
    shutil.copy(other, copy)
    for suffix in ("-wal", "-shm"):
        Path(f"{store_of(workspace)}{suffix}").unlink(missing_ok=True)
    copy.replace(store_of(workspace))


def test_a_replaced_file_is_opened_and_migrated(workspace: Path) -> None:
    with serving(workspace) as wire:
        wire.request("session/create", title="before")
        begun = wire.request("session/subscribe")
        replace_with_another(workspace, OLDEST_SCHEMA)
        assert wire.notification("subscription/ended")["reason"] == "closed"
        (session,) = wire.request("session/list")["sessions"]
        assert session["title"] == "A talk"
        wire.request("session/update", sessionId=session["id"], title="after")
        told = wire.notification("server/healthChanged")["stores"][0]
        assert (told["schemaVersion"], told["reconnects"]) == (latest_version(), 1)
        assert wire.request("session/subscribe", storeId=begun["storeId"], since=1)["reset"]
    assert is_whole(store_of(workspace))


def test_an_older_copy_of_the_same_store_is_another_store(workspace: Path, tmp_path: Path) -> None:
    """Its numbers will be given again, to other changes: so its storeId is a new one, and a subscriber is told."""
    run_script(workspace, {"jsonrpc": "2.0", "id": 1, "method": "session/create"})
    shutil.copy(store_of(workspace), tmp_path / "older.sqlite")
    with serving(workspace) as wire:
        begun = wire.request("turn/subscribe")
        replace_with_another(workspace, tmp_path / "older.sqlite")
        assert wire.notification("subscription/ended")["reason"] == "closed"
        wire.notification("server/healthChanged")
        again = wire.request("turn/subscribe", since=begun["seq"], storeId=begun["storeId"])
        assert (again["reset"], again["storeId"] != begun["storeId"]) == (True, True)


def test_a_file_that_is_moved_away_and_back_goes_on(workspace: Path) -> None:
    with serving(workspace) as wire:
        turn = Conversation(wire).turn()
        wire.request("turn/append", turnId=turn, content="a")
        store_of(workspace).rename(workspace / "elsewhere")
        (workspace / "elsewhere").rename(store_of(workspace))
        assert wire.request("turn/append", turnId=turn, content="b")["chunk"] == 1
        assert wire.request("turn/get", turnId=turn)["content"] == "ab"


def test_a_workspace_that_is_renamed_is_not_made_again(workspace: Path) -> None:
    """A store in the old place would be one that nobody looks for."""
    with serving(workspace) as wire:
        session = wire.request("session/create", title="kept")
        workspace.rename(workspace.with_name("renamed"))
        error = wire.error("session/create")
        assert (error["data"]["kind"], error["data"]["workspace"]) == ("workspaceNotFound", str(workspace))
        assert not workspace.exists()
        workspace.with_name("renamed").rename(workspace)
        # Without any request: the background check opens it again.
        store = wire.notification("server/healthChanged")["stores"][0]
        assert (store["status"], store["open"], store["reconnects"]) == ("ok", True, 1)
        assert wire.request("session/get", sessionId=session["id"])["title"] == "kept"


@pytest.mark.parametrize("gone", [("-wal",), ("-shm",), ("-wal", "-shm")], ids=" and ".join)
@pytest.mark.parametrize("servers", [1, 3])
def test_a_deleted_wal_or_shm_loses_nothing(workspace: Path, servers: int, gone: tuple[str, ...]) -> None:
    """All servers leave the file before any comes back; what only the -wal held is in it then, and streams go on."""
    with serving(workspace) as first:
        conversation = Conversation(first)
        turn = conversation.turn()
        others = [Wire(workspace) for _ in range(servers - 1)]
        for wire in [first, *others]:
            wire.request("turn/append", turnId=turn, content="a")
        first.request("turn/subscribe", turnId=turn)
        for suffix in gone:
            path = Path(f"{store_of(workspace)}{suffix}")
            assert path.stat().st_size > 0
            path.unlink()
        for wire in [*others, first]:
            wire.request("turn/append", turnId=turn, content="b")
        for wire in [first, *others]:
            got = wire.request("turn/get", turnId=turn)
            assert (got["content"], got["status"]) == ("a" * servers + "b" * servers, "streaming")
        heard = ""
        while len(heard) < servers:
            heard += first.notification()["content"]
        for wire in [*others, first]:
            told = wire.notification("server/healthChanged")["stores"][0]
            assert (told["status"], told["reconnects"]) == ("ok", 1)
        for wire in others:
            wire.close()
    assert is_whole(store_of(workspace))


def test_deleted_wal_and_shm_leave_a_copy_where_others_may_have_begun_new_ones(workspace: Path) -> None:
    """What the server saw may not be written over what others see now, so it is kept beside."""
    with serving(workspace) as wire:
        session = wire.request("session/create", title="kept")
        for suffix in ("-wal", "-shm"):
            Path(f"{store_of(workspace)}{suffix}").unlink()
        with closing(sqlite3.connect(store_of(workspace))) as other:
            other.execute("SELECT count(*) FROM session").fetchone()
            after = wire.request("session/create", title="after")
            wire.wait_for_log("is kept as")
            wire.notification("server/healthChanged")
            assert [found["id"] for found in wire.request("session/list")["sessions"]] == [after["id"]]
    assert is_whole(store_of(workspace))
    (copy,) = (workspace / ".ws").glob("*.rescued-*.backup")
    with closing(sqlite3.connect(copy)) as connection:
        assert (session["id"],) in connection.execute("SELECT id FROM session").fetchall()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_deleted_shm_is_used_no_more(workspace: Path) -> None:
    """SQLite shares one -shm among the connections of a process, a subscription's too: one that stayed open would lead
    all later ones to the deleted file, and two processes that lock different files damage the database."""
    with serving(workspace) as wire, serving(workspace) as other:
        for each in (wire, other):
            for method in ("server/healthChanged", "subscription/ended", "turn/updated"):
                each.let_be(method)
        turn = Conversation(wire).turn()
        wire.request("turn/subscribe")
        for n in range(30):
            wire.request("turn/append", turnId=turn, content="x" * 2000, chunk=n)
        Path(f"{store_of(workspace)}-shm").unlink()
        wire.request("session/list")
        assert Path(f"{store_of(workspace)}-shm").exists()
        turns = [(each, Conversation(each).turn()) for each in (wire, other)]
        for _ in range(100):
            for each, own in turns:
                each.request("turn/append", turnId=own, content="abc")
    assert is_whole(store_of(workspace))


def test_writes_that_flow_while_the_file_is_replaced_are_in_the_new_one_or_refused(workspace: Path) -> None:
    """Whatever was acknowledged after the replacement is in the file that is there; what was not is not."""
    with serving(workspace) as wire:
        wire.request("session/create", title="old")
        ids = [wire.post("session/create", title=f"n{n}", id=f"00000000-0000-4000-8000-{n:012}") for n in range(300)]
        delete_all(workspace)
        ids += [
            wire.post("session/create", title=f"n{n}", id=f"00000000-0000-4000-8000-{n:012}") for n in range(300, 600)
        ]
        for message_id in ids:
            wire.result(message_id)
        wire.notification("server/healthChanged")
        found = wire.request("session/list", limit=1000)["sessions"]
        titles = {session["title"] for session in found}
        assert {f"n{n}" for n in range(300, 600)} <= titles
        assert "old" not in titles

"""A store is written over with its own bytes while it is open: it is the same store, and nothing is lost."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from faults.test_moved_files import is_whole
from faults.test_overwritten import checkpoint, copied_over, written_with_dd
from mandrake_sessions import SessionManager
from mandrake_sessions.store.sqlite import whole_content
from wire import TIMEOUT, Conversation, Wire, serving, store_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has written to a file")

SIZES = {"100 kB": 3, "10 MB": 300}


def one_block_rewritten(_: Path, store: Path) -> None:
    with store.open("r+b") as written:
        block = written.read(4096)
        written.seek(0)
        written.write(block)


def of_size(wire: Wire, pieces: int) -> str:
    """A turn in a store of so many pieces, 30 kB each, that is at rest long enough for its checksum to be known."""
    talk = Conversation(wire)
    for _ in range(pieces):
        wire.request("turn/create", responseId=talk.response, content="z" * 30_000)
    wire.request("session/list")
    time.sleep(2.5)
    return talk.turn()


@pytest.mark.parametrize("pieces", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("overwrite", [copied_over, written_with_dd, one_block_rewritten], ids=lambda how: how.__name__)
@pytest.mark.parametrize("servers", [1, 2])
def test_it_is_the_same_store_with_all_that_is_in_its_wal(
    workspace: Path, tmp_path: Path, overwrite: Callable[[Path, Path], None], pieces: int, servers: int
) -> None:
    store = store_of(workspace)
    with ExitStack() as stack:
        wires = [stack.enter_context(serving(workspace)) for _ in range(servers)]
        for wire in wires:
            wire.let_be("server/healthChanged")
            wire.request("session/list")
        turn = of_size(wires[0], pieces)
        before = wires[0].request("session/list")["storeId"]
        for number in range(20):
            wires[0].request("turn/append", turnId=turn, content=f"{number} ")
        assert Path(f"{store}-wal").stat().st_size > 0
        shutil.copy2(store, tmp_path / "own.sqlite")
        overwrite(tmp_path / "own.sqlite", store)
        for wire in wires:
            wire.request("session/create", title="after")
            assert wire.request("session/list")["storeId"] == before
        assert wires[0].request("turn/get", turnId=turn)["content"] == "".join(f"{number} " for number in range(20))
        assert wires[0].request("server/health")["status"] == "ok"
    assert is_whole(store)
    assert not [found for found in store.parent.iterdir() if "rescued" in found.name]


def test_a_subscription_to_it_goes_on(workspace: Path, tmp_path: Path) -> None:
    with serving(workspace) as wire:
        turn = of_size(wire, 30)
        wire.let_be("server/healthChanged")
        wire.request("turn/subscribe", turnId=turn)
        shutil.copy2(store_of(workspace), tmp_path / "own.sqlite")
        written_with_dd(tmp_path / "own.sqlite", store_of(workspace))
        seq = wire.request("turn/append", turnId=turn, content="after")["seq"]
        heard = wire.notifications_until(seq)
        assert [one["content"] for one in heard] == ["after"]


def test_what_only_its_wal_holds_is_kept_where_nothing_tells_whether_it_is_the_same(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is too large for a checksum may hold something else in one page."""
    monkeypatch.setattr(whole_content, "MAX_BYTES", 0)
    with SessionManager(database) as manager:
        for _ in range(30):
            manager.create_session(title="t" * 20_000)
        checkpoint(database)
        manager.list_sessions()
        before = manager.feed.store_id()
        kept = manager.create_session(title="only in the -wal")
        shutil.copy2(database, tmp_path / "own.sqlite")
        written_with_dd(tmp_path / "own.sqlite", database)
        assert kept.id not in {one.id for one in manager.list_sessions().sessions}
        assert manager.feed.store_id() != before
    (copy,) = [found for found in database.parent.iterdir() if "rescued" in found.name]
    with SessionManager(copy) as rescued:
        assert rescued.get_session(kept.id).title == "only in the -wal"


def test_a_checksum_is_taken_after_every_change_while_the_file_is_large(database: Path) -> None:
    with SessionManager(database) as manager:
        for _ in range(30):
            manager.create_session(title="t" * 20_000)
        for _ in range(3):
            manager.create_session(title="another")
            checkpoint(database)
            before = manager.feed.store_id()
            manager.list_sessions()
            time.sleep(0.5)
            one_block_rewritten(database, database)
            assert not manager.store.is_current
            manager.list_sessions()
            assert manager.feed.store_id() == before
        assert manager.store.reconnects == 3
    assert is_whole(database)


@pytest.mark.parametrize("servers", [2, 3])
def test_servers_whose_wal_is_deleted_before_the_store_is_copied_over_work_again(
    workspace: Path, tmp_path: Path, servers: int
) -> None:
    """Each closes what it has open: SQLite would share a deleted -shm with every later connection of the process."""
    store = store_of(workspace)
    with ExitStack() as stack:
        wires = [stack.enter_context(serving(workspace)) for _ in range(servers)]
        for wire in wires:
            wire.let_be("server/healthChanged")
            wire.let_be("window/logMessage")
        for number in range(4):
            snapshot = tmp_path / f"snapshot{number}.sqlite"
            turns = [Conversation(wire).turn() for wire in wires]
            copy_whole(store, snapshot)
            posted = [
                (wire, wire.post("turn/append", turnId=turn, content="x" * 500))
                for _ in range(60)
                for wire, turn in zip(wires, turns, strict=True)
            ]
            for suffix in ("-wal", "-shm"):
                Path(f"{store}{suffix}").unlink(missing_ok=True)
            copied_over(snapshot, store)
            for wire, message in posted:
                wire.answer(message)
            made = [created_in_time(wire, f"after {number}") for wire in wires]
            for wire in wires:
                assert set(made) <= {one["id"] for one in wire.request("session/list")["sessions"]}
    assert is_whole(store)


def copy_whole(store: Path, snapshot: Path) -> None:
    """Copy the file again until no checkpoint of a server's idle work has written to it meanwhile."""
    while True:
        checkpoint(store)
        shutil.copy2(store, snapshot)
        with suppress(sqlite3.DatabaseError):
            if is_whole(snapshot):
                return


def created_in_time(wire: Wire, title: str) -> str:
    """A session that the server creates once it has opened the store again."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        answer = wire.answer(wire.post("session/create", title=title))
        if "result" in answer:
            return str(answer["result"]["id"])
        assert answer["error"]["data"]["kind"] in {"storage", "busy"}, answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)

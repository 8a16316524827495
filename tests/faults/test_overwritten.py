"""Another database is written over the one that is open: the same file, by its inode, with another content."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from faults.test_moved_files import is_whole
from strict import StrictSyncClient, Talk, connected
from wire import TIMEOUT, store_of


def copied_over(copy: Path, store: Path) -> None:
    subprocess.run(["cp", "-p", str(copy), str(store)], check=True)


def written_with_dd(copy: Path, store: Path) -> None:
    subprocess.run(["dd", f"if={copy}", f"of={store}", "bs=64k", "conv=notrunc", "status=none"], check=True)
    os.truncate(store, copy.stat().st_size)


def rsync_in_place(copy: Path, store: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    subprocess.run(["rsync", "-a", "--inplace", str(copy), str(store)], check=True)


def without_the_others(store: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{store}{suffix}").unlink(missing_ok=True)


def copied_over_then_the_others_deleted(copy: Path, store: Path) -> None:
    copied_over(copy, store)
    without_the_others(store)


def the_others_deleted_then_copied_over(copy: Path, store: Path) -> None:
    without_the_others(store)
    copied_over(copy, store)


OVERWRITTEN = [
    copied_over,
    written_with_dd,
    rsync_in_place,
    copied_over_then_the_others_deleted,
    the_others_deleted_then_copied_over,
]


def checkpoint(store: Path) -> None:
    with closing(sqlite3.connect(store, timeout=10)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint").fetchone()[0] == 0


def test_a_store_that_was_emptied_acknowledges_nothing(workspace: Path) -> None:
    with connected(workspace) as client:
        turn = Talk(client).turn()
        client.let_be("server/healthChanged")
        os.truncate(store_of(workspace), 0)
        for _ in range(5):
            error = client.error("turn/append", turnId=turn, content="after")
            assert (error.kind, error.data["reason"]) == ("storage", "corrupt")


def test_a_store_that_is_overwritten_right_after_idle_work_is_another(workspace: Path, tmp_path: Path) -> None:
    """The server's own checkpoint moved its marks, and must not hide what others did after it."""
    copy = tmp_path / "older.sqlite"
    with connected(workspace) as client:
        turn = Talk(client).turn()
        client.let_be("server/healthChanged")
        shutil.copy(store_of(workspace), copy)
        client.turn_append(turn_id=turn, content="only in the -wal")
        wal = Path(f"{store_of(workspace)}-wal")
        deadline = time.monotonic() + TIMEOUT
        while wal.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        # The server looks at what it has written right after that, on the same thread.
        time.sleep(0.3)
        copied_over(copy, store_of(workspace))
        for _ in range(5):
            client.error("turn/append", turnId=turn, content="after")
        made = client.session_create(title="after").id
        assert made in {one.id for one in client.session_list().sessions}
    assert is_whole(store_of(workspace))


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("overwrite", OVERWRITTEN, ids=lambda how: how.__name__)
def test_what_is_acknowledged_after_a_store_was_overwritten_is_in_it(
    workspace: Path, tmp_path: Path, overwrite: Callable[[Path, Path], None], servers: int
) -> None:
    """An append to what is not there any more is refused; the file that is there now is whole, and another store."""
    copy = tmp_path / "older.sqlite"
    with connected(workspace) as client:
        kept = client.session_create(title="kept").id
    shutil.copy(store_of(workspace), copy)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(workspace)) for _ in range(servers)]
        turns = [Talk(client).turn() for client in clients]
        for client, turn in zip(clients, turns, strict=True):
            for number in range(50):
                client.turn_append(turn_id=turn, content=f"{number} " * 100)
        checkpoint(store_of(workspace))
        clients[0].turn_append(turn_id=turns[0], content="only in the -wal")
        before = clients[0].server_health().stores[0].store_id
        overwrite(copy, store_of(workspace))
        for client, turn in zip(clients, turns, strict=True):
            assert client.error("turn/append", turnId=turn, content="after").kind == "notFound"
        made = [client.session_create(title="after").id for client in clients]
        for client in clients:
            client.let_be("server/healthChanged")
            assert {one.id for one in client.session_list().sessions} == {kept, *made}
            assert client.server_health().stores[0].store_id != before
    assert is_whole(store_of(workspace))


@pytest.mark.parametrize("overwrite", OVERWRITTEN[-2:], ids=lambda how: how.__name__)
def test_a_server_that_slept_while_others_began_anew_in_an_older_copy_finds_what_they_wrote(
    workspace: Path, tmp_path: Path, overwrite: Callable[[Path, Path], None]
) -> None:
    """Its numbers of changes are given again, so the store gets another name."""
    copy = tmp_path / "older.sqlite"
    with connected(workspace) as client:
        kept = client.session_create(title="kept").id
    shutil.copy(store_of(workspace), copy)
    with connected(workspace) as late, connected(workspace) as newcomer:
        for _ in range(20):
            late.session_create(title="gone")
        before = late.server_health().stores[0].store_id
        os.kill(late.pid, signal.SIGSTOP)
        overwrite(copy, store_of(workspace))
        made = newcomer.session_create(title="after").id
        os.kill(late.pid, signal.SIGCONT)
        for client in (late, newcomer):
            client.let_be("server/healthChanged")
            assert {one.id for one in client.session_list().sessions} == {kept, made}
            assert client.server_health().stores[0].store_id != before
    assert is_whole(store_of(workspace))


def test_a_file_that_was_only_touched_is_the_same(workspace: Path) -> None:
    """Its times may be set by anybody, and nothing is lost by that."""
    with connected(workspace) as client:
        turn = Talk(client).turn()
        before = client.server_health().stores[0].store_id
        for number in range(5):
            os.utime(store_of(workspace), (number, number))
            client.turn_append(turn_id=turn, content=str(number))
        assert client.turn_get(turn_id=turn).content == "01234"
        assert client.server_health().stores[0].store_id == before


def test_a_store_that_was_overwritten_while_it_is_idle_is_let_go_as_it_is(workspace: Path, tmp_path: Path) -> None:
    """The last one to leave a store copies its -wal into the file; not into one that it does not know."""
    copy = tmp_path / "older.sqlite"
    with connected(workspace) as client:
        client.session_create(title="kept")
    shutil.copy(store_of(workspace), copy)
    with connected(workspace) as client:
        Talk(client).turn()
        checkpoint(store_of(workspace))
        client.session_create(title="only in the -wal")
        copied_over(copy, store_of(workspace))
    assert is_whole(store_of(workspace))
    with connected(workspace) as client:
        assert [one.title for one in client.session_list().sessions] == ["kept"]


def all_copied_over(snapshot: Path, home: Path) -> None:
    """As ``cp -r`` does, but that cuts each file before it writes: a process that has the -shm mapped, and looks into
    it at that moment, is ended by the system."""
    for file in snapshot.iterdir():
        if file.name.endswith("-shm"):
            with (home / file.name).open("r+b") as written:
                written.write(file.read_bytes())
        elif file.is_file():
            copied_over(file, home / file.name)
        else:
            subprocess.run(["cp", "-rp", str(file), str(home)], check=True)


def all_rsynced_in_place(snapshot: Path, home: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    subprocess.run(["rsync", "-a", "--inplace", f"{snapshot}/", str(home)], check=True)


def wal_copied_over(snapshot: Path, home: Path) -> None:
    copied_over(snapshot / "db.sqlite-wal", home / "db.sqlite-wal")


def wal_cut(_: Path, home: Path) -> None:
    os.truncate(home / "db.sqlite-wal", 4096)


WAYS = pytest.mark.parametrize(
    "put_back", [all_copied_over, all_rsynced_in_place, wal_copied_over, wal_cut], ids=lambda how: how.__name__
)


def with_a_snapshot(workspace: Path, client: StrictSyncClient, snapshot: Path) -> str:
    """A turn with text that a copy of the store's directory holds, and with text that came later."""
    turn = Talk(client).turn()
    for number in range(20):
        client.turn_append(turn_id=turn, content=f"a{number} ")
    shutil.copytree(store_of(workspace).parent, snapshot, ignore=shutil.ignore_patterns("*-run"))
    for number in range(20):
        client.turn_append(turn_id=turn, content=f"b{number} ")
    return turn


def appended(client: StrictSyncClient, turn: str, pieces: Iterable[str]) -> list[str]:
    """Those of the pieces that were acknowledged; the others were refused for what is wrong with the store."""
    kept = []
    for piece in pieces:
        error = client.refusal("turn/append", turnId=turn, content=piece)
        if error is None:
            kept.append(piece)
        else:
            assert error.kind in {"storage", "notFound"}, error
    return kept


@WAYS
@pytest.mark.parametrize("servers", [1, 2])
def test_the_subscriptions_to_a_store_that_was_put_back_in_place_end(
    workspace: Path, tmp_path: Path, put_back: Callable[[Path, Path], None], servers: int
) -> None:
    """Numbers of changes mean others there. So another store begins, in which all is that is acknowledged."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(workspace)) for _ in range(servers)]
        client = clients[-1]
        turn = with_a_snapshot(workspace, client, tmp_path / "snapshot")
        for each in clients:
            each.let_be("server/healthChanged")
            each.let_be("turn/updated")
        changes = client.followed("turn/subscribe", turnId=turn)
        begun = changes.begun
        put_back(tmp_path / "snapshot", store_of(workspace).parent)
        kept = appended(client, turn, [f"c{number} " for number in range(60)])
        assert changes.ended()["reason"] in {"closed", "deleted"}
        kept += appended(client, turn, ["last"])
        again = client.followed("turn/subscribe", since=begun["seq"], storeId=begun["storeId"]).begun
        assert again["reset"] is True
        assert again["storeId"] != begun["storeId"]
        is_there = client.refusal("turn/get", turnId=turn) is None
        text = client.turn_get(turn_id=turn).content if is_there else ""
        assert (text or "").endswith("".join(kept))
    assert is_whole(store_of(workspace))


def test_a_store_that_is_opened_again_after_it_was_copied_over_is_as_it_was_copied(
    workspace: Path, tmp_path: Path
) -> None:
    """While it is copied over it is empty for a moment, and nothing is written then; afterwards it is used again."""
    with connected(workspace) as client:
        turn = with_a_snapshot(workspace, client, tmp_path / "snapshot")
        client.let_be("server/healthChanged")
        content = (tmp_path / "snapshot" / "db.sqlite").read_bytes()
        with store_of(workspace).open("r+b") as written:
            written.truncate()
            assert client.error("turn/append", turnId=turn, content="while").data["reason"] == "corrupt"
            written.write(content)
        client.wait_until(lambda: client.server_health().status == "ok", "a store that is ok")
        made = client.session_create(title="after").id
        assert made in {one.id for one in client.session_list().sessions}
    assert is_whole(store_of(workspace))


def test_a_large_store_that_was_overwritten_is_another(workspace: Path, tmp_path: Path) -> None:
    """However few of its pages differ."""
    copy = tmp_path / "older.sqlite"
    with connected(workspace) as client:
        talk = Talk(client)
        for _ in range(100):
            talk.turn(content="z" * 30_000)
        client.let_be("server/healthChanged")
        checkpoint(store_of(workspace))
        client.session_list()
        shutil.copy2(store_of(workspace), copy)
        lost = client.session_create(title="newer").id
        checkpoint(store_of(workspace))
        turn = talk.turn()
        before = client.server_health().stores[0].store_id
        copied_over(copy, store_of(workspace))
        assert client.error("turn/append", turnId=turn, content="after").kind == "notFound"
        assert client.error("session/get", sessionId=lost).kind == "notFound"
        assert client.server_health().stores[0].store_id != before
    assert is_whole(store_of(workspace))


def test_a_large_store_that_was_only_touched_is_the_same(workspace: Path) -> None:
    with connected(workspace) as client:
        talk = Talk(client)
        for _ in range(20):
            talk.turn(content="z" * 30_000)
        checkpoint(store_of(workspace))
        turn = talk.turn()
        before = client.server_health().stores[0].store_id
        for number in range(5):
            os.utime(store_of(workspace), (number, number))
            client.turn_append(turn_id=turn, content=str(number))
        assert client.server_health().stores[0].store_id == before

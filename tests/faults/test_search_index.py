"""The search index is lost, damaged, taken from another store, or filled by a process that is killed: the store does
not notice, and everything is found again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from commands.running import limit_files, run, run_program
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import StoreMoved
from mandrake_sessions.model import TurnStatus
from mandrake_sessions.operations.indexing import Indexer, fill_index
from mandrake_sessions.store.search import IndexLost
from mandrake_sessions.store.sqlite.search_files import VERSION
from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex
from strict import StrictSyncClient, connected
from wire import SERVER, store_of

DONE = TurnStatus.COMPLETED
SECONDS = 20.0


def index_of(workspace: Path) -> Path:
    return Path(f"{store_of(workspace)}-search")


def file_of(workspace: Path) -> Path:
    (found,) = index_of(workspace).glob("*.sqlite")
    return found


def say(client: StrictSyncClient, *texts: str) -> list[str]:
    response = client.round_create(session_id=client.session_create(title="A talk").id, content="?").response.id
    return [client.turn_create(response_id=response, content=text, status=DONE).id for text in texts]


def until_found(client: StrictSyncClient, query: str, turns: list[str]) -> None:
    end = time.monotonic() + SECONDS
    while (found := {hit.turn_id for hit in client.session_search(query=query, limit=1000).hits}) != set(turns):
        assert time.monotonic() < end, f"{query}: {len(found)} of {len(turns)} are found"
        time.sleep(0.05)


def lasting(index: Path) -> list[Path]:
    """All but the memory that the processes share: cutting that off would end any program that uses SQLite."""
    return [file for file in index.iterdir() if not file.name.endswith("-shm")]


def deleted(index: Path) -> None:
    shutil.rmtree(index)


def files_deleted(index: Path) -> None:
    for file in index.iterdir():
        file.unlink()


def truncated(index: Path) -> None:
    for file in lasting(index):
        os.truncate(file, min(5000, file.stat().st_size))


def emptied(index: Path) -> None:
    for file in lasting(index):
        os.truncate(file, 0)


def noise(index: Path) -> None:
    dice = random.Random(7)
    for file in lasting(index):
        file.write_bytes(dice.randbytes(file.stat().st_size))


def another_program(index: Path) -> None:
    for file in lasting(index):
        file.write_text("This is no database at all. " * 200)


DAMAGES = [deleted, files_deleted, truncated, emptied, noise, another_program]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_index_that_is_lost_is_made_again(workspace: Path, damage: Callable[[Path], None]) -> None:
    """While servers run, and while none does."""
    with connected(workspace) as client, connected(workspace) as other:
        turns = say(client, *(f"walrus number {n}" for n in range(20)))
        until_found(other, "walrus", turns)
        damage(index_of(workspace))
        # Neither reads nor writes of the store notice.
        turns += say(client, "one more walrus")
        assert len(client.session_list().sessions) == 2
        until_found(client, "walrus", turns)
        until_found(other, "walrus", turns)
        for server in (client, other):
            server.let_be("server/healthChanged")
    damage(index_of(workspace))
    with connected(workspace) as client:
        turns += say(client, "a last walrus")
        until_found(client, "walrus", turns)
    assert is_in_order(workspace)


def is_in_order(workspace: Path) -> bool:
    report = json.loads(run(workspace, "doctor", "--json").out)
    return {finding["level"] for finding in report["findings"] if finding["check"] != "program"} == {"ok"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_doctor_names_a_damaged_index_and_makes_it_again(workspace: Path, damage: Callable[[Path], None]) -> None:
    with connected(workspace) as client:
        turns = say(client, *(f"walrus number {n}" for n in range(20)))
        until_found(client, "walrus", turns)
    damage(index_of(workspace))
    before = store_of(workspace).read_bytes()
    report = json.loads(run(workspace, "doctor", "--json").out)
    (finding,) = [found for found in report["findings"] if found["check"] == "search"]
    assert finding["cure"] == "search"
    assert finding["level"] == ("ok" if damage in (deleted, files_deleted) else "warning")
    repairs = json.loads(run(workspace, "doctor", "--fix", "--json").out)["repairs"]
    assert [done["done"] for done in repairs] == [True]
    assert store_of(workspace).read_bytes() == before, "the store is not touched"
    assert is_in_order(workspace)
    with connected(workspace) as client:
        until_found(client, "walrus", turns)


def a_plain_file(index: Path) -> Path:
    index.write_text("not an index")
    return index


def a_link_to_nothing(index: Path) -> Path:
    index.symlink_to(index.with_name("nothing"))
    return index


def a_link_to_a_directory(index: Path) -> Path:
    index.with_name("elsewhere").mkdir()
    index.symlink_to(index.with_name("elsewhere"))
    return index


def a_directory_for_a_file(index: Path) -> Path:
    made = index / f"v{VERSION}-00000000-0000-0000-0000-000000000000.sqlite"
    made.mkdir(parents=True, mode=0o700)
    index.chmod(0o700)
    return made


def a_closed_directory(index: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    index.mkdir(mode=0o500)
    return index


@pytest.mark.parametrize(
    "obstruct", [a_plain_file, a_link_to_nothing, a_link_to_a_directory, a_directory_for_a_file, a_closed_directory]
)
def test_an_index_that_cannot_be_made_is_a_problem(workspace: Path, obstruct: Callable[[Path], Path]) -> None:
    """``doctor`` says of it what ``server/health`` says. All else works."""
    store_of(workspace).parent.mkdir(mode=0o700)
    in_the_way = obstruct(index_of(workspace))
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        say(client, "a walrus")
        page = client.session_search(query="walrus")
        assert (page.hits, page.pending) == ([], 1)
        (store,) = client.server_health().stores
        assert any("search index cannot be filled" in warning for warning in store.warnings)
        assert client.session_list().sessions
    for fix in ((), ("--fix",)):
        report = json.loads(run(workspace, "doctor", "--json", *fix, code=1).out)
        (found,) = [found for found in report["findings"] if found["check"] == "search"]
        assert found["level"] == "problem"
        assert str(in_the_way) in found["text"]
        assert [done["done"] for done in report["repairs"]] == [False] * len(fix)
    if in_the_way.is_dir() and not in_the_way.is_symlink():
        in_the_way.rmdir()
    else:
        in_the_way.unlink()
    assert [done["done"] for done in json.loads(run(workspace, "doctor", "--fix", "--json").out)["repairs"]] == [True]
    with connected(workspace) as client:
        assert len(client.session_search(query="walrus").hits) == 1


def test_a_repair_of_the_index_that_fails_is_no_success(workspace: Path) -> None:
    """A file of the index may not grow, as on a full disk, which no check foresees."""
    with SessionManager(store_of(workspace)) as manager:
        response = manager.create_round(manager.create_session().id, content="?").response.id
        for number in range(300):
            manager.create_turn(response, content=f"walrus {number} " + f"word{number} " * 50, status=DONE)
    done = run_program(workspace, *SERVER, "doctor", "--fix", preexec_fn=partial(limit_files, 100_000))
    assert done.out.startswith("not fixed: "), done
    assert "\nA repair failed.\n" in done.out
    assert done.code == 1
    assert "\nA repair failed.\n" not in run(workspace, "doctor", "--fix").out


def test_the_index_of_another_store(workspace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / ".git").mkdir(parents=True)
    with connected(other) as client:
        until_found(client, "manatee", say(client, "a manatee of another store"))
    with connected(workspace) as client:
        turns = say(client, "a walrus")
        until_found(client, "walrus", turns)
    shutil.rmtree(index_of(workspace))
    shutil.copytree(index_of(other), index_of(workspace))
    with connected(workspace) as client:
        assert client.session_search(query="manatee").hits == []
        until_found(client, "walrus", turns)
        assert client.session_search(query="manatee").hits == []


def test_an_index_of_an_earlier_version_is_made_again(workspace: Path) -> None:
    """It is deleted, once the new one is there."""
    with connected(workspace) as client:
        turns = say(client, "a walrus")
        until_found(client, "walrus", turns)
        file = file_of(workspace)
    version = int(file.name[1 : file.name.index("-")])
    file.rename(file.with_name(file.name.replace(f"v{version}-", f"v{version - 1}-", 1)))
    with connected(workspace) as client:
        until_found(client, "walrus", turns)
    assert file_of(workspace).name.startswith(f"v{version}-")


def test_a_store_that_is_replaced_by_its_backup_is_indexed_anew(workspace: Path) -> None:
    copy = workspace / "copy.sqlite"
    with connected(workspace) as client:
        turns = say(client, "a walrus")
        until_found(client, "walrus", turns)
    run(workspace, "backup", str(copy))
    with connected(workspace) as client:
        later = say(client, "a later walrus")
        until_found(client, "walrus", turns + later)
    run(workspace, "restore", str(copy))
    with connected(workspace) as client:
        until_found(client, "walrus", turns)


def test_several_servers_fill_one_index(workspace: Path) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(workspace)) for _ in range(4)]
        turns = []
        for number in range(40):
            turns += say(clients[number % 4], f"walrus {number}")
        for client in clients:
            until_found(client, "walrus", turns)


def test_an_index_is_there_with_its_tables_or_not_at_all(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks while another makes it neither takes it for a damaged one nor makes one of its own."""
    database = str(store_of(workspace))
    with SessionManager(database) as manager:
        store_id = manager.feed.store_id()
    stop = threading.Event()
    seen = [0, 0]

    def look() -> None:
        while not stop.is_set():
            # It may go, or change, in the middle of a look without locks.
            with suppress(IndexLost), SqliteSearchIndex(database, is_visited=True).reading() as reader:
                seen[reader is not None] += 1

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(50):
        index = SqliteSearchIndex(database)
        with index.writing(store_id):
            pass
        index.close()
        index.remove()
    stop.set()
    for looker in lookers:
        looker.join()
    assert min(seen) > 0, seen
    assert "damaged" not in caplog.text


def test_what_a_process_only_began_to_make_is_no_index(workspace: Path) -> None:
    database = str(store_of(workspace))
    with SessionManager(database) as manager:
        store_id = manager.feed.store_id()
    began = [index_of(workspace) / f"new-v{VERSION}-01890a5d-ac96-774b-bcce-b302099a805{n}.sqlite" for n in range(2)]
    index_of(workspace).mkdir(exist_ok=True)
    for path in began:
        path.touch()
    os.utime(began[0], (0, 0))
    index = SqliteSearchIndex(database)
    assert index.current() is None
    with index.writing(store_id):
        assert index.current() is not None
    index.close()
    assert [path.exists() for path in began] == [False, True]


def test_a_server_that_is_killed_while_it_fills(workspace: Path) -> None:
    """At any moment: another one goes on, and nothing is found twice or missing."""
    database = store_of(workspace)
    with SessionManager(database, durability="normal") as manager:
        session = manager.create_session(title="A talk")
        response = manager.create_round(session.id, content="?").response.id
        with manager.transaction():
            turns = [
                manager.create_turn(response, content=f"walrus {n} " + f"word{n} " * 300, status=DONE).id
                for n in range(600)
            ]
    dice = random.Random(3)
    program = (
        "import sys; from mandrake_sessions import SessionManager; "
        "from mandrake_sessions.operations.indexing import fill_index\n"
        f"with SessionManager({str(database)!r}) as m: print('filling', flush=True); fill_index(m.store)"
    )
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as filling:
            assert filling.stdout is not None
            filling.stdout.readline()
            time.sleep(dice.random() * 0.15)
            filling.send_signal(signal.SIGKILL)
    with connected(workspace) as client:
        until_found(client, "walrus", turns)
    assert is_in_order(workspace)


def test_a_store_that_may_only_be_read(workspace: Path) -> None:
    """What is in its index is found, and nothing is put in."""
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    with connected(workspace) as client:
        turns = say(client, "a walrus")
        until_found(client, "walrus", turns)
    for path in (*index_of(workspace).iterdir(), index_of(workspace), store_of(workspace), store_of(workspace).parent):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        with connected(workspace) as client:
            until_found(client, "walrus", turns)
    finally:
        for path in (store_of(workspace).parent, store_of(workspace), index_of(workspace)):
            path.chmod(path.stat().st_mode | 0o700)


def test_only_the_owner_may_read_it(workspace: Path) -> None:
    with connected(workspace) as client:
        until_found(client, "walrus", say(client, "a walrus"))
        assert index_of(workspace).stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in index_of(workspace).iterdir()} == {0o600}
    file_of(workspace).chmod(0o644)
    report = json.loads(run(workspace, "doctor", "--json", code=1).out)
    assert [found["check"] for found in report["findings"] if found["level"] == "problem"] == ["permissions"]


def test_what_was_forgotten_leaves_the_index(tmp_path: Path) -> None:
    """The words of what was deleted are in no page of it any more, once enough was deleted."""
    database = tmp_path / "db.sqlite"
    with SessionManager(database, durability="normal") as manager:
        kept, gone = (manager.create_session(title=title) for title in ("kept", "gone"))
        for session, word in ((kept, "walrus"), (gone, "zyzzyva")):
            response = manager.create_round(session.id, content="?").response.id
            for number in range(50):
                manager.create_turn(response, content=f"{word} {number}", status=DONE)
        fill_index(manager.store)
        manager.delete_session(gone.id)
        fill_index(manager.store)
        assert len(manager.search("walrus", limit=100).hits) == 50
    pages = b"".join(file.read_bytes() for file in Path(f"{database}-search").iterdir())
    assert b"zyzzyva" not in pages
    assert b"walrus" in pages


def structures(table: str) -> str:
    return f"UPDATE {table} SET block = randomblob(40) WHERE id = 10"  # noqa: S608


def lengths(table: str) -> str:
    """One level, of more segments than any memory holds: FTS5 asks for it, and says that memory is scarce."""
    return f"UPDATE {table} SET block = x'00000000010101008fffffff7f' WHERE id = 10"  # noqa: S608


def leaves(table: str) -> str:
    return f"UPDATE {table} SET block = randomblob(length(block)) WHERE id > 10"  # noqa: S608


def leaves_deleted(table: str) -> str:
    return f"DELETE FROM {table} WHERE id > 10"  # noqa: S608


@pytest.mark.parametrize("damage", [structures, lengths, leaves, leaves_deleted])
def test_damage_inside_an_index_is_none_of_the_store(workspace: Path, damage: Callable[[str], str]) -> None:
    """The tables of FTS5 are damaged, which SQLite notices in the middle of filling, while the store is read."""
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        turns = say(client, *(f"walrus number {n}" for n in range(20)))
        until_found(client, "walrus", turns)
        with closing(sqlite3.connect(file_of(workspace), timeout=SECONDS, isolation_level=None)) as index:
            tables = index.execute(r"SELECT name FROM sqlite_master WHERE name LIKE '%\_data' ESCAPE '\'").fetchall()
            for (table,) in tables:
                index.execute(damage(table))
        assert tables
        for n in range(12):
            turns += say(client, f"walrus after {n}")
            time.sleep(0.15)
        (store,) = client.server_health().stores
        assert store.status == "ok" or not store.last_error
        until_found(client, "walrus", turns)
    assert is_in_order(workspace)


def fill_a_step(manager: SessionManager) -> None:
    with suppress(StoreMoved):
        Indexer(manager.store).step()


def test_a_store_that_moves_while_its_index_is_filled_is_opened_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that opens it again closes the index, and waits for the one that fills it. That one must not wait."""
    held, go_on = threading.Event(), threading.Event()
    enter = SqliteSearchIndex.writing

    @contextmanager
    def writing(index: SqliteSearchIndex, store_id: str) -> Iterator[object]:
        with enter(index, store_id) as writer:
            held.set()
            assert go_on.wait(SECONDS)
            yield writer

    path = store_of(workspace)
    with SessionManager(path) as manager:
        manager.create_session(title="before")
        monkeypatch.setattr(SqliteSearchIndex, "writing", writing)
        filler = threading.Thread(target=fill_a_step, args=(manager,), daemon=True)
        filler.start()
        assert held.wait(SECONDS)
        Path(f"{path}-shm").unlink()
        opener = threading.Thread(target=manager.create_session, kwargs={"title": "after"}, daemon=True)
        opener.start()
        # It has the store now, and waits for the index.
        opener.join(0.5)
        go_on.set()
        for thread in (opener, filler):
            thread.join(SECONDS)
            assert not thread.is_alive()
        assert {session.title for session in manager.list_sessions().sessions} == {"before", "after"}

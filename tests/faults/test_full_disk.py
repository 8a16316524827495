"""A full disk: what was acknowledged stays, what is refused is not there in part, reads go on, and with room again so
do writes. So it is with any other write that fails.

The disk is a small tmpfs of the server's own where one can be mounted, and SQLite told that there is no room elsewhere.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from faults.injector import SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE
from faults.ledger import Client, Ledger, check_feed, read_state
from faults.servers import Faulty, check_sound, faulty, needs_injector, seeds
from faults.work import Conversation, every_write, pieces, text
from figures import record
from wire import OLDEST_SCHEMA, SERVER, TIMEOUT, Wire, serving

DISK_BYTES = 2_000_000


class Disk(Protocol):
    """The disk that a store is on. ``database``: the file as this process can read it."""

    database: Path

    def serving(self) -> AbstractContextManager[Wire]:
        """Another server on it."""

    def fill(self) -> None:
        """Leave next to no room."""

    def free(self) -> None:
        """Give the room back."""


DiskOf = Callable[[Path, Path], AbstractContextManager[tuple[Disk, Wire]]]


class ToldDisk:
    """The usual disk; one server is told that it is full."""

    def __init__(self, workspace: Path, server: Faulty) -> None:
        self.database = workspace / ".ws" / "db.sqlite"
        self._workspace = workspace
        self._server = server

    def serving(self) -> AbstractContextManager[Wire]:
        return serving(self._workspace)

    def fill(self) -> None:
        self._server.set_plan({"room": 150_000})

    def free(self) -> None:
        self._server.set_plan({})


class Tmpfs:
    """A file system in memory, in a mount namespace of its own, which ends with its process."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        mount = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && echo mounted && exec sleep 600'
        command = ["unshare", "--mount", "sh", "-c", mount, str(workspace)]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._holder.stdout is not None
        self.is_mounted = self._holder.stdout.readline() == b"mounted\n"
        self._root = Path(f"/proc/{self._holder.pid}/root{workspace}")
        self._filler = self._root / "filler"
        self.database = self._root / "db.sqlite"

    def serving(self) -> AbstractContextManager[Wire]:
        enter = ("nsenter", "--mount", "--target", str(self._holder.pid), "--", *SERVER, "serve")
        flags = ("--database", str(self._workspace / "db.sqlite"))
        return serving(self._workspace, "lines", *flags, command=enter)

    def fill(self, spare: int = 150_000) -> None:
        with self._filler.open("ab", buffering=0) as filler:
            with pytest.raises(OSError, match="No space left"):
                while True:
                    filler.write(bytes(4096))
            filler.truncate(max(0, filler.tell() - spare))

    def free(self) -> None:
        self._filler.unlink()

    def close(self) -> None:
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        self._holder.kill()
        self._holder.wait()


@contextmanager
def told_disk(workspace: Path, tmp_path: Path) -> Iterator[tuple[Disk, Wire]]:
    with faulty(workspace, tmp_path / "control") as server:
        yield ToldDisk(workspace, server), server.wire


@contextmanager
def tmpfs(workspace: Path, tmp_path: Path) -> Iterator[tuple[Disk, Wire]]:
    if not sys.platform.startswith("linux") or not all(map(shutil.which, ("unshare", "nsenter", "mount"))):
        pytest.skip("there are no mount namespaces here")
    disk = Tmpfs(workspace)
    try:
        if not disk.is_mounted:
            pytest.skip("nothing may be mounted here")
        with disk.serving() as wire:
            yield disk, wire
    finally:
        disk.close()


def stream_until_full(client: Client, turn_id: str, chance: random.Random) -> int:
    """Append until several pieces in a row were refused; a small one may still fit. Gives how many were."""
    refused = in_a_row = chunk = 0
    while in_a_row < 4:
        size = 3000 if not in_a_row else chance.choice((10, 3000, 9000))
        failed = client.attempt("turn/append", turnId=turn_id, chunk=chunk, content=text(chance, size))
        if failed is None:
            chunk, in_a_row = chunk + 1, 0
            continue
        assert (failed.kind, failed.data["reason"]) == ("storage", "full"), failed
        refused, in_a_row = refused + 1, in_a_row + 1
    return refused


def refused_burst(client: Client, turn_id: str, chance: random.Random) -> int:
    """Pieces sent together, of which each learns its own fate; gives how many were refused."""
    texts = [text(chance, 4000) for _ in range(20)]
    ids = [client.wire.post("turn/append", turnId=turn_id, content=piece) for piece in texts]
    refused = 0
    for message_id, piece in zip(ids, texts, strict=True):
        answer = client.wire.answer(message_id)
        if "error" in answer:
            assert answer["error"]["data"]["reason"] == "full", answer
            refused += 1
        else:
            client.ledger.send("turn/append", {"turnId": turn_id, "content": piece}).told_at = 0
    return refused


@pytest.mark.parametrize(
    "disk_of", [pytest.param(told_disk, marks=needs_injector), tmpfs], ids=["sqlite-is-told", "tmpfs"]
)
def test_a_full_disk_refuses_and_loses_nothing(workspace: Path, tmp_path: Path, disk_of: DiskOf) -> None:
    chance = random.Random(7)
    conversation, ledger = Conversation(chance), Ledger()
    with disk_of(workspace, tmp_path) as (disk, wire):
        client = Client(wire, ledger)
        turn_id, create = conversation.turn()
        for batch in (*conversation.create(), [create]):
            client.burst(batch)
        disk.fill()
        refused = stream_until_full(client, turn_id, chance)
        assert ledger.find(read_state(wire), *[len(ledger.writes)] * 2), "reads go on"
        refused += refused_burst(client, turn_id, chance)
        _, (method, large) = conversation.turn(content="x" * 100_000)
        failed = client.attempt(method, **large)
        assert failed is not None
        assert failed.data["reason"] == "full"
        assert ledger.find(read_state(wire), *[len(ledger.writes)] * 2)
        disk.free()
        stored = ledger.state[turn_id]["chunkCount"]
        client.burst(pieces(chance, turn_id, stored, 20, 5000))
        client.do("turn/update", turnId=turn_id, status="completed")
        found = read_state(wire)
        assert ledger.find(found, *[len(ledger.writes)] * 2)
        check_feed(wire, found)
        check_sound(disk.database)
        with disk.serving() as other:
            assert read_state(other) == found
    record("full disk", disk=type(disk).__name__, stored=stored, refused=refused, pieces_lost=0)


def test_idle_work_that_fails_every_second_is_told_of_once(workspace: Path, tmp_path: Path) -> None:
    with tmpfs(workspace, tmp_path) as (disk, wire):
        wire.request("session/create")
        disk.fill()
        while "error" not in wire.answer(wire.post("session/create", title="x" * 50_000)):
            pass
        wire.wait_for_log("idle work on a store failed")
        time.sleep(2.5)
        assert wire.log.count("idle work on a store failed") == 1
        disk.free()
        wire.let_be("server/healthChanged")


@needs_injector
def test_health_is_degraded_while_the_disk_is_full_until_a_write_succeeds(workspace: Path, tmp_path: Path) -> None:
    with faulty(workspace, tmp_path / "control") as server:
        wire = server.wire
        wire.request("session/create")
        assert wire.request("server/health")["status"] == "ok"
        server.set_plan({"room": 0})
        assert wire.error("session/create", title="x" * 50_000)["data"]["reason"] == "full"
        for told in wire.request("server/health"), wire.notification("server/healthChanged"):
            assert told["status"] == "degraded"
        server.set_plan({})
        wire.request("session/create")
        for told in wire.request("server/health"), wire.notification("server/healthChanged"):
            assert told["status"] == "ok"


@needs_injector
@pytest.mark.parametrize("room", [0, 10_000, 60_000])
def test_a_store_that_cannot_be_made_is_made_once_there_is_room(workspace: Path, tmp_path: Path, room: int) -> None:
    with faulty(workspace, tmp_path / "control", plan={"room": room}) as server:
        error = server.wire.error("session/create", title="no room")
        assert (error["data"]["kind"], error["data"]["reason"]) in {("storage", "full"), ("storage", "migrate")}
        server.set_plan({})
        server.wire.request("session/create", title="room")
        assert [s["title"] for s in server.wire.request("session/list")["sessions"]] == ["room"]
        check_sound(workspace / ".ws" / "db.sqlite")


@needs_injector
@pytest.mark.parametrize("room", [0, 4_000, 40_000, 100_000])
def test_a_migration_without_room_leaves_the_file_as_it_was(workspace: Path, tmp_path: Path, room: int) -> None:
    database = workspace / ".ws" / "db.sqlite"
    database.parent.mkdir()
    shutil.copy(OLDEST_SCHEMA, database)
    with faulty(workspace, tmp_path / "control", plan={"room": room}) as server:
        for _ in range(3):
            error = server.wire.error("session/list")
            assert (error["data"]["kind"], error["data"]["reason"]) in {("storage", "full"), ("storage", "migrate")}
        if schema_version(database) == 1:
            assert sorted(path.name for path in database.parent.iterdir()) == ["db.sqlite"], "no backup in part"
        server.set_plan({})
        (session,) = server.wire.request("session/list")["sessions"]
        (found,) = server.wire.request("session/history", sessionId=session["id"])["rounds"]
        assert found["response"]["turns"][0]["content"] == "begin " + "".join(f"{n} " for n in range(1030))
        check_sound(database)


def schema_version(database: Path) -> int:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@needs_injector
def test_a_fold_without_room_is_not_done_in_part(workspace: Path, tmp_path: Path) -> None:
    chance = random.Random(8)
    conversation, ledger = Conversation(chance), Ledger()
    with faulty(workspace, tmp_path / "control") as server:
        client = Client(server.wire, ledger)
        turn_id, create = conversation.turn()
        for batch in (*conversation.create(), [create], pieces(chance, turn_id, 0, 1023, 200)):
            client.burst(batch)
        ((method, last),) = pieces(chance, turn_id, 1023, 1, 200)
        for room in (0, 5_000, 50_000):
            server.set_plan({"room": room})
            failed = client.attempt(method, **last)
            assert failed is not None
            assert failed.data["reason"] == "full"
            assert ledger.find(read_state(server.wire), *[len(ledger.writes)] * 2)
        server.set_plan({})
        client.do(method, **last)
        found = read_state(server.wire)
        assert ledger.find(found, *[len(ledger.writes)] * 2)
        check_feed(server.wire, found)


@needs_injector
@pytest.mark.parametrize("seed", seeds(9))
@pytest.mark.parametrize(
    ("code", "kind"), [(SQLITE_FULL, "write"), (SQLITE_IOERR_WRITE, "write"), (SQLITE_IOERR_FSYNC, "sync")]
)
def test_a_write_that_fails_anywhere_is_refused_whole_and_can_be_sent_again(
    workspace: Path, tmp_path: Path, code: int, kind: str, seed: int
) -> None:
    chance, ledger, refused = random.Random(seed), Ledger(), 0
    with faulty(workspace, tmp_path / "control", "--durability", "full") as server:
        client = Client(server.wire, ledger)
        for batch in every_write(random.Random(seed)):
            ((method, params),) = batch
            after = chance.randrange(3) if kind == "write" else 0
            server.set_plan({"fail": {"code": code, "kinds": [kind], "file": "-wal", "after": after, "times": 2}})
            failed = client.attempt(method, **params)
            server.set_plan({})
            if failed is not None:
                assert failed.kind == "storage", failed
                assert failed.data["reason"] in ("full", "io", "migrate")
                refused += 1
                client.do(method, **params)
            assert ledger.find(read_state(server.wire), *[len(ledger.writes)] * 2)
        check_feed(server.wire, read_state(server.wire))
        check_sound(workspace / ".ws" / "db.sqlite")
    assert refused > len(ledger.writes) // 2
    record(f"{kind} that fails with {code}", refused=refused, stored=len(ledger.writes), pieces_lost=0)


@needs_injector
@pytest.mark.parametrize("code", [SQLITE_FULL, SQLITE_IOERR_WRITE])
def test_health_says_that_writes_fail_until_one_succeeds(workspace: Path, tmp_path: Path, code: int) -> None:
    """Reads that succeed meanwhile, as those of the health itself, tell nothing of writes."""
    with faulty(workspace, tmp_path / "control") as server:
        wire = server.wire
        session = wire.request("session/create")["id"]
        server.set_plan({"fail": {"code": code, "kinds": ["write"], "file": "-wal", "after": 0, "times": 10**6}})
        assert wire.error("session/update", sessionId=session, title="x")["data"]["kind"] == "storage"
        for _ in range(3):
            wire.request("session/list")
            (store,) = wire.request("server/health")["stores"]
            assert (store["status"], bool(store["lastError"])) == ("degraded", True)
            time.sleep(0.4)
        server.set_plan({})
        wire.request("session/update", sessionId=session, title="y")
        (store,) = wire.request("server/health")["stores"]
        assert (store["status"], store["lastError"]) == ("ok", None)


def test_a_store_that_a_full_disk_keeps_from_being_opened_is_not_damaged(workspace: Path, tmp_path: Path) -> None:
    """Reading needs a -shm, for which there is no room; nothing is wrong with the file."""
    with tmpfs(workspace, tmp_path) as (disk, wire):
        assert isinstance(disk, Tmpfs)
        wire.request("session/create", title="kept")
        wire.end_input()
        assert wire.process.wait(TIMEOUT) == 0
        disk.fill(spare=0)
        with disk.serving() as later:
            later.let_be("server/healthChanged")
            error = later.error("session/list")
            assert (error["data"]["kind"], error["data"]["reason"]) == ("storage", "full")
            disk.free()
            assert [one["title"] for one in later.request("session/list")["sessions"]] == ["kept"]

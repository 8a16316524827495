"""``kill -9`` in the middle of whatever is written: nothing that was acknowledged is lost, and nothing is half there.

Servers are really killed, at random moments and at chosen ones, some beside another server that lives on. Beyond that
the files are made as a kill at many more moments leaves them, from the record of a run: the operating system has then
all that was written, the last write perhaps in half. What is found is always compared with all that was sent.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from faults.disk import Disk, Record, read_trace
from faults.ledger import Client, Ledger, State, check_feed, new_id, read_state
from faults.servers import (
    Faulty,
    check_sound,
    faulty,
    inspecting,
    needs_injector,
    seeds,
)
from faults.work import Batch, Conversation, every_write, mixed, pieces, transaction
from figures import record
from wire import OLDEST_SCHEMA, TIMEOUT, Ended, Wire, apply_update, serving

LOOK = ("--lease-seconds", "0.1")
# The moments of a recorded run that are looked at, those that are not drawn at random included.
MOMENTS = 40
# Servers that are killed at an operation of the disk, in each test.
KILLS = 10


def database(workspace: Path) -> Path:
    return workspace / ".ws" / "db.sqlite"


def wait_until_interrupted(wire: Wire) -> None:
    """The turns of the killed server, which belong to nobody now, become ``interrupted``."""
    deadline = time.monotonic() + TIMEOUT
    while streaming := [s["id"] for s in wire.request("session/list", archived=None)["sessions"] if s["streaming"]]:
        assert time.monotonic() < deadline, f"turns still stream in {streaming}"
        time.sleep(0.02)


def verify(wire: Wire, ledger: Ledger, workspace: Path) -> Batch:
    """What a new server finds after a kill is all that was acknowledged, and a beginning of the rest; gives the writes
    that are not there."""
    wait_until_interrupted(wire)
    found = read_state(wire)
    lost = ledger.settle(found)
    check_feed(wire, found)
    check_sound(database(workspace))
    return [(write.method, write.params) for write in lost]


def send_again(client: Client, batch: Batch) -> None:
    """What is stored already is acknowledged and not stored twice."""
    for method, params in batch:
        if method.endswith("/create") or method == "turn/append":
            client.wire.request(method, **params)


# ---- at a chosen operation of the disk


def folds(chance: random.Random) -> Iterator[Batch]:
    """Turns that are folded by the number of their pieces and by their size, and folded at their end."""
    conversation = Conversation(chance)
    yield from conversation.create()
    many, create_many = conversation.turn()
    large, create_large = conversation.turn()
    yield [create_many, create_large]
    yield pieces(chance, many, 0, 1020, 10)
    yield pieces(chance, many, 1020, 8, 10)
    yield [("turn/append", {"turnId": large, "chunk": n, "content": "x" * 120_000}) for n in range(2)]
    yield [("turn/append", {"turnId": large, "chunk": 2, "content": "y" * 120_000})]
    yield pieces(chance, large, 3, 4, 500)
    yield [("turn/update", {"turnId": large, "status": "completed"})]
    yield [("turn/append", {"turnId": many, "chunk": 1028, "content": "z" * 4_500_000})]  # an automatic checkpoint
    yield [transaction(conversation)]


def io_counts(workspace: Path, control: Path, batches: list[Batch]) -> list[int]:
    """How many operations of the disk each batch takes."""
    counts = [0]
    with faulty(workspace, control, *LOOK) as server:
        client = Client(server.wire, Ledger())
        for batch in batches:
            client.burst(batch)
            counts.append(len(read_trace(server.trace)))
    return [count - before for before, count in pairwise(counts)]


class Killing:
    """A store whose server is killed again and again; the next one looks what is left, and goes on."""

    def __init__(self, workspace: Path, control: Path, stack: ExitStack, chance: random.Random) -> None:
        self.kills = 0
        self.ledger = Ledger()
        self._workspace = workspace
        self._control = control
        self._stack = stack
        self._chance = chance
        self._start()

    def _start(self) -> None:
        self.server: Faulty = self._stack.enter_context(faulty(self._workspace, self._control, *LOOK))
        self.client = Client(self.server.wire, self.ledger)

    def burst(self, batch: Batch, operations: int) -> None:
        """Kill the server at one of so many operations of the disk, if there are any; then what is not stored is sent
        again."""
        moment = self._chance.choice(("before", "half", "after"))
        self.server.set_plan({"kill": [self._chance.randint(1, operations), moment]} if operations else {})
        try:
            self.client.burst(batch)
        except Ended:
            self.kills += 1
            self._start()
            lost = verify(self.server.wire, self.ledger, self._workspace)
            send_again(self.client, batch[: len(batch) - len(lost)])
            self.client.burst(lost)
        else:
            self.server.set_plan({})


@needs_injector
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside-another-server"])
@pytest.mark.parametrize("work", [every_write, folds])
@pytest.mark.parametrize("seed", seeds(2))
def test_a_server_killed_at_any_operation_of_the_disk_loses_nothing(
    workspace: Path, tmp_path: Path, work: Callable[[random.Random], Iterator[Batch]], beside: bool, seed: int
) -> None:
    batches = list(work(random.Random(seed)))
    (tmp_path / "twin" / ".git").mkdir(parents=True)
    counts = io_counts(tmp_path / "twin", tmp_path / "twin-control", batches)
    with ExitStack() as stack:
        killing = Killing(workspace, tmp_path / "control", stack, random.Random(seed + beside))
        if beside:
            other = stack.enter_context(serving(workspace, "lines", *LOOK))
            other.request("turn/subscribe", includeRaw=True)
        chosen = random.Random(seed + beside).sample(range(len(batches)), min(len(batches), KILLS))
        for n, (batch, operations) in enumerate(zip(batches, counts, strict=True)):
            killing.burst(batch, operations if n in chosen else 0)
        assert killing.ledger.find(read_state(killing.server.wire), *[len(killing.ledger.writes)] * 2)
        if beside:
            check_what_was_told(other, killing.ledger)
    assert killing.kills >= len(chosen) * 2 // 3
    how = "beside another server" if beside else "alone"
    record(f"killed at an operation of the disk, {work.__name__}, {how}", kills=killing.kills, pieces_lost=0)


def check_what_was_told(other: Wire, ledger: Ledger) -> None:
    """A server that lived through all the kills has told its client of every change."""
    last = other.request("session/list", limit=1)["seq"]
    follow = other.request("session/subscribe", since=last - 1)
    told = []
    while True:
        message = other.wait_for(lambda m: m.get("method") in ("turn/updated", "session/updated"))
        told.append(message)
        if message["params"]["subscriptionId"] == follow["subscriptionId"] or message["params"]["seq"] >= last:
            break
    gone = other.post("session/unsubscribe", subscriptionId=follow["subscriptionId"])
    told += other.notifications_before(gone)
    turns: dict[str, dict[str, object]] = {}
    for message in told:
        if message["method"] == "turn/updated":
            apply_update(turns, message["params"])
    assert set(turns) == {entity for entity, fields in ledger.state.items() if "round" in fields}
    for turn_id, turn in turns.items():
        assert turn == other.request("turn/get", turnId=turn_id)


# ---- at a random moment


@pytest.mark.parametrize("seed", seeds(3))
def test_a_server_killed_at_a_random_moment_of_a_stream_loses_nothing(workspace: Path, seed: int) -> None:
    chance = random.Random(seed)
    conversation = Conversation(chance)
    turn_id, create = conversation.turn()
    ledger, kills, count = Ledger(), 0, 0
    with serving(workspace) as wire:
        for batch in (*conversation.create(), [create]):
            Client(wire, ledger).burst(batch)
    while kills < 14:
        wire = Wire(workspace, "lines", *LOOK)
        lost = verify(wire, ledger, workspace)
        assert wire.request("turn/get", turnId=turn_id, includeText=False)["status"] == "interrupted"
        count -= len(lost)
        timer = threading.Timer(chance.uniform(0.0, 0.05), wire.process.kill)
        timer.start()
        try:
            while True:
                batch = pieces(chance, turn_id, count, chance.choice((1, 1, 8, 64)), 300)
                count += len(batch)
                Client(wire, ledger).burst(batch)
        except Ended:
            kills += 1
        finally:
            timer.join()
            wire.kill()
    with serving(workspace, "lines", *LOOK) as wire:
        verify(wire, ledger, workspace)
        wire.request("turn/append", turnId=turn_id, content="and on")
        assert wire.request("turn/get", turnId=turn_id, includeText=False)["status"] == "streaming"
        kept = len(ledger.writes)
    record("killed at a random moment of a stream", kills=kills, pieces_stored=kept - 3, pieces_lost=0)


# ---- at many moments of a recorded run


def moments(records: list[Record], chance: random.Random) -> list[int]:
    """The first ones, the last ones, and others at random."""
    every = list(range(len(records)))
    chosen = {*every[: MOMENTS // 6], *every[-MOMENTS // 6 :]}
    return sorted(chosen | set(chance.sample(every, min(len(every), MOMENTS - len(chosen)))))


def look_at_kills(ledger: Ledger, records: list[Record], base: dict[str, bytes], chance: random.Random) -> int:
    """What the program finds after a kill at each moment; gives how many there were."""
    disk, done, looks = Disk(base), 0, 0
    with inspecting() as inspector:
        for moment in moments(records, chance):
            disk.do(records[done:moment])
            done, at = moment, records[moment - 1].end if moment else 0
            torn = records[moment] if chance.random() < 0.5 else None
            told = sum(write.told_at is not None and write.told_at <= at for write in ledger.writes)
            sent = sum(write.sent_at <= records[moment].end for write in ledger.writes)
            ledger.find(inspector.look(disk.killed(torn)), told, sent)
            looks += 1
    return looks


@needs_injector
@pytest.mark.parametrize("seed", seeds(4))
def test_whatever_a_kill_leaves_of_mixed_work_is_whole(workspace: Path, tmp_path: Path, seed: int) -> None:
    ledger = Ledger()
    with faulty(workspace, tmp_path / "control", "--durability", "normal") as server:
        client = Client(server.wire, ledger, server.mark)
        for batch in mixed(random.Random(seed), large=100_000):
            client.burst(batch)
        records = read_trace(server.trace)
    looks = look_at_kills(ledger, records, {}, random.Random(seed))
    record("killed in mixed work, from its record", moments=looks, of=len(records), pieces_lost=0)


@needs_injector
@pytest.mark.parametrize("seed", seeds(5))
def test_whatever_a_kill_leaves_of_idle_work_is_whole(workspace: Path, tmp_path: Path, seed: int) -> None:
    """Pruning of the feed, giving pages back, and emptying the -wal."""
    ledger = Ledger(stored_with_much_to_tidy(workspace, random.Random(seed)))
    base = {"db.sqlite": database(workspace).read_bytes()}
    with faulty(workspace, tmp_path / "control", "--feed-max-bytes", "1024") as server:
        server.wire.request("session/list")
        wait_until_tidy(workspace, server)
        records = read_trace(server.trace)
    looks = look_at_kills(ledger, records, base, random.Random(seed))
    kills = kill_at_some(workspace, tmp_path, ledger.state, base["db.sqlite"], len(records), seed)
    record("killed in idle work, from its record", moments=looks, of=len(records), pieces_lost=0)
    record("killed in idle work", kills=kills, pieces_lost=0)


def stored_with_much_to_tidy(workspace: Path, chance: random.Random) -> State:
    """A store with a feed to prune, pieces in it that are nowhere else, and free pages; no turn is left streaming."""
    ledger = Ledger()
    kept, deleted = Conversation(chance), Conversation(chance)
    with serving(workspace) as wire:
        client = Client(wire, ledger)
        for batch in (*kept.create(), *deleted.create()):
            client.burst(batch)
        large, create = deleted.turn(content="x" * 400_000)
        client.burst([create])
        for status in ("completed", "streaming"):
            turn_id, create = kept.turn(detached=True)
            client.burst([create])
            for first in range(0, 1200, 400):
                client.burst(pieces(chance, turn_id, first, 400, 60))
            client.do("turn/update", turnId=turn_id, status=status)
            client.burst(pieces(chance, turn_id, 1200, 0 if status == "completed" else 50, 60))
        client.do("turn/update", turnId=large, status="completed")
        client.do("session/delete", sessionId=deleted.session)
    return ledger.state


def wait_until_tidy(workspace: Path, server: Faulty) -> None:
    """The last step of idle work empties the -wal, and with that the file gets shorter."""
    size, wal = database(workspace).stat().st_size, database(workspace).with_name("db.sqlite-wal")
    deadline = time.monotonic() + TIMEOUT
    while database(workspace).stat().st_size == size or wal.stat().st_size:
        assert time.monotonic() < deadline, "idle work never came to its end"
        time.sleep(0.05)


def kill_at_some(workspace: Path, tmp_path: Path, state: State, base: bytes, operations: int, seed: int) -> int:
    """Really kill a server that begins with these bytes, at some operations of the disk; the next one finds it all."""
    chance, kills = random.Random(seed), 0
    for at in [1, *(chance.randrange(2, operations) for _ in range(4))]:
        shutil.rmtree(workspace / ".ws")
        database(workspace).parent.mkdir()
        database(workspace).write_bytes(base)
        plan = {"kill": [at, chance.choice(("before", "half", "after"))]}
        with faulty(workspace, tmp_path / "control", "--feed-max-bytes", "1024", plan=plan) as server:
            server.wire.post("transaction/run", operations=COME_AND_GO)
            # Idle work may need fewer operations than in the record: then it is killed at its end.
            with suppress(subprocess.TimeoutExpired):
                assert server.wire.process.wait(TIMEOUT / 2) == -9
            server.wire.kill()
            kills += 1
        with serving(workspace) as wire:
            found = read_state(wire)
            assert Ledger(state).find(found, 0, 0) == 0
            check_feed(wire, found)
            for file in (database(workspace), *database(workspace).parent.glob("*.backup")):
                check_sound(file)
            assert not list(database(workspace).parent.glob("*.partial*"))
    return kills


# ---- while a store is made or migrated


# A first write, which makes or migrates the store, and leaves nothing in it.
COMING = new_id(random.Random(0))
COME_AND_GO = [
    {"method": "session/create", "params": {"id": COMING}},
    {"method": "session/delete", "params": {"sessionId": COMING}},
]


def schema_1_state(tmp_path: Path) -> State:
    """What the old file holds, as the program reads it once it is migrated."""
    twin = tmp_path / "twin"
    database(twin).parent.mkdir(parents=True)
    shutil.copy(OLDEST_SCHEMA, database(twin))
    with serving(twin, "lines", "--database", str(database(twin))) as wire:
        return read_state(wire)


@needs_injector
@pytest.mark.parametrize("seed", seeds(6))
@pytest.mark.parametrize("old", [False, True], ids=["new-file", "migration"])
def test_whatever_a_kill_leaves_of_a_first_start_is_made_whole_by_the_next(
    workspace: Path, tmp_path: Path, old: bool, seed: int
) -> None:
    base = OLDEST_SCHEMA.read_bytes() if old else b""
    state = schema_1_state(tmp_path) if old else {}
    database(workspace).parent.mkdir()
    database(workspace).write_bytes(base)
    with faulty(workspace, tmp_path / "control") as server:
        server.wire.request("transaction/run", operations=COME_AND_GO)
        records = read_trace(server.trace)
    looks = look_at_kills(Ledger(state), records, {"db.sqlite": base}, random.Random(seed))
    kills = kill_at_some(workspace, tmp_path, state, base, len(records), seed)
    what = "a migration" if old else "the making of a file"
    record(f"killed in {what}, from its record", moments=looks, of=len(records))
    record(f"killed in {what}", kills=kills)

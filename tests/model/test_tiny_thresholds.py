"""Random operations with every threshold tiny, idle work between any two of them, restarts, other processes on the
same store, and a subscriber: all that was acknowledged is there, and the file is in order after each step."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import FeedPruned
from mandrake_sessions.operations.housekeeping import Housekeeper, housekeeper
from mandrake_sessions.operations.indexing import Indexer
from mandrake_sessions.store.sqlite.connect import connect
from mandrake_sessions.store.sqlite.deep_check import deep_check
from model.checking import Comparison
from model.operations import BEGINNING, Burst, Operation, sequences
from model.profile import examples, patient
from model.targets import Follower, ManagerTarget, WireTarget
from model.tiny import server, tiny
from wire import Wire

pytestmark = patient

seeds = st.integers(0, 2**32 - 1)


@examples(10)
@given(bursts=sequences(70, 20), seed=seeds)
def test_idle_work_and_restarts_between_any_two_operations(bursts: list[Burst], seed: int) -> None:
    """In this process, so that every step of idle work is seen."""
    with tempfile.TemporaryDirectory() as directory, tiny(seed), Play(Path(directory) / "db.sqlite", seed) as play:
        for burst in [*([operation] for operation in BEGINNING), *bursts]:
            play.run(burst)
            play.do_idle_work()
            play.check_file()
            play.follow()
            play.restart_now_and_then()
        play.check_everything()


@examples(2, shrink=False)
@given(bursts=sequences(80, 30), seed=seeds)
def test_several_processes_on_one_store(bursts: list[Burst], seed: int) -> None:
    """Two servers and a manager in this process take turns; each prunes as its own settings say, and servers are
    killed and started again."""
    with tempfile.TemporaryDirectory() as directory, tiny(seed):
        workspace = Path(directory)
        (workspace / ".git").mkdir()
        (workspace / ".ws").mkdir()
        with Play(workspace / ".ws" / "db.sqlite", seed) as play, servers(workspace, play.chance) as every:
            for burst in [*([operation] for operation in BEGINNING), *bursts]:
                number = play.chance.randrange(3)
                play.run(burst, None if number == 2 else WireTarget(every.at(number)))
                play.do_idle_work()
                play.check_file()
                play.follow()
                if play.chance.random() < 0.1:
                    play.compared.end_copies()
                    every.replace(play.chance.randrange(2))
            play.check_everything()
            play.compared.target = WireTarget(every.at(0))
            play.compared.compare_everything()


class Play:
    """One run: a store, the model of it, a manager with housekeepers, and a subscriber."""

    def __init__(self, database: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self._database = database
        self._manager = SessionManager(database, durability="normal")
        self._manager.init()
        self._target = ManagerTarget(self._manager)
        self._keepers = self._new_keepers()
        self._indexer = Indexer(self._manager.store)
        self._follower, self._since = Follower(), 0
        self.compared = Comparison(self._target, full_pages=False)

    def __enter__(self) -> Play:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def _new_keepers(self) -> list[Housekeeper]:
        """By size and by age; two, as two processes would have them."""
        bounds = [(self.chance.choice([1, 300, 2_000, 20_000]), self.chance.choice([0.0, 0.01, 1000.0])) for _ in "ab"]
        return [housekeeper(self._manager.store, *bound) for bound in bounds]

    def run(self, burst: Burst, target: WireTarget | None = None) -> None:
        self.compared.target = target or self._target
        self.compared.run(*map(_without_chunk, burst))
        self.compared.target = self._target

    def do_idle_work(self) -> None:
        for _ in range(self.chance.choice([0, 0, 1, 2, 5])):
            self.chance.choice(self._keepers).step()
        for _ in range(self.chance.choice([0, 0, 1, 3])):
            self._indexer.step()

    def check_file(self) -> None:
        with closing(connect(str(self._database), read_only=True)) as connection:
            assert deep_check(connection) == []
            (pieces,) = connection.execute(
                "SELECT count(*) FROM turn WHERE status = 'streaming' AND folded_chunks > chunk_count"
            ).fetchone()
            assert pieces == 0, "a row does not account for what is folded"

    def follow(self) -> None:
        """A subscriber that listens now and then, and begins again where its position is no longer kept."""
        if self.chance.random() < 0.3:
            return
        last = self.compared.seq()
        try:
            for params in self._target.replay(self._since, join=self.chance.random() < 0.5):
                self._follower.apply(params)
        except FeedPruned:
            self._follower = self.compared.follower()
        self._since = last
        self.compared.compare_follower(self._follower)

    def restart_now_and_then(self) -> None:
        if self.chance.random() < 0.1:
            self.compared.end_copies()
            self._manager.close()
            self._manager.init()
            self._keepers = self._new_keepers()
            self._indexer = Indexer(self._manager.store)

    def check_everything(self) -> None:
        self.compared.target = self._target
        self.compared.compare_everything()
        for _ in range(300):
            for keeper in self._keepers:
                keeper.step()
        self.check_file()
        self.compared.compare_everything()


class Servers:
    """Two servers of one store."""

    def __init__(self, workspace: Path, chance: random.Random) -> None:
        self._workspace, self._chance = workspace, chance
        self._wires = [self._start(), self._start()]

    def _start(self) -> Wire:
        bound, age = self._chance.choice(["1024", "5000"]), self._chance.choice(["1", "1000"])
        flags = ("--durability", "normal", "--feed-max-bytes", bound, "--feed-max-age", age)
        options = server(self._chance.randrange(2**32))
        return Wire(self._workspace, self._chance.choice(["lines", "headers"]), *flags, **options)  # type: ignore[arg-type]

    def at(self, number: int) -> Wire:
        return self._wires[number]

    def replace(self, number: int) -> None:
        """One ends, by itself or killed, and another starts."""
        if self._chance.random() < 0.5:
            self._wires[number].kill()
        else:
            self._wires[number].close()
        self._wires[number] = self._start()

    def close(self) -> None:
        for wire in self._wires:
            wire.close()

    def kill(self) -> None:
        for wire in self._wires:
            wire.kill()


@contextmanager
def servers(workspace: Path, chance: random.Random) -> Iterator[Servers]:
    """Two servers for the block, which end well if it does."""
    found = Servers(workspace, chance)
    try:
        yield found
    except BaseException:
        found.kill()
        raise
    found.close()


def _without_chunk(operation: Operation) -> Operation:
    """What a piece that is sent again gets as answer depends on whether the feed still has the first one."""
    return replace(operation, chunk=None, parts=tuple(map(_without_chunk, operation.parts)))

"""What happens to the servers, the store and its files while agents write."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from attrs import define

from soak.checkpoint import check, settle_all
from soak.connection import Gone, Refused
from soak.ledger import Copied, Copy, Entity, Ledger
from soak.servers import COMMAND, Server, alive
from soak.subscribers import Audience
from soak.world import World
from wire import clean_environment

YEAR = 365 * 86_400.0
COMMAND_SECONDS = 120.0


@define(eq=False)
class Backup:
    path: Path
    copy: Copy


class Disturbances:
    """One at a time, but stops and slow readers, which end by themselves."""

    def __init__(self, world: World, ledger: Ledger, servers: list[Server], audiences: list[Audience]) -> None:
        self._world, self._ledger, self._servers, self._audiences = world, ledger, servers, audiences
        self._chance = world.chance("disturbances")
        self._backups: list[Backup] = []
        self._timers: list[threading.Timer] = []
        self._number = 0
        self._all: dict[Callable[[], None], float] = {
            self.kill: 6, self.terminate: 2, self.end: 2, self.stop: 3, self.read_slowly: 3, self.hold_the_lock: 2,
            self.checkpoint_by_another: 1, self.back_up: 3, self.restore: 1.5, self.restore_while_written: 1,
            self.put_back_a_file: 1, self.put_back_a_directory: 1, self.tidy_locks_away: 1, self.delete_shm: 0.7,
            self.doctor: 2, self.fix: 1, self.prune: 1.5, self.move_a_clock: 1.5,
        }  # fmt: skip

    def leave_out(self, names: tuple[str, ...]) -> None:
        self._all = {each: weight for each, weight in self._all.items() if each.__name__ not in names}

    def run(self, seconds: float, every: float, check_every: float) -> None:
        """Until the time is over. Raises Stopped."""
        end = time.monotonic() + seconds
        next_check = time.monotonic() + check_every
        while time.monotonic() < end:
            self._world.pause(self._chance.uniform(0.1, 2 * every))
            (each,) = self._chance.choices(list(self._all), list(self._all.values()))
            self.one(each)
            if time.monotonic() > next_check:
                self.check()
                next_check = time.monotonic() + check_every

    def one(self, disturbance: Callable[[], None]) -> None:
        self._world.event(f"disturbance: {disturbance.__name__}")
        try:
            disturbance()
        except Gone:
            self._world.event(f"{disturbance.__name__}: a server ended meanwhile")
        for server in self._servers:
            server.look()
            if server.connection is None:
                server.start()
        self._ledger.forget_deleted([backup.copy for backup in self._backups])

    def check(self) -> None:
        with self._world.flow.exclusive():
            self.calm_down()
            self._world.event("everything is compared")
            check(self._world, self._ledger, self._servers, self._audiences)
            self._world.event("compared")

    def calm_down(self) -> None:
        for timer in self._timers:
            timer.join()
        self._timers.clear()

    # -- processes --

    def _any(self) -> Server:
        return self._chance.choice(self._servers)

    def kill(self) -> None:
        self._end(Server.kill)

    def terminate(self) -> None:
        self._end(Server.terminate)

    def end(self) -> None:
        self._end(Server.end)

    def _end(self, how: Callable[[Server], None]) -> None:
        self.calm_down()
        server = self._any()
        how(server)
        self._world.pause(self._chance.choice((0, 0.1, 0.5, 2)))
        server.start()

    def stop(self) -> None:
        server = self._any()
        server.stop()
        self._later(self._chance.uniform(0.2, 4), server.go_on)

    def read_slowly(self) -> None:
        connection = self._any().connection
        if connection is not None:
            connection.may_read.clear()
            self._later(self._chance.uniform(0.5, 4), connection.may_read.set)
            self._world.count("slow readers")

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, function)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def move_a_clock(self) -> None:
        server = self._any()
        moved = self._chance.choice((0, 0, 3600, -3600, YEAR, -YEAR))
        server.set_clock(moved)
        self._world.event(f"the clock of server {server.number} is {moved} s off")
        self._world.count("clocks moved")

    # -- the file --

    def hold_the_lock(self) -> None:
        """Another program writes for a while, sometimes for longer than a call waits."""
        seconds = self._chance.choice((0.3, 1, 2, 6))
        with self._world.explaining("busy"), closing(self._connected()) as other:
            other.execute("BEGIN IMMEDIATE")
            self._world.pause(seconds)
            other.execute("ROLLBACK")
        self._world.count("locks held")

    def checkpoint_by_another(self) -> None:
        with self._world.explaining("busy"), closing(self._connected()) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self._world.store, timeout=30, isolation_level=None)

    def tidy_locks_away(self) -> None:
        """As a cleaner of temporary files does; the turns of those that live are not interrupted for it."""
        with self._world.flow.exclusive():
            self.calm_down()
            shutil.rmtree(Path(f"{self._world.store}-run"), ignore_errors=True)
        self._world.count("lock directories tidied away")

    def delete_shm(self) -> None:
        with self._world.flow.exclusive():
            self.calm_down()
            Path(f"{self._world.store}-shm").unlink(missing_ok=True)
        self._world.count("-shm deleted")

    # -- commands --

    def _run(self, *command: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [*COMMAND, *command, "--workspace", str(self._world.workspace)],
            cwd=self._world.workspace, env=clean_environment(self._world.directory), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        output = f"{done.stdout[-1500:]} {done.stderr[-1500:]}"
        is_busy = self._world.is_explained("busy") and "lock" in output
        if (done.returncode not in codes or "Traceback" in done.stderr) and not is_busy:
            self._world.fault(f"{command} ended with {done.returncode}: {output}")
        self._world.event(f"{' '.join(command)}: {done.returncode}")
        self._world.count(
            f"{command[0]} {command[1] if command[1:] and command[1].startswith('--fix') else ''}".strip()
        )
        return done.stdout

    def doctor(self) -> None:
        self._run("doctor")

    def fix(self) -> None:
        self._run("doctor", "--fix")

    def prune(self) -> None:
        """Sessions that nobody has used for a minute; what it says it has deleted is gone."""
        began = time.monotonic()
        with self._world.explaining("notFound", aftermath=2), self._world.explaining("prune", aftermath=2):
            told = json.loads(self._run("prune", "--older-than", "1m", "--yes", "--json") or '{"sessions": []}')
        ids = {session["id"] for session in told["sessions"]} if told.get("deleted") else set()
        for session in [one for one in self._ledger.sessions if one.id in ids]:
            every = [session, *session.children, *(turn for one in session.children for turn in one.children)]
            if any(one.last_used > began - 50 and not one.has_odd_times for one in every) and not any(
                one.has_odd_times for one in every
            ):
                self._world.fault(f"prune deleted session {session.id}, which was used a moment ago")
            session.delete_now(self._ledger)
        self._world.count("sessions pruned", len(ids))

    # -- copies that are put back --

    def back_up(self) -> None:
        self._number += 1
        path = self._world.directory / f"backup-{self._number}.sqlite"
        if self._chance.random() < 0.5:
            with self._world.flow.exclusive():
                self._back_up(path)
        else:
            self._back_up(path)

    def _back_up(self, path: Path) -> None:
        sure = self._ledger.sure_lengths()
        self._run("backup", str(path))
        if not path.exists():
            return
        copy = {one: Copied(tuple(one.ops), sure.get(one, 0)) for one in self._ledger.entities()}
        self._backups.append(Backup(path, copy))
        if len(self._backups) > 2:
            self._backups.pop(0).path.unlink()

    def restore(self) -> None:
        if self._backups:
            self._put_back(lambda path: self._run("restore", str(path)), while_written=False)

    def restore_while_written(self) -> None:
        if self._backups:
            self._put_back(lambda path: self._run("restore", str(path)), while_written=True)

    def put_back_a_file(self) -> None:
        """As ``cp -p`` and ``mv`` do, of a copy that nobody has open; its times are those of long ago."""
        if self._backups:
            self._put_back(self._move_over, while_written=False)

    def put_back_a_directory(self) -> None:
        """As of a snapshot of ``.ws``."""
        if self._backups:
            self._put_back(self._swap_directory, while_written=False)

    def _move_over(self, path: Path) -> None:
        fresh = self._world.store.with_name("put-back.sqlite")
        shutil.copy(path, fresh)
        self._age(fresh)
        for suffix in ("-wal", "-shm"):
            Path(f"{self._world.store}{suffix}").unlink(missing_ok=True)
        fresh.replace(self._world.store)
        self._age(self._world.store.parent)

    def _swap_directory(self, path: Path) -> None:
        directory = self._world.store.parent
        fresh, old = directory.with_name("ws-new"), directory.with_name("ws-old")
        fresh.mkdir(mode=0o700)
        shutil.copy(path, fresh / "db.sqlite")
        for name in ("db.sqlite", "."):
            self._age(fresh / name)
        directory.rename(old)
        fresh.rename(directory)
        self._age(directory)
        shutil.rmtree(old)

    def _age(self, path: Path) -> None:
        os.utime(path, (1_700_000_000, 1_700_000_000))

    def _put_back(self, how: Callable[[Path], object], *, while_written: bool) -> None:
        """What was acknowledged after a copy was put back is in the store, from the first moment on."""
        backup = self._chance.choice(self._backups)
        after = 3.0 if while_written else 0.0
        with ExitStack() as stack:
            for kind in ("notFound", "conflict", "restore"):
                stack.enter_context(self._world.explaining(kind, aftermath=after))
            for kind in ("storage", "busy"):
                stack.enter_context(self._world.explaining(kind))
            if not while_written:
                stack.enter_context(self._world.flow.exclusive())
                self.calm_down()
            begins = self._ledger.sure_lengths() if while_written else self._settled_lengths()
            for entity in self._ledger.entities():
                # The process that the copy names may be gone long since.
                entity.is_anybodys = True
            how(backup.path)
            last_number = self._ledger.number
            if while_written:
                self._world.pause(self._chance.choice((0, 1)))
                stack.enter_context(self._world.flow.exclusive())
                self.calm_down()
            self._world.epoch += 1
            self._settle(backup.copy, begins, last_number)
        self._world.count("copies put back")

    def _settled_lengths(self) -> dict[Entity, int]:
        """Nothing is under way, so nothing that was sent can come later."""
        return {entity: len(entity.ops) for entity in self._ledger.entities()}

    def _settle(self, copy: Copy, begins: dict[Entity, int], last_number: int) -> None:
        for attempt in range(5):
            connections = alive(self._servers)
            try:
                if not connections:
                    raise Gone
                faults = settle_all(self._ledger, self._chance.choice(connections), copy, begins, last_number)
            except (Gone, Refused) as error:
                self._world.event(f"settling after a copy was put back, attempt {attempt}: {error}")
                time.sleep(0.5)
                continue
            for fault in faults:
                self._world.fault(f"after a copy was put back: {fault}")
            return
        self._world.fault("after a copy was put back no server could be asked")

"""Server processes of one store: started with settings of chance, ended in every way, started again."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

from faults.servers import with_module
from soak.connection import Connection
from soak.world import World
from wire import clean_environment

COMMAND = (sys.executable, "-m", "mandrake_sessions")
# The contract says 3 s; on a machine with other work it may take longer.
SIGNAL_SECONDS = 20.0


class Server:
    """One after the other: ``connection`` is None while none runs."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.log = world.directory / f"server-{number}.log"
        self.log.touch()
        self.clock = world.directory / f"clock-{number}"
        self.set_clock(0)
        self.connection: Connection | None = None
        self._chance = world.chance(f"server {number}")
        self._started = 0

    def set_clock(self, seconds: float) -> None:
        """Move the clock of this server, now and for those that come after it."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self.clock)

    def start(self) -> None:
        self._started += 1
        name = f"server {self.number}.{self._started}"
        flags = _flags(self._chance)
        self.world.event(f"{name} starts: {' '.join(flags)}")
        environment = clean_environment(self.world.directory) | {"FAULTS_CLOCK": str(self.clock)}
        command = [*with_module("clock"), "--workspace", str(self.world.workspace), *flags]
        self.connection = Connection(self.world, name, command, environment, self.log)
        self.world.count("servers")

    def kill(self) -> None:
        if (connection := self.connection) is not None:
            self.connection = None
            connection.kill()
            self.world.count("kills")

    def terminate(self) -> None:
        """SIGTERM: it finishes what it has received, and ends well."""
        if (connection := self.connection) is not None:
            self.connection, connection.is_ending = None, True
            began = time.monotonic()
            connection.process.send_signal(signal.SIGTERM)
            self._ended(connection, connection.wait(SIGNAL_SECONDS), "SIGTERM", began)
            self.world.count("terminated")

    def end(self) -> None:
        """The end of its input: all is answered, and it ends well."""
        if (connection := self.connection) is not None:
            self.connection, connection.is_ending = None, True
            began = time.monotonic()
            self._ended(connection, connection.end(), "the end of its input", began)
            self.world.count("ended")

    def stop(self) -> None:
        if self.connection is not None:
            self.connection.process.send_signal(signal.SIGSTOP)
            self.world.count("stops")

    def go_on(self) -> None:
        if self.connection is not None and self.connection.process.poll() is None:
            self.connection.process.send_signal(signal.SIGCONT)

    def look(self) -> None:
        """A server that nobody ended must be there."""
        connection = self.connection
        if connection is not None and connection.process.poll() is not None:
            self.world.fault(f"{connection.name} ended by itself with {connection.process.returncode}")
            self.connection = None
            self.start()

    def _ended(self, connection: Connection, code: int | None, why: str, began: float) -> None:
        # Python had not begun yet, so nothing was received either.
        if code == -signal.SIGTERM and not connection.has_spoken:
            return
        if code != 0:
            self.world.fault(f"{connection.name}: exit code {code} after {why}, {time.monotonic() - began:.1f} s")
            connection.kill()


def _flags(chance: random.Random) -> list[str]:
    flags = ["--lease-seconds", "1", "--busy-timeout", str(chance.choice((3, 5, 20)))]
    flags += ["--feed-max-bytes", str(chance.choice((65_536, 65_536, 300_000, 1 << 20, 8 << 20)))]
    flags += ["--feed-max-age", str(chance.choice((3, 60, 604_800, 604_800)))]
    return [*flags, "--durability", chance.choice(("balanced", "balanced", "full", "normal"))]


def alive(servers: list[Server]) -> list[Connection]:
    connections = [server.connection for server in servers]
    return [one for one in connections if one is not None and not one.has_ended.is_set()]


def log_lines(path: Path) -> list[str]:
    """What a log says of faults: nothing else is an error or a traceback."""
    lines = path.read_text(errors="replace").splitlines()
    return [line for line in lines if " ERROR " in line or "Traceback" in line or "incident" in line]

"""One soak: servers, agents, audiences and disturbances for a while, then everything compared and looked through."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen

from soak.checkpoint import check
from soak.disturbances import COMMAND_SECONDS, Disturbances
from soak.ledger import Ledger
from soak.servers import COMMAND, Server, log_lines
from soak.subscribers import Audience
from soak.world import PATIENCE, Stopped, World
from soak.writers import Agent
from wire import clean_environment


@frozen
class Plan:
    """``every``: seconds between two disturbances, on average; ``check_every``: between two comparisons of all.
    ``without``: disturbances that are left out."""

    seconds: float = 45.0
    servers: int = 3
    agents: int = 3
    every: float = 0.7
    without: tuple[str, ...] = ()
    check_every: float = 12.0
    seed: int = field(factory=lambda: secrets.randbelow(10**9))


class Soak:
    """What is held, of everything that agents asked for, whoever was killed and whatever was put back:

    - an acknowledged operation is in the store, once and in its place, and one that was refused is not; of those whose
      answer was lost, a beginning of them is there; what was deleted stays deleted;
    - every request has one answer, of a kind of the contract, and errors have a reason;
    - seq and indexes grow, and are never given twice;
    - every subscriber builds what the store holds, over kills, resumptions, resets, pruning and restores;
    - the turns of a process that is gone become interrupted, those of one that lives do not;
    - every command succeeds, every server ends as it was told, logs hold no error, and in the end `doctor` is content.
    """

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.plan = plan
        self.world = World(directory, plan.seed)
        self._ledger = Ledger()
        self._servers = [Server(self.world, number) for number in range(plan.servers)]
        self._agents = [Agent(self.world, self._ledger, self._servers, number) for number in range(plan.agents)]
        self._audiences = [
            Audience(self.world, self._ledger, server, number) for number, server in enumerate(self._servers)
        ]
        parts: list[Agent | Audience] = [*self._agents, *self._audiences]
        self._threads = [threading.Thread(target=each.run, name=each.name, daemon=True) for each in parts]

    def run(self) -> None:
        """What went wrong is in ``world.faults`` then."""
        disturbances = Disturbances(self.world, self._ledger, self._servers, self._audiences)
        disturbances.leave_out(self.plan.without)
        try:
            for server in self._servers:
                server.start()
            for thread in self._threads:
                thread.start()
            with suppress(Stopped):
                self._wait_for_a_store()
                disturbances.run(self.plan.seconds, self.plan.every, self.plan.check_every)
                self._finish(disturbances)
        finally:
            self.world.stopping.set()
            disturbances.calm_down()
            for thread in self._threads:
                thread.join(PATIENCE)
            self._end_servers()
        self._look_through()

    def _wait_for_a_store(self) -> None:
        """The first write makes it. Raises Stopped."""
        deadline = time.monotonic() + PATIENCE
        while not self.world.figures["pieces"]:
            if time.monotonic() > deadline:
                self.world.fault("nothing was ever written")
                raise Stopped
            self.world.pause(0.05)

    def _finish(self, disturbances: Disturbances) -> None:
        with self.world.flow.exclusive():
            disturbances.calm_down()
            check(self.world, self._ledger, self._servers, self._audiences)
            self.world.stopping.set()

    def _end_servers(self) -> None:
        for server in self._servers:
            if self.world.faults:
                server.kill()
            else:
                server.end()

    def _look_through(self) -> None:
        for server in self._servers:
            for line in log_lines(server.log)[:5]:
                self.world.fault(f"the log of server {server.number}: {line[:500]}")
        done = subprocess.run(
            [*COMMAND, "doctor", "--workspace", str(self.world.workspace)],
            cwd=self.world.workspace, env=clean_environment(self.world.directory), capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            self.world.fault(f"doctor at the end: {done.returncode} {done.stdout[-2000:]} {done.stderr[-500:]}")


def run(plan: Plan) -> Counter[str]:
    """What it counted. Raises AssertionError, which names the seed and where the store's files are kept."""
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(directory, plan)
    soak.run()
    if soak.world.faults:
        lines = [*soak.world.events, "", *soak.world.faults]
        kept = f"seed {plan.seed}: {len(soak.world.faults)} faults; the files are in {directory}"
        raise AssertionError("\n".join([kept, *lines, kept]))
    shutil.rmtree(directory)
    return soak.world.figures

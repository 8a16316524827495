"""What the store holds, compared with the ledger and with what every subscriber has built."""

from __future__ import annotations

import faulthandler
import time

from soak.connection import Connection, Gone, Refused
from soak.ledger import Copied, Copy, Entity, Ledger
from soak.servers import Server, alive
from soak.subscribers import Audience, SessionsWatcher
from soak.world import Message, World
from soak.writers import read, settle

# How long all of it may take until everybody has heard what was committed last.
HEARING_SECONDS = 25.0

Stored = dict[str, tuple[str, str, Message]]


class Checkpoint:
    """Everything, while no agent has anything under way. Raises Gone, Refused."""

    def __init__(self, world: World, ledger: Ledger, connection: Connection) -> None:
        self._world, self._ledger, self._connection = world, ledger, connection
        self.sessions: dict[str, Message] = {}
        self.turns: Stored = {}

    def read(self) -> None:
        self.sessions = {session["id"]: session for session in self._every("session/list", "sessions", archived=None)}
        self.turns = {}
        for session in self.sessions:
            for entry in self._every("session/history", "rounds", sessionId=session, includeRaw=True, limit=30):
                for turn in entry["response"]["turns"]:
                    self.turns[turn["id"]] = (entry["id"], session, turn)

    def compare_with_ledger(self) -> None:
        for entity in self._ledger.entities():
            wrong = settle(self._connection, entity)
            if wrong is None and entity.kind == "turn":
                found = self.turns.get(entity.id)
                wrong = entity.settle(None if found is None else found[2])
                self._world.count("turns compared")
            elif wrong is None and entity.kind == "session":
                wrong = entity.settle(self.sessions.get(entity.id))
            if wrong is not None:
                self._world.fault(f"stored, by {self._connection.name}: {wrong}")
                entity.sure = len(entity.ops)
        self._check_strangers()

    def compare_with(self, audiences: list[Audience]) -> None:
        """What was told may still be on its way; in the end it has to be the same."""
        deadline = time.monotonic() + HEARING_SECONDS
        for audience in audiences:
            for subscriber in list(audience.subscribers):
                while (wrong := self._differs(subscriber)) is not None and time.monotonic() < deadline:
                    if subscriber.is_over or self._world.stopping.wait(0.1):
                        break
                if wrong is not None and not subscriber.is_over and not self._world.stopping.is_set():
                    # Turns of dead processes may just have been interrupted.
                    self.read()
                    wrong = self._differs(subscriber)
                if wrong is not None and not subscriber.is_over and not self._world.stopping.is_set():
                    self._world.fault(f"{audience.name}: {subscriber.name}: {wrong}")
                    with (self._world.directory / "threads.txt").open("a") as threads:
                        faulthandler.dump_traceback(threads)
                self._world.count("states compared")

    def _differs(self, subscriber: object) -> str | None:
        if not getattr(subscriber, "is_live", False):
            names = ("subscription", "must_read", "is_over", "store_id", "_waiting", "seq")
            return f"it is not live: { {name: getattr(subscriber, name, None) for name in names} }"[:300]
        if isinstance(subscriber, SessionsWatcher):
            return subscriber.differs(self.sessions)
        found: str | None = subscriber.differs(self.turns)  # type: ignore[attr-defined]
        return found

    def _check_strangers(self) -> None:
        """Nothing is there that nobody asked for, and indexes are in order."""
        known = {entity.id: entity for entity in self._ledger.entities()}
        for turn_id, (round_id, session_id, _) in self.turns.items():
            if any(each not in known for each in (turn_id, round_id, session_id)):
                self._world.fault(f"turn {turn_id} of {round_id} of {session_id} is a stranger, or was deleted")

    def _every(self, method: str, name: str, **params: object) -> list[Message]:
        found: list[Message] = []
        cursor: str | None = None
        while True:
            page = self._connection.call(method, **params, **({"cursor": cursor} if cursor else {}))
            found += page[name]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        if len({one["id"] for one in found}) != len(found):
            self._world.fault(f"{method} gave a row twice")
        indexes = [one["index"] for one in found if "index" in one]
        if indexes != sorted(set(indexes)):
            self._world.fault(f"{method} gave the indexes {indexes}")
        return found


def check(world: World, ledger: Ledger, servers: list[Server], audiences: list[Audience]) -> None:
    """The caller has the flow for itself. A server that ends meanwhile does not matter: another is asked."""
    for _ in range(5):
        connections = alive(servers)
        if not connections:
            return
        checkpoint = Checkpoint(world, ledger, connections[-1])
        try:
            checkpoint.read()
            checkpoint.compare_with_ledger()
            checkpoint.compare_with(audiences)
        except Gone:
            continue
        except Refused as refused:
            if not world.is_explained(refused.kind):
                world.fault(f"a checkpoint at {connections[-1].name}: {refused}")
            world.stopping.wait(1)
            continue
        world.count("checkpoints")
        return


def settle_all(
    ledger: Ledger, connection: Connection, copy: Copy, begins: dict[Entity, int], last_number: int
) -> list[str]:
    """After a copy was put back the store holds what it held, and then what was sent since. ``begins``: how much was
    sure of each before that began, so it cannot have come after; ``last_number``: of the operations asked for before it
    was done, so later ones must be there. Gives what is wrong. Raises Gone, Refused."""
    faults = []
    for entity in ledger.entities():
        end = sum(op.number <= last_number for op in entity.ops)
        found = None if entity.parent is not None and not entity.parent.exists else read(connection, entity)
        wrong = entity.settle_from(found, copy.get(entity, Copied()), begins.get(entity, 0), end)
        if wrong is not None:
            faults.append(wrong)
            entity.sure = len(entity.ops)
    return faults

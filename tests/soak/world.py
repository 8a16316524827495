"""What all parts of a soak share: its directory, its faults, its figures, and who may touch the store now."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# How long anything may take on a machine with a lot of other work, before it counts as never.
PATIENCE = 60.0
# After a disturbance that explains an error (a lock that was held, a file that was put back), how long it explains it.
AFTERMATH = 15.0
MAX_FAULTS = 10

Message = dict[str, Any]


class Stopped(Exception):
    """The soak is over, or a fault ends it."""


class Flow:
    """Clients share it while they have requests under way; a disturbance that must be alone waits for all of them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._sharing = 0
        self._is_exclusive = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._is_exclusive)
            self._sharing += 1
        try:
            yield
        finally:
            with self._condition:
                self._sharing -= 1
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._is_exclusive)
            self._is_exclusive = True
            self._condition.wait_for(lambda: not self._sharing)
        try:
            yield
        finally:
            with self._condition:
                self._is_exclusive = False
                self._condition.notify_all()


class World:
    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.workspace = directory / "workspace"
        (self.workspace / ".git").mkdir(parents=True)
        self.seed = seed
        self.flow = Flow()
        self.stopping = threading.Event()
        self.faults: list[str] = []
        self.events: deque[str] = deque(maxlen=80)
        self.figures: Counter[str] = Counter()
        # The store goes back in time when a copy is put back; each of these times is an epoch of seq and of indexes.
        self.epoch = 0
        # Every turn that was asked for, by its id.
        self.turns: dict[str, Any] = {}
        self._began = time.monotonic()
        self._explained: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def store(self) -> Path:
        return self.workspace / ".ws" / "db.sqlite"

    def chance(self, name: str) -> random.Random:
        """A source of chance of its own for each part, so that one's decisions do not move another's."""
        return random.Random(f"{self.seed} {name}")

    def fault(self, text: str) -> None:
        with self._lock:
            self.faults.append(f"{time.monotonic() - self._began:.1f} s: {text[:3000]}")
            if len(self.faults) >= MAX_FAULTS:
                self.stopping.set()
        self.event(f"FAULT {text[:300]}")

    def event(self, text: str) -> None:
        line = f"{time.monotonic() - self._began:8.2f} {text}"
        self.events.append(line)
        with (self.directory / "events.log").open("a") as log:
            log.write(line + "\n")

    def trace(self, name: str, message_id: object, message: Message) -> None:
        """What a server was sent and has answered, shortened, for whoever looks for the cause of a fault."""
        line = f"{time.monotonic() - self._began:9.3f} {message_id} {str(message)[:300]}"
        with self._lock, (self.directory / f"trace {name.partition('.')[0]}.log").open("a") as log:
            log.write(line.encode(errors="replace").decode() + "\n")

    def count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self.figures[name] += number

    @contextmanager
    def explaining(self, kind: str, aftermath: float = AFTERMATH) -> Iterator[None]:
        """Errors of this kind are legal for the block, and for a while after it."""
        self._explained[kind] = float("inf")
        try:
            yield
        finally:
            self._explained[kind] = time.monotonic() + aftermath

    def is_explained(self, kind: str) -> bool:
        return time.monotonic() < self._explained.get(kind, 0.0)

    def pause(self, seconds: float) -> None:
        """Raises Stopped."""
        if self.stopping.wait(seconds):
            raise Stopped

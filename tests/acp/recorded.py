"""A recorder's part that stores, in this process or in another one, and what is in the store then."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands.running import run
from mandrake_sessions import SessionManager
from mandrake_sessions.acp.events import (
    Asked,
    Began,
    Called,
    Completed,
    Ended,
    Event,
    Put,
    Said,
    Stood,
    to_json,
)
from mandrake_sessions.acp.homes import Homes
from mandrake_sessions.ids import new_id, now_ms
from mandrake_sessions.model import HistoryRound, Session
from wire import TIMEOUT, clean_environment


class Talk:
    """The events of one session, given to ``put``."""

    def __init__(self, put: Callable[[Event], None], name: str = "one", agent: str = "codex", **began: Any) -> None:
        self.put = put
        self.name = name
        self.agent = agent
        self.round = self.turn = ""
        put(Began(name, agent, now_ms(), **began))

    def ask(self, text: str, **fields: Any) -> str:
        self.round = new_id()
        self.put(Asked(self.name, self.round, text, now_ms(), **fields))
        return self.round

    def say(self, text: str, *, kind: str = "message", again: bool = False) -> str:
        """In a new turn, or again in the last one."""
        if not again:
            self.turn = new_id()
        self.put(Said(self.name, self.round, self.turn, kind, text, now_ms()))
        return self.turn

    def more(self, text: str) -> None:
        self.say(text, again=True)

    def whole(self) -> None:
        self.put(Completed(self.name, self.round, self.turn, now_ms()))

    def show(self, text: str, *, turn: str | None = None, kind: str = "plan", is_ended: bool = True) -> str:
        turn = turn or new_id()
        self.put(Put(self.name, self.round, turn, kind, text, now_ms(), is_ended=is_ended))
        return turn

    def call(self, turn: str | None = None, **fields: Any) -> str:
        turn = turn or new_id()
        self.put(Called(self.name, self.round, turn, {"id": "call", **fields}, now_ms()))
        return turn

    def stand(self, status: Any) -> None:
        self.put(Stood(self.name, self.round, status, now_ms()))

    def end(self, **fields: Any) -> None:
        self.put(Ended(self.name, self.round, now_ms(), **fields))


@contextmanager
def recording(database: Path, **options: Any) -> Iterator[Homes]:
    """At the end all must be stored."""
    told: list[str] = []
    homes = Homes(database=str(database), **{"tell": told.append, **options})
    yield homes
    assert homes.end(TIMEOUT), told


_DRIVER = """
import json, sys
from mandrake_sessions.acp.events import from_json
from mandrake_sessions.acp.homes import Homes
homes = Homes(database=sys.argv[1])
for line in sys.stdin:
    homes.put(from_json(json.loads(line)))
print(homes.end(float(sys.argv[2])), flush=True)
"""


class Driver:
    """A process that stores events."""

    def __init__(self, database: Path, seconds: float = TIMEOUT, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _DRIVER, str(database), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(database.parent) | environment,
        )

    def put(self, event: Event) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(to_json(event), default=dict) + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)

    def end(self) -> tuple[bool, str]:
        """Whether all is stored, and what was said on stderr."""
        out, told = self.process.communicate(timeout=2 * TIMEOUT)
        assert self.process.returncode == 0, told
        return out == "True\n", told


@contextmanager
def driving(database: Path, seconds: float = TIMEOUT, **environment: str) -> Iterator[Driver]:
    driver = Driver(database, seconds, **environment)
    try:
        yield driver
    finally:
        if driver.process.poll() is None:
            driver.kill()


class Store:
    """What is in a store, read by somebody else."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def sessions(self) -> list[Session]:
        with SessionManager(self.database) as manager:
            return list(manager.list_sessions(archived=None).sessions)

    def session(self, name: str = "one", agent: str = "codex") -> Session:
        with SessionManager(self.database) as manager:
            return manager.get_session(external_id=name, agent=agent)

    def rounds(self, name: str = "one", agent: str = "codex") -> list[HistoryRound]:
        with SessionManager(self.database) as manager:
            session = manager.get_session(external_id=name, agent=agent).id
            page = manager.history(session)
            found = list(page.rounds)
            while page.next_cursor is not None:
                page = manager.history(session, cursor=page.next_cursor)
                found += page.rounds
        return found

    def talk(self, name: str = "one", agent: str = "codex") -> list[tuple[str, str, list[tuple[str, str, str]]]]:
        """Each round: its request, how its response stands, and the kind, the text and the status of each turn."""
        return [
            (
                each.request.content,
                each.response.status.value,
                [(turn.kind, turn.content or "", turn.status.value) for turn in each.response.turns],
            )
            for each in self.rounds(name, agent)
        ]

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition holds, which may not be able to look yet."""
        until(condition)

    def is_sound(self) -> bool:
        done = run(self.database.parent, "doctor", "--database", self.database, code=None)
        assert "0 problems" in done.out, done
        return True


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            if condition():
                return
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def waiting_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.name.startswith("acp-waiting-"))

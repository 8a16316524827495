"""What a call costs does not grow with the store: SQLite takes as many steps among many sessions as among few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.store.sqlite.pool import open_databases

FEW, MANY = 20, 1500
# A page that is at its end takes less than a full one, and a tree of more levels a little more.
MOST = 1.3


class Counted:
    """A store with so many sessions, of which every third is archived; counts the steps of SQLite."""

    def __init__(self, path: Path, count: int) -> None:
        self.steps = 0
        self._manager = SessionManager(path)
        self._manager.init()
        with self._manager.transaction():
            for number in range(count):
                made = self._manager.create_session(title=f"session {number}", agent="codex")
                if number % 3 == 0:
                    self._manager.update_session(made.id, archived=True)
        self.session = self._manager.create_session(title="the one").id
        self.response = self._manager.create_round(self.session, content="?").response.id
        self.turn = self._manager.create_turn(self.response).id
        self._manager.append_turn(self.turn, content="first")

    def close(self) -> None:
        self._manager.close()

    def steps_of(self, call: Callable[[SessionManager, Counted], Any]) -> int:
        # The first one compiles its statements, and opens a connection to read.
        call(self._manager, self)
        (database,) = open_databases()
        connections = [database.writer, *database.readers._idle]
        for connection in connections:
            connection.set_progress_handler(self._step, 1)
        self.steps = 0
        call(self._manager, self)
        for connection in connections:
            connection.set_progress_handler(None, 0)
        return self.steps

    def _step(self) -> int:
        self.steps += 1
        return 0


CALLS: dict[str, Callable[[SessionManager, Counted], Any]] = {
    "session/list": lambda manager, _: manager.list_sessions(limit=10),
    "session/list, archived": lambda manager, _: manager.list_sessions(limit=5, archived=True),
    "session/list, agent": lambda manager, _: manager.list_sessions(limit=10, agent="codex", sort="active"),
    "session/get": lambda manager, store: manager.get_session(store.session),
    "session/history": lambda manager, store: manager.history(store.session),
    "session/create": lambda manager, _: manager.create_session(title="another"),
    "session/update": lambda manager, store: manager.update_session(store.session, metadata={"n": store.steps}),
    "round/list": lambda manager, store: manager.list_rounds(store.session),
    "turn/get": lambda manager, store: manager.get_turn(store.turn),
    "turn/append": lambda manager, store: manager.append_turn(store.turn, content="x"),
    "turn/latest": lambda manager, store: manager.latest_turn(store.response),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_takes_as_many_steps_among_many_sessions(tmp_path: Path, call: str) -> None:
    taken = []
    for count in (FEW, MANY):
        store = Counted(tmp_path / f"{count}.sqlite", count)
        try:
            taken.append(store.steps_of(CALLS[call]))
        finally:
            store.close()
    few, many = taken
    assert few > 0
    assert many <= few * MOST, f"{few} steps among {FEW} sessions, {many} among {MANY}"

"""Any events in any order, while the store is locked now and then and recorders end and begin: what is stored in the
end is what a dictionary says."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from acp.recorded import Store
from faults.servers import seeds
from mandrake_sessions.acp.events import (
    Asked,
    Began,
    Called,
    Completed,
    Described,
    Ended,
    Event,
    Put,
    Requested,
    Said,
    Stood,
    Used,
)
from mandrake_sessions.acp.homes import Homes
from mandrake_sessions.acp.known import part_id
from mandrake_sessions.acp.waiting import Bounds
from mandrake_sessions.ids import new_id, now_ms
from mandrake_sessions.model import HistoryRound
from wire import TIMEOUT

TURN_BYTES = 300
WORDS = ("a ", "bc ", "äöü ", "€ ", "\n", "\ud800", "𝄞", "x" * 100)


@define
class Turn:
    kind: str
    text: str = ""
    status: str | None = None
    calls: dict[str, Any] = field(factory=dict)


@define
class Round:
    id: str
    text: str
    turns: dict[str, Turn] = field(factory=dict)
    status: str | None = None
    reason: str | None = None
    usage: dict[str, int] = field(factory=dict)
    metadata: dict[str, Any] = field(factory=dict)


@define
class Session:
    title: str | None = None
    metadata: dict[str, Any] = field(factory=dict)
    rounds: list[Round] = field(factory=list)


class Model:
    """What is to be in the store, and events that add to it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.sessions = {name: Session() for name in ("one", "two", "three")}

    def begin(self) -> list[Event]:
        return [Began(name, "codex", now_ms(), is_kept=True) for name in self.sessions]

    def next(self) -> Event | None:
        chance = self.chance
        name = chance.choice(list(self.sessions))
        session = self.sessions[name]
        running = [each for each in session.rounds if each.status is None]
        if chance.random() < 0.05:
            return self._describe(name, session)
        if not running or chance.random() < 0.05:
            made = Round(new_id(), self._text())
            session.rounds.append(made)
            return Asked(name, made.id, made.text, now_ms())
        each = running[0]
        kinds = {self._say: 10, self._put: 2, self._call: 4, self._complete: 4, self._stand: 1, self._use: 1,
                 self._request: 0.3, self._end: 1}  # fmt: skip
        return chance.choices(list(kinds), list(kinds.values()))[0](name, each)

    def _text(self) -> str:
        return "".join(self.chance.choices(WORDS, k=self.chance.randint(1, 5)))

    def _describe(self, name: str, session: Session) -> Event:
        if self.chance.random() < 0.5:
            session.title = f"title {self.chance.random()}"
            return Described(name, title=session.title)
        key = self.chance.choice("ab")
        value: Any = self.chance.choice((1, None, {"x": []}))
        session.metadata.pop(key, None)
        if value is not None:
            session.metadata[key] = value
        return Described(name, metadata={key: value})

    def _say(self, name: str, each: Round) -> Event:
        open_ = [turn for turn, known in each.turns.items() if known.status is None and known.kind == "message"]
        turn = self.chance.choice([*open_, new_id()])
        known = each.turns.setdefault(turn, Turn("message"))
        text = self._text()
        known.text += text
        return Said(name, each.id, turn, "message", text, now_ms())

    def _put(self, name: str, each: Round) -> Event:
        plans = [turn for turn, known in each.turns.items() if known.kind == "plan"]
        turn = self.chance.choice([*plans, new_id()])
        is_ended = self.chance.random() < 0.5
        text = self._text()[:70]
        each.turns[turn] = Turn("plan", text, "completed" if is_ended else None)
        return Put(name, each.id, turn, "plan", text, now_ms(), is_ended=is_ended)

    def _call(self, name: str, each: Round) -> Event:
        calls = [turn for turn, known in each.turns.items() if known.kind == "tool_calls"]
        turn = self.chance.choice([*calls, new_id()])
        known = each.turns.setdefault(turn, Turn("tool_calls", status="completed"))
        fields = {"id": "call", self.chance.choice(("title", "kind")): f"{self.chance.random()}"}
        known.calls |= fields
        return Called(name, each.id, turn, fields, now_ms())

    def _complete(self, name: str, each: Round) -> Event | None:
        open_ = [turn for turn, known in each.turns.items() if known.status is None]
        if not open_:
            return None
        turn = self.chance.choice(open_)
        status: Any = self.chance.choice(("completed", "completed", "cancelled", "error"))
        if each.turns[turn].kind == "plan":
            status = "completed"
        each.turns[turn].status = status
        return Completed(name, each.id, turn, now_ms(), status)

    def _stand(self, name: str, each: Round) -> Event:
        return Stood(name, each.id, self.chance.choice(("requires_action", "open")), now_ms())

    def _use(self, name: str, each: Round) -> Event:
        fields = {self.chance.choice(("input_tokens", "output_tokens")): self.chance.randint(0, 9)}
        each.usage |= fields
        return Used(name, each.id, fields)

    def _request(self, name: str, each: Round) -> Event:
        each.text = self._text()
        return Requested(name, each.id, each.text)

    def _end(self, name: str, each: Round) -> Event:
        status: Any = self.chance.choice(("completed", "cancelled", "interrupted"))
        each.status, each.reason, each.metadata = status, self.chance.choice((None, "why")), {"n": 1}
        for turn in each.turns.values():
            turn.status = turn.status or status
        return Ended(name, each.id, now_ms(), status, each.reason, metadata=each.metadata)

    def finish(self) -> list[Event]:
        return [
            self._end(name, each)
            for name, session in self.sessions.items()
            for each in session.rounds
            if each.status is None
        ]


def plain(text: str) -> str:
    return text.encode(errors="surrogatepass").decode(errors="replace").replace("\ufffd" * 3, "\ufffd")


def check(store: Store, model: Model) -> None:
    for name, session in model.sessions.items():
        found = store.session(name)
        assert (found.title, found.metadata) == (session.title, session.metadata)
        rounds = store.rounds(name)
        assert [each.id for each in rounds] == [each.id for each in session.rounds]
        for each, expected in zip(rounds, session.rounds, strict=True):
            check_round(each, expected)


def check_round(found: HistoryRound, expected: Round) -> None:
    response = found.response
    assert found.request.content == plain(expected.text)
    assert (response.status, response.stop_reason) == (expected.status, expected.reason)
    assert found.metadata == expected.metadata
    usage = {name: getattr(response.usage, name) for name in expected.usage}
    assert usage == expected.usage
    turns = {turn.id: turn for turn in response.turns}
    for name, turn in expected.turns.items():
        parts = [turns.pop(name)]
        while (following := part_id(name, len(parts))) in turns:
            parts.append(turns.pop(following))
        assert "".join(part.content or "" for part in parts) == plain(turn.text)
        assert (parts[-1].kind, parts[-1].status) == (turn.kind, turn.status)
        assert all(len((part.content or "").encode()) <= TURN_BYTES for part in parts)
        calls = [{key: getattr(call, key) for key in turn.calls} for call in parts[0].tool_calls]
        assert calls == ([turn.calls] if turn.calls else [])
    assert turns == {}


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_any_events_give_what_a_dictionary_says(database: Path, seed: int) -> None:
    chance = random.Random(seed)
    model = Model(chance)
    for _ in range(4):
        homes = Homes(
            database=str(database),
            tell=lambda _: None,
            bounds=Bounds(chance.choice((1500, 10**6)), 10**8, 10**8),
            turn_bytes=TURN_BYTES,
        )
        for event in model.begin():
            homes.put(event)
        events = [made for _ in range(300) if (made := model.next()) is not None] + model.finish()
        is_left = chance.random() < 0.4
        while events:
            count = chance.choice((1, 5, 40, 200))
            if chance.random() < 0.15 and database.exists():
                with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    for event in events[:count]:
                        homes.put(event)
                    time.sleep(chance.random() * 0.3)
            else:
                for event in events[:count]:
                    homes.put(event)
                time.sleep(chance.random() * 0.03)
            del events[:count]
        if not is_left:
            assert homes.end(TIMEOUT)
            check(Store(database), model)
            continue
        with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN IMMEDIATE")
            # What is left waits for the next one, which begins at once.
            homes.end(0.05)
    homes = Homes(database=str(database), turn_bytes=TURN_BYTES)
    for event in model.begin():
        homes.put(event)
    assert homes.end(TIMEOUT)
    check(Store(database), model)
    assert Store(database).is_sound()

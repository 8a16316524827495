"""What was asked of each session, round and turn, in order, and what the store must therefore hold.

An entity is its log of operations. Those before ``sure`` were acknowledged; those behind were sent, and their answer
is not there (yet). Everything asked of one entity goes over one connection at a time, so what the store holds is the
log up to some place that is not before ``sure``: ``settle`` finds it. After a copy of the store was put back, the store
holds a beginning of what the log was when the copy was made, and behind it what was sent since it was put back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from attrs import define, field, frozen

from soak.texts import Text
from soak.world import Message

Kind = Literal["session", "round", "turn"]


@frozen
class Piece:
    content: Text
    raw: Text | None = None
    tokens: int | None = None


@define(eq=False)
class Op:
    """``create`` and ``set`` with values, ``replace`` with a piece, ``append`` with pieces, ``call`` with a tool call,
    ``uncall`` with its id, ``delete``. ``several``: all of them or none (a transaction)."""

    name: str
    values: Message = field(factory=dict)
    pieces: tuple[Piece, ...] = ()
    several: tuple[Op, ...] = ()
    # Order of asking, over all entities.
    number: int = 0


@define
class State:
    """What the log comes to."""

    values: Message = field(factory=dict)
    # Since the text was given, or replaced, last.
    base: tuple[str, str] = ("", "")
    pieces: list[Piece] = field(factory=list)
    chunks: int = 0
    calls: dict[str, Message] = field(factory=dict)
    exists: bool = False

    def apply(self, op: Op) -> None:
        for each in op.several or (op,):
            self._apply(each)

    def _apply(self, op: Op) -> None:
        if op.name == "create":
            self.exists = True
        elif op.name == "delete":
            self.exists = False
        if "content" in op.values and isinstance(op.values["content"], Text):
            self.base = (str(op.values["content"]), str(op.values.get("rawResponse", "")) or self._raw())
            self.pieces = []
        if op.name not in ("call", "uncall"):
            self.values.update({key: value for key, value in op.values.items() if not isinstance(value, Text)})
        self.pieces.extend(op.pieces)
        if op.name == "append":
            self.chunks += len(op.pieces)
            self.values["status"] = "streaming"
            if op.pieces[-1].tokens is not None:
                self.values["currentTokens"] = op.pieces[-1].tokens
        elif op.name == "call":
            self.calls[op.values["id"]] = self.calls.get(op.values["id"], {}) | op.values
        elif op.name == "uncall":
            self.calls.pop(op.values["id"], None)

    def _raw(self) -> str:
        return self.base[1] + "".join(str(piece.raw) for piece in self.pieces if piece.raw is not None)

    @property
    def texts(self) -> tuple[str, str]:
        return self.base[0] + "".join(str(piece.content) for piece in self.pieces), self._raw()


@frozen
class Copied:
    """What a copy of the store holds of an entity: a beginning of these, with those that are sure."""

    ops: tuple[Op, ...] = ()
    sure: int = 0


Copy = dict["Entity", Copied]


@define(eq=False)
class Entity:
    kind: Kind
    id: str
    parent: Entity | None
    author: object = None
    ops: list[Op] = field(factory=list)
    sure: int = 0
    children: list[Entity] = field(factory=list)
    # Turns: the server processes that may own it, and whether it belongs to nobody.
    owners: set[Any] = field(factory=set)
    is_detached: bool = False
    # A copy of the store was put back: the process that the copy names as the owner may be any.
    is_anybodys: bool = False
    response: str = ""
    request: str = ""
    size: int = 0
    last_used: float = 0.0
    # Changed while the clock was wrong: its times say nothing.
    has_odd_times: bool = False

    @property
    def is_settled(self) -> bool:
        return self.sure == len(self.ops) and (self.parent is None or self.parent.is_settled)

    def state(self, until: int | None = None) -> State:
        state = State()
        for op in self.ops[:until]:
            state.apply(op)
        return state

    @property
    def exists(self) -> bool:
        """As far as is sure, or was asked for."""
        alive = False
        for op in self.ops:
            for each in op.several or (op,):
                alive = each.name == "create" or (alive and each.name != "delete")
        return alive and (self.parent is None or self.parent.exists)

    def acknowledged(self, op: Op) -> None:
        """With it, all that was asked before: it is answered in order."""
        if op in self.ops[self.sure :]:
            self.sure = self.ops.index(op, self.sure) + 1

    def refused(self, op: Op) -> None:
        if op in self.ops[self.sure :]:
            self.ops.remove(op)

    def settle(self, found: Message | None) -> str | None:
        """What the store holds decides which of the operations were carried out. Gives what is wrong."""
        return self._settle_as(found, (self.ops[:length] for length in range(len(self.ops), self.sure - 1, -1)))

    def settle_from(self, found: Message | None, copied: Copied, begin: int, end: int) -> str | None:
        """The store holds what a copy held of it, and then the log from a place between ``begin`` and ``end`` on."""
        begin, end = min(begin, len(self.ops)), min(end, len(self.ops))
        return self._settle_as(
            found,
            (
                [*copied.ops[:length], *self.ops[rest:]]
                for length in range(len(copied.ops), copied.sure - 1, -1)
                for rest in range(begin, end + 1)
            ),
        )

    def delete_now(self, ledger: Ledger) -> None:
        """It is known to be gone."""
        ledger.asked(self, Op("delete"))
        self.sure = len(self.ops)

    def _settle_as(self, found: Message | None, possible: Iterable[list[Op]]) -> str | None:
        if self.parent is not None and not self.parent.exists:
            return None if found is None else f"{self.kind} {self.id} is there, and its {self.parent.kind} is not"
        why = "no such state"
        for ops in possible:
            state = State()
            for op in ops:
                state.apply(op)
            difference = differs(self, state, found)
            if difference is None:
                self.ops, self.sure = ops, len(ops)
                return None
            why = difference
        return f"{self.kind} {self.id}: {why} (of {len(self.ops)} operations {self.sure} are sure)"


def differs(entity: Entity, state: State, found: Message | None) -> str | None:
    """What a row of the store has that it should not have."""
    if not state.exists or found is None:
        return None if state.exists == (found is not None) else f"exists: {found is not None}, not {state.exists}"
    for key, value in state.values.items():
        actual = found.get(key)
        if actual == value or (key == "status" and _is_interrupted(entity, value, actual)):
            continue
        return f"{key} is {actual!r}, not {value!r}"
    return _turn_differs(state, found) if entity.kind == "turn" else None


def _turn_differs(state: State, found: Message) -> str | None:
    if found["chunkCount"] != state.chunks:
        return f"chunkCount is {found['chunkCount']}, not {state.chunks}"
    for name, expected in zip(("content", "rawResponse"), state.texts, strict=True):
        if name in found and found[name] != expected:
            return f"{name} {first_difference(found[name], expected)}"
    calls = {call["id"]: call for call in found["toolCalls"]}
    if list(calls) != list(state.calls):
        return f"toolCalls are {list(calls)}, not {list(state.calls)}"
    for call_id, call in state.calls.items():
        if different := [key for key, value in call.items() if calls[call_id][key] != value]:
            return f"tool call {call_id} differs in {different}"
    end = found["streamEndTime"]
    if end is not None and end < found["streamStartTime"]:
        return f"it ended at {end}, before it began at {found['streamStartTime']}"
    if (end is None) != (found["status"] == "streaming"):
        return f"{found['status']} with streamEndTime {end}"
    return None


def _is_interrupted(entity: Entity, expected: Any, actual: Any) -> bool:
    """The server's own change: of a turn that streamed and whose process is gone."""
    if (expected, actual) != ("streaming", "interrupted") or entity.kind != "turn" or entity.is_detached:
        return False
    return entity.is_anybodys or any(owner.is_dead for owner in entity.owners)


def first_difference(found: str, expected: str) -> str:
    at = next(
        (n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), min(len(found), len(expected))
    )
    return (
        f"has {len(found)} characters, not {len(expected)}, and differs at {at}: {found[at : at + 40]!r}"
        f" instead of {expected[at : at + 40]!r}"
    )


class Ledger:
    def __init__(self) -> None:
        self.sessions: list[Entity] = []
        self._lock = threading.Lock()
        self._number = 0

    def asked(self, entity: Entity, op: Op) -> Op:
        with self._lock:
            self._number += 1
            op.number = self._number
            entity.ops.append(op)
        return op

    @property
    def number(self) -> int:
        return self._number

    def add(self, entity: Entity) -> Entity:
        with self._lock:
            (self.sessions if entity.parent is None else entity.parent.children).append(entity)
        return entity

    def entities(self) -> Iterator[Entity]:
        """Sessions before their rounds, rounds before their turns."""
        for session in list(self.sessions):
            yield session
            for round_ in list(session.children):
                yield round_
                yield from list(round_.children)

    def sure_lengths(self) -> dict[Entity, int]:
        return {entity: entity.sure for entity in self.entities()}

    def forget_deleted(self, kept: list[Copy]) -> None:
        """What is surely gone and in no copy need not be remembered."""
        remembered = {entity for copy in kept for entity, copied in copy.items() if copied.ops}
        for session in list(self.sessions):
            for round_ in session.children:
                round_.children = [turn for turn in round_.children if _is_kept(turn, remembered)]
            session.children = [one for one in session.children if one.children or _is_kept(one, remembered)]
            if not session.children and not _is_kept(session, remembered):
                self.sessions.remove(session)

    @property
    def size(self) -> int:
        return sum(entity.size for entity in self.entities() if entity.exists)


def _is_kept(entity: Entity, remembered: set[Entity]) -> bool:
    return entity in remembered or entity.exists or not entity.is_settled

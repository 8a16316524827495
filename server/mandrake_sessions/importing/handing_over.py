"""What an assembler says to its sink, as values: it is said in one process and heard in another."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.importing.assembling import Branched, Fields
from mandrake_sessions.importing.events import (
    Broken,
    Left,
    Position,
    Requested,
    Rewritten,
    SessionSaid,
    Spawned,
    Verbatim,
)
from mandrake_sessions.importing.reading import Source
from mandrake_sessions.importing.shaping import Shape
from mandrake_sessions.operations.originals import Block

# What ``HeardAssembler`` is to do, and what it needs for that.
Call = tuple[Any, ...]


class ReadingLost(SessionsError):
    """A source has to be read again, by the process that writes."""


@frozen
class Asked:
    """What is to be read. ``packs``: the bytes of small files too. ``is_growing``: see ``Assembler.finish``."""

    sources: list[Source]
    packs: bool
    is_growing: bool


@frozen
class Batch:
    """What stands before some calls of a source. ``size``: the bytes of the pickled calls that follow, of which there
    are ``count``. ``is_last``: nothing more comes of the source. ``error``: why that is so before its end. ``blocks``:
    in the first batch, all of the file as it is kept; None where it was not packed. ``checksum``: in the last batch,
    that of the file before the last position."""

    count: int
    size: int
    is_last: bool = False
    error: Exception | None = None
    blocks: list[Block] | None = None
    checksum: str = ""


class SaidSink:
    """A sink that keeps the calls. ``calls``: those since they were taken; ``position``: the last mark. A round and a
    turn are numbers. What a new session is to have is given as columns; after ``leave`` the session is there, and what
    comes is given as it was."""

    def __init__(self, session_id: str) -> None:
        self.calls: list[Call] = []
        self._shape: Shape | None = Shape(session_id)
        self._made = 0
        self.position = Position()

    def say(self, said: SessionSaid) -> None:
        self.calls.append(("say", said))

    def add_round(self, requested: Requested, at: int | None) -> int:
        self._made += 1
        shape = self._shape
        given = (requested, at) if shape is None else (requested.shared_id, shape.round_columns(requested, at))
        self.calls.append(("round", self._made, *given))
        return self._made

    def add_turn(self, of: int, name: str, fields: Fields) -> int:
        self._made += 1
        pending = sum(call["status"] == "pending" for call in fields.get("tool_calls", ()))
        given = (name, fields) if self._shape is None else (self._shape.turn_columns(name, fields),)
        self.calls.append(("turn", self._made, of, pending, *given))
        return self._made

    def change_call(self, turn: int, call: Fields) -> None:
        self.calls.append(("call", turn, call if self._shape is None else self._shape.call_columns(call)))

    def drop_turn(self, of: int, name: str) -> None:
        if self._shape is None:
            self.calls.append(("drop_turn", of, name))

    def end_round(self, of: int, fields: Fields) -> None:
        self.calls.append(("end", of, fields if self._shape is None else self._shape.response_columns(fields)))

    def leave(self, left: Left) -> None:
        self.calls.append(("leave", left))
        self._shape = None
        raise Branched(left)

    def spawn(self, spawned: Spawned) -> None:
        self.calls.append(("spawn", spawned))

    def report(self, noticed: Broken | Rewritten) -> None:
        self.calls.append(("report", noticed))

    def verbatim(self, entity: Verbatim) -> None:
        self.calls.append(("verbatim", entity))

    def mark(self, position: Position) -> None:
        # The state grows with a conversation, and is needed at its end alone: all is read again if it is not reached.
        self.position = position
        self.calls.append(("mark", Position(position.offset)))

    def end(self, *, is_open: bool) -> None:
        """How the assembler has ended. ``is_open``: with a round that may go on."""
        self.calls += [("mark", self.position), ("ended", is_open)]

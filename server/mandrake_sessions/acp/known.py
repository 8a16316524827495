"""What a recorder knows of the sessions that it stores: what is not in the store yet, and what still moves there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid5

from attrs import define, evolve, field

from mandrake_sessions.acp.events import Asked, Began, Completed

# So many ended rounds of a session are remembered, for what comes late.
_ENDED_ROUNDS: Final = 8


def part_id(turn: str, part: int) -> str:
    """The id of the turn in which a text goes on that is too long for one."""
    return turn if part == 0 else str(uuid5(UUID(turn), f"part {part}"))


def holder_id(round_id: str) -> str:
    """The id of the empty turn that streams while nothing else of its round does."""
    return str(uuid5(UUID(round_id), "holder"))


@define
class KnownTurn:
    """One that has not ended in the store. ``chars``: of its text, in all parts; ``size``: the bytes in the last part,
    ``chunks``: the pieces there. ``ending``: how it ends once another turn of its round streams. ``is_paused``: it does
    not stream while somebody is asked."""

    id: str
    kind: str
    at: int
    metadata: dict[str, Any]
    part: int = 0
    chars: int = 0
    size: int = 0
    chunks: int = 0
    ending: Completed | None = None
    is_paused: bool = False

    @property
    def part_id(self) -> str:
        return part_id(self.id, self.part)

    def add(self, text: str) -> None:
        """A piece of it is stored."""
        self.chunks += 1
        self.chars += len(text)
        self.size += len(text.encode())


@define
class KnownRound:
    """``asked``: None for one that was found in the store. ``open``: its turns that have not ended. ``turns``: the ids
    of those that are there, which rollbacks take back (see ``Storing``). ``has_holder``: the empty turn is there.
    ``waits``: somebody is asked. ``was_there``: another recorder may have begun it. ``tells_lost``: a turn says what
    was lost. ``is_gone``: somebody has deleted it; ``gone``: turns that somebody has deleted."""

    id: str
    request_id: str
    response_id: str
    asked: Asked | None = None
    is_running: bool = True
    waits: bool = False
    has_holder: bool = False
    is_gone: bool = False
    was_there: bool = False
    tells_lost: bool = False
    open: dict[str, KnownTurn] = field(factory=dict)
    turns: set[str] = field(factory=set)
    gone: frozenset[str] = frozenset()

    def forget(self) -> None:
        """It is not in the store any more, and made again with the next thing that is said in it."""
        self.response_id = ""
        self.has_holder = False
        self.open.clear()
        self.turns.clear()

    def clone(self) -> KnownRound:
        return evolve(self, open={name: evolve(turn) for name, turn in self.open.items()})

    @property
    def streams(self) -> bool:
        """Whether a turn of it streams."""
        return any(not turn.is_paused for turn in self.open.values())


@define
class KnownSession:
    """``id``: the one in the store, None while it is not there. ``title``: the one that it got here last.
    ``is_gone``: somebody has deleted it, and it stays so for this recorder."""

    began: Began
    id: str | None = None
    title: str | None = None
    metadata: dict[str, Any] = field(factory=dict)
    is_gone: bool = False
    rounds: dict[str, KnownRound] = field(factory=dict)

    def clone(self) -> KnownSession:
        return evolve(
            self,
            metadata=dict(self.metadata),
            rounds={name: known.clone() for name, known in self.rounds.items()},
        )

    @property
    def running(self) -> Iterator[KnownRound]:
        return (known for known in self.rounds.values() if known.is_running and not known.is_gone)

    def forget_ended(self) -> None:
        ended = [known.id for known in self.rounds.values() if not known.is_running and not known.open]
        for name in ended[:-_ENDED_ROUNDS]:
            del self.rounds[name]

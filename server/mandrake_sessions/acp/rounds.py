"""A round as the recorder follows it: which of its turns may still grow, which calls run, what was said of its use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from attrs import define, field

from mandrake_sessions.acp.calls import Call
from mandrake_sessions.acp.events import Called, Completed, Ended, Event, Put, Said, Stood, Used
from mandrake_sessions.ids import new_id

Emit = Callable[[Event], None]
Status = Literal["completed", "cancelled", "error", "interrupted"]

# Turns with a message's id that may still grow: agents that work on several things write some messages at a time.
_OPEN: Final = 16
# Turns that are found by an id after they have ended.
_NAMED: Final = 256


@define(eq=False)
class OpenTurn:
    """``key``: what finds it again. ``is_named``: the agent gave an id for it."""

    id: str
    key: tuple[str, str]
    at: int
    is_named: bool


@define(eq=False)
class Round:
    """``text``: what was asked, to know it again where the agent repeats it. ``message_id``: the agent's id for that
    message. ``totals_before``: the running totals of the session as it began to be worked on, those that are known."""

    session: str
    emit: Emit
    begun_at: int
    text: str = ""
    origin: str = "user"
    totals_before: Mapping[str, Any] = field(factory=dict)
    id: str = field(factory=new_id)
    message_id: str | None = None
    is_inserted: bool = False
    # The client wants it to stop.
    is_cancelled: bool = False
    # Version 2: the agent has said that it works.
    is_at_work: bool = False
    # Nobody sent it through us: its text comes in pieces.
    is_in_pieces: bool = False
    blocks: list[Any] = field(factory=list)
    has_output: bool = False
    ended_at: int | None = None
    status: Status | None = None
    questions: set[str] = field(factory=set)
    calls: OrderedDict[str, Call] = field(factory=OrderedDict)
    turns: OrderedDict[tuple[str, str], str] = field(factory=OrderedDict)
    _open: OrderedDict[tuple[str, str], OpenTurn] = field(factory=OrderedDict)
    _used: dict[str, Any] = field(factory=dict)
    _totals: dict[str, Any] = field(factory=dict)
    # The turn that something was said in last.
    _spoken: str | None = None
    _stands: Literal["open", "requires_action"] = "open"

    @property
    def has_ended(self) -> bool:
        return self.ended_at is not None

    def say(self, kind: str, text: str, at: int, name: str | None, metadata: Mapping[str, Any]) -> None:
        """The next text of the turn with that name; without a name, of the one that was last spoken in, if it has the
        same kind and no name either."""
        self.has_output = True
        turn = self._turn(kind, at, name)
        self._spoken = turn.id
        self.emit(Said(self.session, self.id, turn.id, kind, text, at, metadata))
        turn.at = at
        self._leave_all_but(turn)

    def put(self, kind: str, text: str, at: int, name: str, metadata: Mapping[str, Any], *, is_ended: bool) -> None:
        """A turn with a name as a whole, beside what is said. One that has not ended may be put again."""
        self.has_output = True
        turn = self._turn(kind, at, name)
        self.emit(Put(self.session, self.id, turn.id, kind, text, at, metadata, is_ended))
        turn.at = at
        if is_ended:
            self._open.pop(turn.key, None)
        # A text without an id goes on after it: agents change their plan in the middle of one.
        self._leave_oldest()

    def show(self, kind: str, text: str, at: int, metadata: Mapping[str, Any]) -> None:
        """A turn of its own, which is whole."""
        self.has_output = True
        self._leave_unnamed()
        self.emit(Put(self.session, self.id, new_id(), kind, text, at, metadata))

    def has_turn(self, kind: str, name: str) -> bool:
        return (kind, name) in self.turns

    def call(self, call: Call, fields: Mapping[str, Any], at: int) -> None:
        if not fields:
            return
        self.has_output = True
        if call.id not in self.calls:
            self.calls[call.id] = call
            self._leave_unnamed()
        self.emit(Called(self.session, self.id, call.turn, {"id": call.id, **fields}, at))

    def ask(self, question: str, at: int) -> None:
        """It waits for somebody, until each question is answered."""
        if not self.has_ended:
            # What is said without an id after the answer is something else.
            self._leave_unnamed()
            self.questions.add(question)
            self.stand("requires_action", at)

    def answer(self, question: str, at: int) -> None:
        self.questions.discard(question)
        if not self.questions:
            self.stand("open", at)

    def stand(self, status: Literal["open", "requires_action"], at: int) -> None:
        if self._stands != status and not self.has_ended:
            self._stands = status
            self.emit(Stood(self.session, self.id, status, at))

    def use(self, usage: Mapping[str, Any], totals: Mapping[str, Any] | None = None) -> None:
        """``totals``: of the whole session, where those before this round are not known."""
        new = {name: value for name, value in usage.items() if self._used.get(name) != value}
        new_totals = {name: value for name, value in (totals or {}).items() if self._totals.get(name) != value}
        if new or new_totals:
            self._used |= new
            self._totals |= new_totals
            self.emit(Used(self.session, self.id, new, dict(self._totals) if new_totals else {}))

    def use_at_last(self, usage: Mapping[str, Any]) -> None:
        """What the reply used that was said last, and nothing of those before it."""
        if self._spoken is None:
            self.use(usage)
        elif usage:
            self.emit(Used(self.session, self.id, usage, turn=self._spoken))

    def end(
        self,
        at: int,
        status: Status = "completed",
        *,
        reason: str | None = None,
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if self.has_ended:
            return
        self.questions.clear()
        for call in self.calls.values():
            self.call(call, call.leave(at, status), at)
        last = next(reversed(self._open), None)
        for key, turn in list(self._open.items()):
            if status == "completed" or key != last:
                self._complete(turn)
        self._open.clear()
        self.ended_at, self.status = at, status
        self.text, self.blocks = "", []
        self.emit(Ended(self.session, self.id, at, status, reason, error, metadata or {}))

    def close(self) -> None:
        """What came late is whole."""
        for turn in list(self._open.values()):
            self._complete(turn)

    def _turn(self, kind: str, at: int, name: str | None) -> OpenTurn:
        key = (kind, name or "")
        if (turn := self._open.get(key)) is not None:
            self._open.move_to_end(key)
            return turn
        known = self.turns.get(key) if name is not None else None
        turn = OpenTurn(known or new_id(), key, at, name is not None)
        self._open[key] = turn
        if name is not None:
            self.turns[key] = turn.id
            if len(self.turns) > _NAMED:
                self.turns.popitem(last=False)
        return turn

    def _leave_all_but(self, turn: OpenTurn) -> None:
        """Something else is said now: a turn without a name is whole, and so is the oldest of too many."""
        self._leave_unnamed(turn)
        self._leave_oldest()

    def _leave_oldest(self) -> None:
        while len(self._open) > _OPEN:
            self._complete(next(iter(self._open.values())))

    def _leave_unnamed(self, but: OpenTurn | None = None) -> None:
        for turn in list(self._open.values()):
            if turn is not but and not turn.is_named:
                self._complete(turn)

    def _complete(self, turn: OpenTurn) -> None:
        self._open.pop(turn.key, None)
        self.emit(Completed(self.session, self.id, turn.id, turn.at))

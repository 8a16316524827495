"""What an assembler of another process has said to its sink, said to a sink here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mandrake_sessions.importing.assembling import OPEN_CALLS
from mandrake_sessions.importing.handing_over import Call
from mandrake_sessions.importing.sinks import SessionSink, WholeSink


class HeardAssembler:
    """Stands in the place of the assembler that made the calls: ``take`` each of them."""

    def __init__(self, sink: SessionSink) -> None:
        # Rounds that were not ended yet.
        self._rounds: dict[int, Any] = {}
        # Turns with calls that were not answered yet, and how many: no other turn is named again.
        self._turns: dict[int, tuple[Any, int]] = {}
        self.is_open = False
        self._put_round: Callable[..., Any] = sink.add_round
        self._put_turn: Callable[..., Any] = sink.add_turn
        self._put_call: Callable[..., None] = sink.change_call
        self._put_end: Callable[..., None] = sink.end_round
        if isinstance(sink, WholeSink):
            self._put_round, self._put_turn = sink.put_round, sink.put_turn
            self._put_call, self._put_end = sink.put_call, sink.put_end
        self._take: dict[str, Callable[..., None]] = {
            "round": self._round,
            "turn": self._turn,
            "call": self._call,
            "end": lambda of, fields: self._put_end(self._rounds.pop(of), fields),
            "drop_turn": lambda of, name: sink.drop_turn(self._rounds[of], name),
            "ended": self._ended,
            **{name: getattr(sink, name) for name in ("say", "leave", "spawn", "report", "verbatim", "mark")},
        }

    def take(self, call: Call) -> None:
        self._take[call[0]](*call[1:])

    def finish(self, *, is_growing: bool = False, is_left: bool | None = None) -> None:
        """The other assembler was finished."""

    def pause(self) -> None:
        """What is held is held there."""

    def _round(self, number: int, *given: Any) -> None:
        self._rounds[number] = self._put_round(*given)

    def _turn(self, number: int, of: int, pending: int, *given: Any) -> None:
        made = self._put_turn(self._rounds[of], *given)
        if pending and len(self._turns) < OPEN_CALLS:
            self._turns[number] = made, pending

    def _call(self, turn: int, given: Any) -> None:
        made, pending = self._turns.pop(turn, (None, 0))
        if not pending:
            # Of so many that nobody answers the last ones are not remembered.
            return
        if pending > 1:
            self._turns[turn] = made, pending - 1
        self._put_call(made, given)

    def _ended(self, is_open: bool) -> None:
        self.is_open = is_open

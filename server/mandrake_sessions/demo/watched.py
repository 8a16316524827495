"""What the watcher knows of the conversation: nothing but what was pushed to it."""

from __future__ import annotations

import json
from statistics import median

from mandrake_sessions.client import apply
from mandrake_sessions.model import ResponseStatus, Turn
from mandrake_sessions.protocol.results import SessionUpdated, TurnUpdated


class Watched:
    """One session, made of the notifications about it. Any other in the same store is none of its business."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.title = ""
        self.question = ""
        self.response_status = ResponseStatus.OPEN
        self.pushes = 0
        self.pieces = 0
        self.latencies_ms: list[float] = []
        self._turns: dict[str, Turn] = {}

    @property
    def turns(self) -> list[Turn]:
        """In the order in which the agent began them; none before the question.

        Sessions and turns are two streams, each in its own order: a turn may be heard of before its question.
        """
        if not self.question:
            return []
        return sorted(self._turns.values(), key=lambda turn: turn.index)

    @property
    def seq(self) -> int:
        """Up to where the turns have been heard of."""
        return max((turn.seq for turn in self._turns.values()), default=0)

    @property
    def latency_ms(self) -> float | None:
        """From the agent's sending of a piece to its notification being read here, the median; None before the first.

        The agent writes into each piece when it sent it; both processes read the clock of the same machine.
        """
        return median(self.latencies_ms) if self.latencies_ms else None

    def apply(self, update: TurnUpdated | SessionUpdated, received_us: int) -> None:
        """Take a notification in, with the time at which it came; those about other sessions are left alone."""
        if update.session_id != self.session_id:
            return
        self.pushes += 1
        if isinstance(update, SessionUpdated):
            self._apply_session(update)
        else:
            self._apply_turn(update, received_us)

    def _apply_session(self, update: SessionUpdated) -> None:
        if update.session is not None:
            self.title = update.session.title or self.title
            self.question = update.session.preview or self.question
        if update.response is not None:
            self.response_status = update.response.status

    def _apply_turn(self, update: TurnUpdated, received_us: int) -> None:
        if update.turn_id is None:
            return
        turn = apply(self._turns.get(update.turn_id), update)
        if turn is None:
            self._turns.pop(update.turn_id, None)
        else:
            self._turns[update.turn_id] = turn
        if update.first_chunk is not None and update.last_chunk is not None:
            # Pieces that came fast may have been joined into one push; each says for itself when it was sent.
            self.pieces += update.last_chunk - update.first_chunk + 1
            for line in (update.raw_response or "").splitlines():
                self.latencies_ms.append((received_us - json.loads(line)["sentAtUs"]) / 1000)

"""What the watcher knows of the conversation: only what it received in notifications."""

from __future__ import annotations

import json
from statistics import median

from mandrake_sessions.client import apply
from mandrake_sessions.model import ResponseStatus, Turn
from mandrake_sessions.protocol.results import SessionUpdated, TurnUpdated


class Watched:
    """One session, built from the notifications about it. The watcher ignores other sessions of the same store."""

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
        """The turns in the order in which the agent began them; none before the question.

        Sessions and turns are two streams, each in its own order: a turn may arrive before its question.
        """
        if not self.question:
            return []
        return sorted(self._turns.values(), key=lambda turn: turn.index)

    @property
    def seq(self) -> int:
        """The last change of the turns that has arrived."""
        return max((turn.seq for turn in self._turns.values()), default=0)

    @property
    def latency_ms(self) -> float | None:
        """The median time from the agent's sending of a piece to the arrival of its notification; None before the
        first.

        The agent writes the time of sending into each piece. Both processes read the clock of the same machine.
        """
        return median(self.latencies_ms) if self.latencies_ms else None

    def apply(self, update: TurnUpdated | SessionUpdated, received_us: int) -> None:
        """Apply a notification that arrived at this time. Those about other sessions are ignored."""
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
            # One notification may join several fast pieces; each has its own time of sending.
            self.pieces += update.last_chunk - update.first_chunk + 1
            for line in (update.raw_response or "").splitlines():
                self.latencies_ms.append((received_us - json.loads(line)["sentAtUs"]) / 1000)

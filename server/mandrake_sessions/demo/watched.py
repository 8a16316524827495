"""What the watcher knows of the conversation: nothing but what was pushed to it."""

from __future__ import annotations

import json
from statistics import median

from mandrake_sessions.demo.client import Message, Notification


class Watched:
    """One session, made of the notifications about it. Any other in the same store is none of its business."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.title = ""
        self.question = ""
        self.response_status = "open"
        self.pushes = 0
        self.pieces = 0
        self.latencies_ms: list[float] = []
        self._turns: dict[str, Message] = {}

    @property
    def turns(self) -> list[Message]:
        """In the order in which the agent began them; none before the question.

        Sessions and turns are two streams, each in its own order: a turn may be heard of before its question.
        """
        if not self.question:
            return []
        return sorted(self._turns.values(), key=lambda turn: int(turn["index"]))

    @property
    def seq(self) -> int:
        """Up to where the turns have been heard of."""
        return max((int(turn["seq"]) for turn in self._turns.values()), default=0)

    @property
    def latency_ms(self) -> float | None:
        """From the agent's sending of a piece to its line being read here, the median; None before the first.

        The agent writes into each piece when it sent it; both processes read the clock of the same machine.
        """
        return median(self.latencies_ms) if self.latencies_ms else None

    def apply(self, notification: Notification) -> None:
        """Take a notification in; those about other sessions are left alone."""
        params = notification.params
        if params.get("sessionId") != self.session_id:
            return
        self.pushes += 1
        if notification.method == "session/updated":
            self._apply_session(params)
        elif notification.method == "turn/updated":
            self._apply_turn(params, notification.received_us)

    def _apply_session(self, params: Message) -> None:
        session = params.get("session") or {}
        self.title = session.get("title") or self.title
        self.question = session.get("preview") or self.question
        self.response_status = (params.get("response") or {}).get("status", self.response_status)

    def _apply_turn(self, params: Message, received_us: int) -> None:
        kind, turn_id = params["kind"], params["turnId"]
        if kind == "created":
            self._turns[turn_id] = params["turn"]
        elif kind == "deleted":
            self._turns.pop(turn_id, None)
        elif (turn := self._turns.get(turn_id)) is not None:
            turn["seq"] = params["seq"]
            if kind == "appended":
                self._append(turn, params, received_us)
            else:
                turn.update(params["changes"])
            if kind == "toolCallUpdated":
                _put(turn["toolCalls"], params["toolCall"])
            elif kind == "toolCallDeleted":
                turn["toolCalls"] = [call for call in turn["toolCalls"] if call["id"] != params["toolCallId"]]

    def _append(self, turn: Message, params: Message, received_us: int) -> None:
        turn["content"] += params["content"]
        turn["currentTokens"] = params.get("currentTokens", turn["currentTokens"])
        # Pieces that came fast may have been joined into one push; each says for itself when it was sent.
        self.pieces += params["lastChunk"] - params["firstChunk"] + 1
        for line in params.get("rawResponse", "").splitlines():
            self.latencies_ms.append((received_us - json.loads(line)["sentAtUs"]) / 1000)


def _put(calls: list[Message], call: Message) -> None:
    """In place of the one with its id, or at the end."""
    known = {other["id"]: other for other in calls}
    calls[:] = (known | {call["id"]: call}).values()

"""What events of ``acp/events.py`` come to, as plain dictionaries: a store that is as simple as it can be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mandrake_sessions.acp.conversation import Conversation, Direction
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
    from_json,
    to_json,
)
from mandrake_sessions.acp.usage import own_share

# A line of traffic: which side has sent it ("c" the client, "a" the agent), and the message.
Line = tuple[str, Any]
_SIDES: Final[Mapping[str, Direction]] = {"c": "client", "a": "agent"}


class Outcome:
    """``sessions``: by the agent's id, as they are in the end. It fails where an event could not be carried out."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.events: list[Event] = []
        self.conversation: Conversation
        self.at = 0
        self._rounds: dict[str, dict[str, Any]] = {}
        self._turns: dict[str, dict[str, Any]] = {}

    def take(self, event: Event) -> None:
        event = from_json(json.loads(json.dumps(to_json(event))))
        self.events.append(event)
        match event:
            case Began():
                self._begin(event)
            case Described():
                session = self.sessions[event.session]
                session["title"] = session["title"] if event.title is None else event.title
                session["metadata"] |= event.metadata
            case Asked():
                self._ask(event)
            case _:
                round_ = self._rounds[event.round]
                assert round_["session"] == event.session
                self._take_in(round_, event)

    def rounds(self, session: str) -> list[dict[str, Any]]:
        return list(self.sessions[session]["rounds"])

    def _begin(self, event: Began) -> None:
        session = self.sessions.setdefault(event.session, {"title": None, "rounds": [], "metadata": {}})
        for name in ("agent", "cwd", "relation", "parent", "parent_tool_call"):
            session.setdefault(name, getattr(event, name))
        session["metadata"] |= event.metadata

    def _ask(self, event: Asked) -> None:
        assert event.round not in self._rounds
        made: dict[str, Any] = {
            "session": event.session, "text": event.text, "blocks": event.blocks, "origin": event.origin,
            "turns": [], "stood": [], "usage": {}, "status": "open", "stop_reason": None, "metadata": {},
        }  # fmt: skip
        self._rounds[event.round] = made
        self.sessions[event.session]["rounds"].append(made)

    def _take_in(self, round_: dict[str, Any], event: Event) -> None:
        match event:
            case Requested():
                round_["text"], round_["blocks"] = event.text, event.blocks
            case Said() | Put():
                turn = self._turn(round_, event.turn, event.kind)
                assert turn["kind"] == event.kind
                turn["text"] = event.text if isinstance(event, Put) else turn["text"] + event.text
                if isinstance(event, Put) or not turn["metadata"]:
                    turn["metadata"] = dict(event.metadata)
                turn["is_open"] = isinstance(event, Said) or not event.is_ended
            case Completed():
                assert self._turns[event.turn] in round_["turns"]
                self._turns[event.turn]["is_open"] = False
            case Called():
                turn = self._turn(round_, event.turn, "tool_calls")
                turn["call"] = {"metadata": {}, "status": "pending", **turn.get("call", {}), **event.fields}
            case Stood():
                round_["stood"].append(event.status)
            case Used() if event.turn is not None:
                assert self._turns[event.turn] in round_["turns"]
                self._turns[event.turn]["usage"] = dict(event.usage)
            case Used():
                before = self.sessions[event.session]["metadata"].get("totals")
                own = {} if before is None else own_share(event.totals, before)
                round_["usage"] |= {**event.usage, **own}
            case Ended():
                assert round_["status"] == "open"
                round_["status"], round_["stop_reason"] = event.status, event.stop_reason
                round_["error"] = event.error
                round_["metadata"] |= event.metadata
                for turn in round_["turns"]:
                    turn["is_open"] = False

    def _turn(self, round_: dict[str, Any], name: str, kind: str) -> dict[str, Any]:
        if name not in self._turns:
            self._turns[name] = {"kind": kind, "text": "", "metadata": {}, "is_open": False}
            round_["turns"].append(self._turns[name])
        assert self._turns[name] in round_["turns"]
        return self._turns[name]


def carried_out(traffic: Iterable[Line], outcome: Outcome | None = None, *, is_ended: bool = True) -> Outcome:
    """What traffic comes to. Each line passes 100 ms after the one before it; a number in place of a message is a time
    that passes, in milliseconds."""
    outcome = outcome or Outcome()
    conversation = Conversation(outcome.take)
    at = 1_700_000_000_000
    for side, message in traffic:
        at += message if isinstance(message, int) else 100
        if not isinstance(message, int):
            line = message if isinstance(message, bytes) else json.dumps(message).encode()
            conversation.take(_SIDES[side], line, at)
    if is_ended:
        conversation.end(at, None)
    outcome.conversation, outcome.at = conversation, at
    return outcome


def texts(round_: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(turn["kind"], turn["text"]) for turn in round_["turns"] if "call" not in turn]


def calls(round_: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [turn["call"] for turn in round_["turns"] if "call" in turn]

"""What a client has sent, what of it was acknowledged, and what the store must hold: all of it, in order, or a
beginning of it.

A ``Ledger`` keeps the state of the store after each write; a ``State`` has what a client can read of each entity, by
id, but for numbers and clocks. ``read_state`` reads the same from a server.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wire import Ended, Failed, Message, Wire, apply_update

Params = dict[str, Any]
# By id: the fields of an entity. A dictionary in it is never changed, only replaced.
State = dict[str, Params]


@dataclass
class Sent:
    """A write. ``sent_at`` and ``told_at``: how much of the trace there was before it was sent, and when its answer
    had been read; None while there is none."""

    method: str
    params: Params
    sent_at: int = 0
    told_at: int | None = None

    @property
    def is_append(self) -> bool:
        return self.method == "turn/append"


class Ledger:
    """``states[n]`` is the store after the first ``n`` writes."""

    def __init__(self, state: State | None = None) -> None:
        self.writes: list[Sent] = []
        self.states: list[State] = [state or {}]

    @property
    def state(self) -> State:
        """The store after all that was sent."""
        return self.states[-1]

    @property
    def told(self) -> int:
        """How many writes were acknowledged; they are the first ones, since answers come in order."""
        return sum(write.told_at is not None for write in self.writes)

    def send(self, method: str, params: Params, at: int = 0) -> Sent:
        write = Sent(method, params, at)
        self.states.append(after(self.state, method, params))
        self.writes.append(write)
        return write

    def settle(self, found: State) -> list[Sent]:
        """After a kill: the store must hold everything that was acknowledged, and of the rest a beginning. What is
        not there is taken back; gives those writes."""
        kept = self.find(found, self.told, len(self.writes))
        lost = self.writes[kept:]
        del self.writes[kept:], self.states[kept + 1 :]
        for write in self.writes:
            write.told_at = 0
        return lost

    def find(self, found: State, least: int, most: int) -> int:
        """How many writes the store holds. Raises AssertionError unless it is a beginning of them, as long as that."""
        found = without_counters(found)
        for count in range(most, least - 1, -1):
            if found == without_counters(self.states[count]):
                return count
        elsewhere = [n for n, state in enumerate(self.states) if without_counters(state) == found]
        nearest = without_counters(self.states[least])
        raise AssertionError(
            f"the store holds none of the states {least} to {most}, but {elsewhere or 'none that there ever was'}: "
            f"{_difference(nearest, found)}"
        )


def _difference(expected: State, found: State) -> str:
    ids = [entity for entity in {*expected, *found} if expected.get(entity) != found.get(entity)]
    return "; ".join(f"{_short(expected.get(entity))} is {_short(found.get(entity))}" for entity in ids)[:3000]


def _short(entity: Params | None) -> Any:
    if entity is None:
        return None
    return {k: f"{v[:20]}…{v[-20:]} ({len(v)})" if isinstance(v, str) and len(v) > 60 else v for k, v in entity.items()}


# ---- what the writes do


def after(state: State, method: str, params: Params) -> State:
    """The state after a write that succeeds."""
    if method == "transaction/run":
        for operation in params["operations"]:
            state = after(state, operation["method"], operation["params"])
        return state
    changed = dict(state)
    _WRITES[method](changed, params)
    return changed


def without_counters(state: State) -> State:
    """Only what can be read."""
    return {key: {k: v for k, v in entity.items() if k != "next"} for key, entity in state.items()}


def _change(state: State, entity: str, **fields: Any) -> None:
    state[entity] = {**state[entity], **fields}


def _given(params: Params, *names: str) -> Params:
    return {name: params[name] for name in names if name in params}


def _session_create(state: State, params: Params) -> None:
    state[params["id"]] = {"title": params.get("title"), "metadata": {}, "archived": False, "rounds": 0, "next": 0}


def _session_update(state: State, params: Params) -> None:
    _change(state, params["sessionId"], **_given(params, "title", "metadata", "archived"))


def _session_delete(state: State, params: Params) -> None:
    del state[params["sessionId"]]
    for entity in [key for key, value in state.items() if value.get("session") == params["sessionId"]]:
        _round_delete(state, {"roundId": entity})


def _round_create(state: State, params: Params) -> None:
    session = state[params["sessionId"]]
    state[params["id"]] = {
        "session": params["sessionId"],
        "index": session["next"],
        "content": params["content"],
        "metadata": {},
        "response": params["responseId"],
        "request": params["requestId"],
        "status": "open",
        "next": 0,
    }
    _change(state, params["sessionId"], next=session["next"] + 1, rounds=session["rounds"] + 1)


def _round_delete(state: State, params: Params) -> None:
    deleted = state.pop(params["roundId"])
    if deleted["session"] in state:
        _change(state, deleted["session"], rounds=state[deleted["session"]]["rounds"] - 1)
    for entity in [key for key, value in state.items() if value.get("round") == params["roundId"]]:
        del state[entity]


def _round_of(state: State, part: str, value: str) -> str:
    return next(key for key, entity in state.items() if entity.get(part) == value)


def _turn_create(state: State, params: Params) -> None:
    round_id = _round_of(state, "response", params["responseId"])
    state[params["id"]] = {
        "round": round_id,
        "index": state[round_id]["next"],
        "status": "streaming",
        "content": "",
        "rawResponse": "",
        "chunkCount": 0,
        "outputTokens": 0,
        "metadata": {},
        "toolCalls": {call["id"]: call.get("title") for call in params.get("toolCalls", [])},
    } | _given(params, "content", "rawResponse", "status", "outputTokens", "metadata")
    _change(state, round_id, next=state[round_id]["next"] + 1)


def _turn_append(state: State, params: Params) -> None:
    turn = state[params["turnId"]]
    texts = {name: turn[name] + params.get(name, "") for name in ("content", "rawResponse")}
    _change(
        state,
        params["turnId"],
        **texts,
        chunkCount=turn["chunkCount"] + 1,
        status="streaming",
        **_given(params, "outputTokens"),
    )


def _turn_update(state: State, params: Params) -> None:
    fields = _given(params, "content", "rawResponse", "status", "outputTokens", "metadata")
    _change(state, params["turnId"], **fields)


def _tool_call_upsert(state: State, params: Params) -> None:
    call = params["toolCall"]
    calls = state[params["turnId"]]["toolCalls"]
    _change(state, params["turnId"], toolCalls={**calls, call["id"]: call.get("title")})


def _tool_call_delete(state: State, params: Params) -> None:
    calls = {k: v for k, v in state[params["turnId"]]["toolCalls"].items() if k != params["toolCallId"]}
    _change(state, params["turnId"], toolCalls=calls)


def _turn_delete(state: State, params: Params) -> None:
    del state[params["turnId"]]


def _round_update(state: State, params: Params) -> None:
    _change(state, params["roundId"], metadata=params["metadata"])


def _request_update(state: State, params: Params) -> None:
    _change(state, _round_of(state, "request", params["requestId"]), content=params["content"])


def _response_update(state: State, params: Params) -> None:
    _change(state, _round_of(state, "response", params["responseId"]), status=params["status"])


_WRITES: dict[str, Callable[[State, Params], None]] = {
    "session/create": _session_create,
    "session/update": _session_update,
    "session/delete": _session_delete,
    "round/create": _round_create,
    "round/update": _round_update,
    "round/delete": _round_delete,
    "request/update": _request_update,
    "response/update": _response_update,
    "turn/create": _turn_create,
    "turn/append": _turn_append,
    "turn/update": _turn_update,
    "turn/delete": _turn_delete,
    "toolCall/upsert": _tool_call_upsert,
    "toolCall/delete": _tool_call_delete,
}


# ---- what a server says


def read_state(wire: Wire, **where: str) -> State:
    """All that a client can read. A turn that is ``interrupted`` counts as streaming, which it is for an append."""
    state: State = {}
    cursor = None
    while True:
        page = wire.request("session/list", archived=None, limit=1000, cursor=cursor, **where)
        for session in page["sessions"]:
            _read_session(wire, session, state, where)
        cursor = page["nextCursor"]
        if cursor is None:
            return state


def _read_session(wire: Wire, session: Message, state: State, where: Params) -> None:
    state[session["id"]] = {
        "title": session["title"],
        "metadata": session["metadata"],
        "archived": session["archivedAt"] is not None,
        "rounds": session["roundCount"],
    }
    cursor = None
    while True:
        history = wire.request(
            "session/history", sessionId=session["id"], includeRaw=True, limit=1000, cursor=cursor, **where
        )
        for each in history["rounds"]:
            _read_round(each, state)
        cursor = history["nextCursor"]
        if cursor is None:
            return


def _read_round(each: Message, state: State) -> None:
    state[each["id"]] = {
        "session": each["sessionId"],
        "index": each["index"],
        "content": each["request"]["content"],
        "metadata": each["metadata"],
        "response": each["response"]["id"],
        "request": each["request"]["id"],
        "status": "open" if each["response"]["status"] == "interrupted" else each["response"]["status"],
    }
    for turn in each["response"]["turns"]:
        assert (turn["status"] == "streaming") == (turn["streamEndTime"] is None), turn["status"]
        state[turn["id"]] = {
            "round": each["id"],
            "index": turn["index"],
            "status": "streaming" if turn["status"] == "interrupted" else turn["status"],
            **_given(turn, "content", "rawResponse", "chunkCount", "outputTokens", "metadata"),
            "toolCalls": {call["id"]: call["title"] for call in turn["toolCalls"]},
        }


def check_feed(wire: Wire, state: State, **where: str) -> bool:
    """A replay of the feed from its beginning must give what ``turn/get`` gives; False if it is no longer kept."""
    last = wire.request("session/list", limit=1, **where)["seq"]
    turns = wire.request("turn/subscribe", since=0, includeRaw=True, **where)
    sessions = wire.request("session/subscribe", since=0, **where)
    told = [] if turns["reset"] or last == 0 else _told_until(wire, last)
    for kind, subscription in (("turn", turns), ("session", sessions)):
        gone = wire.post(f"{kind}/unsubscribe", subscriptionId=subscription["subscriptionId"], **where)
        told += wire.notifications_before(gone)
    if turns["reset"]:
        return False
    order = [message["params"]["seq"] for message in told if message["method"] == "turn/updated"]
    replayed: dict[str, Message] = {}
    for message in told:
        if message["method"] == "turn/updated":
            apply_update(replayed, message["params"])
    assert order == sorted(set(order)), "each change once, in the order of seq"
    assert set(replayed) == {entity for entity, fields in state.items() if "round" in fields}
    for turn_id, turn in replayed.items():
        assert turn == wire.request("turn/get", turnId=turn_id, **where)
    return True


def _told_until(wire: Wire, seq: int) -> list[Message]:
    """What two subscriptions, to turns and to sessions, are told until one of them hears of that change."""
    told: list[Message] = []
    while not told or told[-1]["params"]["seq"] < seq:
        told.append(wire.wait_for(lambda m: m.get("method") in ("turn/updated", "session/updated")))
    return told


# ---- a client


class Client:
    """Sends writes to a server and notes them. ``mark`` tells how much of a trace there is."""

    def __init__(self, wire: Wire, ledger: Ledger, mark: Callable[[], int] = lambda: 0) -> None:
        self.wire = wire
        self.ledger = ledger
        self._mark = mark

    def do(self, method: str, **params: Any) -> None:
        """Send one and wait for its answer. Raises Ended if the server is killed before it has answered."""
        self.burst([(method, params)])

    def attempt(self, method: str, **params: Any) -> Failed | None:
        """Send one that may be refused, and is not stored then; gives the refusal."""
        try:
            self.do(method, **params)
        except Failed as failed:
            self.ledger.writes.pop()
            self.ledger.states.pop()
            return failed
        return None

    def burst(self, writes: list[tuple[str, Params]]) -> None:
        """Send many at once and read their answers. Raises Ended."""
        at = self._mark()
        noted = [self.ledger.send(method, params, at) for method, params in writes]
        ids: list[int] = []
        with suppress(BrokenPipeError):
            for write in noted:
                ids.append(self.wire.post(write.method, **write.params))
        for write, message_id in zip(noted, ids, strict=False):
            self.wire.result(message_id, write.method)
            write.told_at = self._mark()
        if len(ids) < len(noted):
            raise Ended("the server was gone before all was sent")


def new_id(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))

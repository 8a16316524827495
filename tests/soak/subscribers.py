"""Subscribers of every kind, each of which builds a state from what it is told, over the ends of its servers and the
store's, and reads again what it shows where it is told to."""

from __future__ import annotations

import random
import threading
import time

from attrs import define, field

from soak.connection import Call, Connection, Gone, Refused
from soak.ledger import Entity, Ledger
from soak.servers import Server
from soak.world import Message, Stopped, World

TEXTS = ("content", "rawResponse")


@define(eq=False)
class Turns:
    """The turns of a range as a client knows them."""

    turns: dict[str, Message] = field(factory=dict)
    # Where each belongs.
    rounds: dict[str, str] = field(factory=dict)
    sessions: dict[str, str] = field(factory=dict)

    def take(self, params: Message) -> str | None:
        """Apply a ``turn/updated`` as the contract says; gives what does not fit."""
        turn_id, kind, seq = params["turnId"], params["kind"], params["seq"]
        if turn_id is None:
            # A round or a session was deleted, and all that was in it.
            where, name = (self.rounds, "roundId") if params["roundId"] else (self.sessions, "sessionId")
            for gone in [one for one, parent in where.items() if parent == params[name]]:
                self.turns.pop(gone, None)
            return None
        self.rounds[turn_id], self.sessions[turn_id] = params["roundId"], params["sessionId"]
        turn = self.turns.get(turn_id)
        if turn is not None and seq <= turn["seq"]:
            return None
        if kind == "created":
            self.turns[turn_id] = params["turn"]
        elif kind == "deleted" and params.get("toolCallId") is None:
            self.turns.pop(turn_id, None)
        elif turn is not None:
            turn["seq"] = seq
            return self._change(turn, kind, params)
        return None

    def _change(self, turn: Message, kind: str, params: Message) -> str | None:
        if kind == "appended":
            first = turn["chunkCount"]
            for text in TEXTS:
                if text in turn:
                    turn[text] += params.get(text) or ""
            for count in ("currentTokens", "outputTokens"):
                turn[count] = params[count] if params.get(count) is not None else turn[count]
            turn["chunkCount"] = params["lastChunk"] + 1
            return None if params["firstChunk"] == first else f"pieces from {params['firstChunk']} on {first}"
        changes = dict(params.get("changes") or {})
        calls = [params["toolCall"]] if params.get("toolCall") else changes.pop("toolCalls", [])
        for call in calls:
            ids = [known["id"] for known in turn["toolCalls"]]
            place = ids.index(call["id"]) if call["id"] in ids else len(ids)
            turn["toolCalls"][place : place + 1] = [call]
        if kind in ("deleted", "toolCallDeleted"):
            turn["toolCalls"] = [call for call in turn["toolCalls"] if call["id"] != params["toolCallId"]]
        turn.update(changes)
        return None

    def keep_those_that_were_read(self) -> None:
        self.turns = {turn_id: turn for turn_id, turn in self.turns.items() if turn_id in self.sessions}

    def read(self, round_id: str, session_id: str, turn: Message) -> None:
        self.rounds[turn["id"]], self.sessions[turn["id"]] = round_id, session_id
        known = self.turns.get(turn["id"])
        if known is None or known["seq"] < turn["seq"]:
            self.turns[turn["id"]] = turn


class Subscriber:
    """``range``: turn, response, session or store; ``target`` is the entity of it."""

    def __init__(self, world: World, range_: str, target: Entity | None, *, raw: bool, text: bool) -> None:
        self.world, self.range, self.target, self.raw, self.text = world, range_, target, raw, text
        self.name = (
            f"subscriber to {range_} {target.id if target else ''}{' raw' if raw else ''}{'' if text else ' thin'}"
        )
        self.lock = threading.RLock()
        self.known = Turns()
        self.store_id: str | None = None
        self.seq = 0
        self.connection: Connection | None = None
        self.subscription: str | None = None
        self.must_read = False
        self.is_over = False
        self._must_reset = False
        self._waiting: list[Message] | None = None

    @property
    def is_live(self) -> bool:
        live = self.connection is not None and not self.connection.has_ended.is_set()
        return live and self.subscription is not None and not self.must_read and self._waiting is None

    def attach(self, connection: Connection) -> None:
        """Subscribe, from where it was, if it was. Raises Gone, Refused."""
        params: Message = {"includeRaw": self.raw, "includeText": self.text}
        if self.target is not None:
            name = {"turn": "turnId", "response": "responseId", "session": "sessionId"}[self.range]
            params[name] = self.target.response if self.range == "response" else self.target.id
        if self.store_id is not None:
            params |= {"since": self.seq, "storeId": self.store_id}
        self.connection, self.subscription = connection, None
        (call,) = connection.send([Call("turn/subscribe", params, then=self._started)])
        connection.result(call)
        self.world.count("subscriptions")

    def detach(self) -> None:
        """Raises Gone, Refused."""
        connection, name = self.connection, self.subscription
        if connection is None or name is None:
            return

        def ended(_: Message) -> None:
            connection.listeners[name] = None

        (call,) = connection.send([Call("turn/unsubscribe", {"subscriptionId": name}, then=ended)])
        self.subscription = None
        connection.result(call)

    def _started(self, result: Message) -> None:
        with self.lock:
            assert self.connection is not None
            self.subscription = result["subscriptionId"]
            self.connection.listeners[result["subscriptionId"]] = self._told
            began_here = self.store_id is None
            if not began_here and not result["reset"]:
                if result["turns"] or (result["storeId"], result["seq"]) != (self.store_id, self.seq):
                    self.world.fault(f"{self.name}: from {self.seq} of {self.store_id} on gave {str(result)[:300]}")
                if self._must_reset:
                    self.world.fault(f"{self.name}: what was pruned goes on from {self.seq}")
                self.world.count("resumed subscriptions")
                return
            self.world.count("reset subscriptions", int(result["reset"]))
            self._must_reset = False
            self.store_id, self.seq = result["storeId"], result["seq"]
            self.known = Turns()
            self.known.turns = {turn["id"]: turn for turn in result["turns"]}
            # A turn and a response are given whole; of what is wider, those that stream.
            self.must_read = self.range in ("session", "store")
            self._waiting = [] if self.must_read else None

    def _told(self, method: str, params: Message) -> None:
        with self.lock:
            if params["subscriptionId"] != self.subscription:
                return
            if method == "subscription/ended":
                self._ended(params)
                return
            self.world.count("changes told")
            if params["seq"] <= self.seq:
                self.world.fault(f"{self.name}: seq {params['seq']} after {self.seq}: {str(params)[:300]}")
            self.seq = params["seq"]
            if params.get("kind") == "updated" and (params.get("changes") or {}).get("status") == "interrupted":
                self._check_interruption(params["turnId"])
            if self._waiting is not None:
                self._waiting.append(params)
            elif wrong := self.known.take(params):
                self.world.fault(f"{self.name}: {params['turnId']}: {wrong}")

    def _ended(self, params: Message) -> None:
        self.subscription = None
        self.world.count(f"subscriptions ended: {params['reason']}")
        if params["reason"] == "pruned":
            self._must_reset = True
            if self.must_read:
                self.store_id, self.must_read, self._waiting = None, False, None
        elif params["reason"] == "deleted":
            self.is_over = True
            is_explained = self.world.is_explained("restore") or self.world.is_explained("prune")
            if self.target is not None and self.target.exists and not is_explained:
                self.world.fault(f"{self.name}: ended as deleted, and nobody deleted it")

    def _check_interruption(self, turn_id: str) -> None:
        turn = self.world.turns.get(turn_id)
        if turn is None or turn.is_anybodys or any(owner.is_dead for owner in turn.owners):
            return
        self.world.fault(f"{self.name}: {turn_id} was interrupted, and its process lives")

    def read_again(self, ledger: Ledger) -> None:
        """All that it shows; what is told meanwhile waits. Raises Gone, Refused."""
        connection, subscription = self.connection, self.subscription
        assert connection is not None
        sessions = [self.target.id] if self.target is not None else _every_session(connection)
        for session in sessions:
            cursor: str | None = None
            while True:
                params = {"sessionId": session, "includeRaw": self.raw, "includeText": self.text, "limit": 20}
                try:
                    page = connection.call("session/history", **params, **({"cursor": cursor} if cursor else {}))
                except Refused as refused:
                    if refused.kind != "notFound":
                        raise
                    break
                with self.lock:
                    if self.subscription != subscription:
                        return
                    for entry in page["rounds"]:
                        for turn in entry["response"]["turns"]:
                            self.known.read(entry["id"], session, turn)
                cursor = page["nextCursor"]
                if cursor is None:
                    break
        with self.lock:
            if self.subscription != subscription:
                return
            # A turn that streamed at first, and whose session was deleted before it was read: no change names the turn.
            self.known.keep_those_that_were_read()
            for params in self._waiting or []:
                if wrong := self.known.take(params):
                    self.world.fault(f"{self.name}: {params['turnId']}, told while it was read: {wrong}")
            self._waiting, self.must_read = None, False
        self.world.count("read again")

    def lost(self) -> None:
        """In the middle of reading again nothing is known."""
        with self.lock:
            self.subscription = None
            if self.must_read:
                self.store_id, self.must_read, self._waiting = None, False, None

    def differs(self, stored: dict[str, tuple[str, str, Message]]) -> str | None:
        """From what is stored: by id the turn's round, session and the turn itself, with all texts."""
        with self.lock:
            expected = {turn_id: turn for turn_id, (r, s, turn) in stored.items() if self._covers(turn_id, r, s)}
            if set(expected) != set(self.known.turns):
                missing, more = set(expected) - set(self.known.turns), set(self.known.turns) - set(expected)
                return f"{len(missing)} turns are missing, {len(more)} too many, such as {[*missing, *more][0]}"
            for turn_id, turn in expected.items():
                left_out = set() if self.text and self.raw else {"rawResponse"} if self.text else set(TEXTS)
                for key in turn.keys() - left_out:
                    if (known := self.known.turns[turn_id].get(key)) != turn[key]:
                        return f"{turn_id}: {key} is {str(known)[-200:]!r}, not {str(turn[key])[-200:]!r}"
            return None

    def _covers(self, turn_id: str, round_id: str, session_id: str) -> bool:
        if self.target is None:
            return True
        return self.target.id in (turn_id, round_id, session_id)


def _every_session(connection: Connection) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = connection.call("session/list", archived=None, limit=100, **({"cursor": cursor} if cursor else {}))
        found += [session["id"] for session in page["sessions"]]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


class SessionsWatcher:
    """A ``session/subscribe`` to the store: what it is told of a session is what the session is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.name = "subscriber to sessions"
        self.lock = threading.RLock()
        self.sessions: dict[str, Message] = {}
        self.store_id: str | None = None
        self.seq = 0
        self.connection: Connection | None = None
        self.subscription: str | None = None
        self.is_over = self.must_read = False

    @property
    def is_live(self) -> bool:
        live = self.connection is not None and not self.connection.has_ended.is_set()
        return live and self.subscription is not None

    def attach(self, connection: Connection) -> None:
        """Raises Gone, Refused."""
        params = {"since": self.seq, "storeId": self.store_id} if self.store_id is not None else {}
        self.connection, self.subscription = connection, None
        (call,) = connection.send([Call("session/subscribe", params, then=self._started)])
        connection.result(call)
        self.world.count("subscriptions")

    def detach(self) -> None:
        return

    def lost(self) -> None:
        self.subscription = None

    def read_again(self, ledger: Ledger) -> None:
        return

    def _started(self, result: Message) -> None:
        with self.lock:
            assert self.connection is not None
            self.subscription = result["subscriptionId"]
            self.connection.listeners[result["subscriptionId"]] = self._told
            if result["reset"] or self.store_id is None:
                self.store_id, self.seq = result["storeId"], result["seq"]
                self.sessions = {session["id"]: session for session in result["sessions"]}

    def _told(self, method: str, params: Message) -> None:
        with self.lock:
            if params["subscriptionId"] != self.subscription:
                return
            if method == "subscription/ended":
                self.subscription = None
                return
            if params["seq"] <= self.seq:
                self.world.fault(f"{self.name}: seq {params['seq']} after {self.seq}: {str(params)[:300]}")
            self.seq = params["seq"]
            self.world.count("changes told")
            if params["kind"] == "deleted":
                self.sessions.pop(params["sessionId"], None)
            elif params.get("session") is not None:
                self.sessions[params["sessionId"]] = params["session"]

    def differs(self, stored: dict[str, Message]) -> str | None:
        """From the sessions that are stored: it knows those that changed last, and each that changed since."""
        with self.lock:
            for session_id, known in self.sessions.items():
                if session_id not in stored:
                    return f"session {session_id} is gone, and this was not told"
                for key in ("title", "description", "metadata", "archivedAt", "externalId"):
                    if known[key] != stored[session_id][key]:
                        return f"session {session_id}: {key} is {known[key]!r}, not {stored[session_id][key]!r}"
            return None


class Audience:
    """The subscribers at one server, which go on at the next one when it ends."""

    def __init__(self, world: World, ledger: Ledger, server: Server, number: int) -> None:
        self.name = f"audience {number}"
        self.world, self._ledger, self._server = world, ledger, server
        self._chance = world.chance(self.name)
        self.subscribers: list[Subscriber | SessionsWatcher] = [
            Subscriber(world, "store", None, raw=bool(number % 2), text=number == 0),
            SessionsWatcher(world),
        ]

    def run(self) -> None:
        """In a thread of its own, until the world stops."""
        try:
            while not self.world.stopping.is_set():
                self._renew()
                for subscriber in list(self.subscribers):
                    self._tend(subscriber)
                self.world.pause(0.05)
        except Stopped:
            return
        except Exception as error:
            self.world.fault(f"{self.name}: {type(error).__name__}: {error}")
            raise

    def _renew(self) -> None:
        """Those whose subject is gone make room for others; now and then one of its own will."""
        over = [one for one in self.subscribers if one.is_over]
        there = [one for one in self.subscribers if not one.is_over]
        narrow = [one for one in there if isinstance(one, Subscriber) and one.range != "store"]
        if narrow and self._chance.random() < 0.005:
            over.append(self._chance.choice(narrow))
        for one in over:
            one.is_over = True
            self.subscribers.remove(one)
            try:
                one.detach()
            except (Gone, Refused) as error:
                self.world.event(f"{one.name}: {error}")
        if len(self.subscribers) < 6 and (fresh := _any_subscriber(self.world, self._ledger, self._chance)):
            self.subscribers.append(fresh)

    def _tend(self, subscriber: Subscriber | SessionsWatcher) -> None:
        connection = self._server.connection
        if connection is None or connection.has_ended.is_set() or subscriber.is_live or subscriber.is_over:
            return
        try:
            if subscriber.connection is not connection:
                subscriber.lost()
            if subscriber.subscription is None:
                subscriber.attach(connection)
            if subscriber.must_read:
                subscriber.read_again(self._ledger)
        except Gone:
            subscriber.lost()
        except Refused as refused:
            subscriber.lost()
            target = getattr(subscriber, "target", None)
            if refused.kind == "notFound" and target is not None:
                subscriber.is_over = True
                if target.exists and target.is_settled and not self.world.is_explained("restore"):
                    time.sleep(0.5)
                    if target.exists and not self.world.is_explained("restore"):
                        self.world.fault(f"{subscriber.name}: {refused}, and nobody deleted it")
            elif not self.world.is_explained(refused.kind):
                self.world.fault(f"{subscriber.name} at {connection.name}: {refused}")


def _any_subscriber(world: World, ledger: Ledger, chance: random.Random) -> Subscriber | None:
    range_ = chance.choice(("turn", "response", "session"))
    kinds: dict[str, str] = {"turn": "turn", "response": "round", "session": "session"}
    found = [one for one in ledger.entities() if one.kind == kinds[range_] and one.exists and one.is_settled]
    if not found:
        return None
    raw, text = chance.random() < 0.5, chance.random() < 0.7
    return Subscriber(world, range_, chance.choice(found[-10:]), raw=raw and text, text=text)

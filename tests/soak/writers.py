"""Agents: each writes its own sessions, over one server or another, and knows of every operation what became of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field

from soak.connection import Call, Connection, Gone, Refused
from soak.ledger import Entity, Ledger, Op, Piece
from soak.servers import Server, alive
from soak.texts import any_size, any_text
from soak.world import Message, Stopped, World

# An agent that has more text than this deletes a session.
MAX_SIZE = 12_000_000
LEASE_SECONDS = 30.0


@define(eq=False)
class Request:
    """One message, and the operations that it stands for. ``told``: as a notification. ``check`` sees the result."""

    method: str
    params: Message
    ops: list[tuple[Entity, Op]] = field(factory=list)
    told: bool = False
    check: Callable[[Any], str | None] | None = None
    # Errors that are an answer too.
    may_fail: tuple[str, ...] = ()


def read(connection: Connection, entity: Entity) -> Message | None:
    """What the store holds of it, None where that is nothing. Raises Gone."""
    found: Message
    try:
        if entity.kind == "session":
            found = connection.call("session/get", sessionId=entity.id)
        elif entity.kind == "round":
            detail = connection.call("round/get", roundId=entity.id)
            found = {**detail["round"], "requestContent": detail["request"]["content"]}
        else:
            found = connection.call("turn/get", turnId=entity.id)
    except Refused as refused:
        if refused.kind == "notFound":
            return None
        raise
    return found


def settle(connection: Connection, entity: Entity) -> str | None:
    """Read what became of the last operations on it, its parents' first. Raises Gone, Refused."""
    if entity.parent is not None and (wrong := settle(connection, entity.parent)):
        return wrong
    return None if entity.sure == len(entity.ops) else entity.settle(read(connection, entity))


class Agent:
    def __init__(self, world: World, ledger: Ledger, servers: list[Server], number: int) -> None:
        self.name = f"agent {number}"
        self.world, self._ledger, self._servers = world, ledger, servers
        self._chance = world.chance(self.name)
        self._home = servers[number % len(servers)]
        self._unsettled: list[Entity] = []
        self._indexes: set[tuple[int, str, int]] = set()
        self._last_seq = (0, 0)
        self._pieces = 0

    def run(self) -> None:
        """In a thread of its own, until the world stops."""
        try:
            while not self.world.stopping.is_set():
                with self.world.flow.shared():
                    self._step()
                self.world.pause(self._chance.choice((0, 0, 0.01, 0.05, 0.2)))
        except Stopped:
            return
        except Exception as error:
            self.world.fault(f"{self.name}: {type(error).__name__}: {error}")
            raise

    @property
    def sessions(self) -> list[Entity]:
        return [one for one in self._ledger.sessions if one.author is self and one.exists]

    def _step(self) -> None:
        connection = self._connection()
        if connection is None:
            time.sleep(0.05)
            return
        try:
            if self._unsettled:
                self._settle(connection)
            else:
                self._act(connection)
        except Gone:
            self.world.event(f"{self.name} lost {connection.name}")
        except Refused as refused:
            self._refused(connection, refused)

    def _connection(self) -> Connection | None:
        home = self._home.connection
        if home is not None and not home.has_ended.is_set() and self._chance.random() < 0.85:
            return home
        others = alive(self._servers)
        return self._chance.choice(others) if others else None

    def _refused(self, connection: Connection, refused: Refused) -> None:
        if not self.world.is_explained(refused.kind):
            self.world.fault(f"{self.name} at {connection.name}: {refused}")
        self.world.count(f"refused {refused.kind}")

    def _settle(self, connection: Connection) -> None:
        """After a loss: send again what can be, or look. Now and then wait until the server says what it lost."""
        for entity in list(self._unsettled):
            if self._chance.random() < 0.5:
                self._send_again(connection, entity)
            if (wrong := settle(connection, entity)) is not None and not self.world.is_explained("restore"):
                self.world.fault(f"{self.name}: after a loss, at {connection.name}: {wrong}")
                entity.sure = len(entity.ops)
            self._unsettled.remove(entity)
            if entity.kind == "turn" and self._chance.random() < 0.3:
                self._wait_for_interruption(connection, entity)

    def _send_again(self, connection: Connection, entity: Entity) -> None:
        """Pieces with their ordinals: those that are stored are acknowledged, the others are stored now."""
        ops = entity.ops[entity.sure :]
        if not ops or any(op.name != "append" for op in ops) or (entity.parent and not entity.parent.is_settled):
            return
        if self.world.is_explained("restore"):
            return
        chunk = entity.state(entity.sure).chunks
        for op in ops:
            entity.owners.add(connection)
            answer = connection.call("turn/append", turnId=entity.id, chunk=chunk, **_fields(op.pieces[0]))
            entity.acknowledged(op)
            chunk += 1
            if (answer["chunk"], answer["chunkCount"] >= chunk) != (chunk - 1, True):
                self.world.fault(f"{self.name}: sent again, {chunk - 1} of {entity.id} was answered with {answer}")
            self.world.count("pieces sent again")

    def _wait_for_interruption(self, connection: Connection, turn: Entity) -> None:
        """The turn of a process that is gone becomes interrupted, whoever sees to it."""
        state = turn.state()
        owners_are_dead = turn.owners and all(owner.is_dead for owner in turn.owners)
        if not turn.exists or state.values["status"] != "streaming" or turn.is_detached or not owners_are_dead:
            return
        began = time.monotonic()
        while (found := connection.call("turn/get", turnId=turn.id, includeText=False))["status"] == "streaming":
            if time.monotonic() > began + LEASE_SECONDS:
                self.world.fault(f"{self.name}: {turn.id} is {found['status']} long after its processes are gone")
                return
            time.sleep(0.1)
        self.world.count("interrupted turns")

    # -- what an agent does --

    def _act(self, connection: Connection) -> None:
        turn = self._any_turn()
        actions: list[tuple[float, Callable[[Connection, Entity], None]]] = [
            (1.0, self._begin),
            (9.0, self._stream),
            (1.0, self._update),
            (0.5, self._replace),
            (1.0, self._tool_calls),
            (1.0, self._end),
            (0.8, self._read),
            (0.4, self._delete),
            (0.5, self._run_transaction),
            (0.5, self._send_what_is_stored),
            (0.5, self._change_round_or_session),
            (0.3, self._be_hostile),
        ]
        if turn is None:
            self._begin(connection, None)
            return
        weights, functions = zip(*actions, strict=True)
        self._chance.choices(functions, weights)[0](connection, turn)

    def _any_turn(self) -> Entity | None:
        sessions = self.sessions
        if not sessions:
            return None
        session = self._chance.choice(sessions[-3:])
        turns = [turn for one in session.children if one.exists for turn in one.children if turn.exists]
        streaming = [turn for turn in turns[-12:] if turn.state().values["status"] == "streaming"]
        return self._chance.choice(streaming) if streaming else None

    def _begin(self, connection: Connection, turn: Entity | None) -> None:
        """A session, a round and a turn; or those that are missing. All in one burst."""
        sessions = self.sessions
        requests = []
        if not sessions or (len(sessions) < 6 and self._chance.random() < 0.2):
            session, request = self._new_session()
            requests.append(request)
        else:
            session = self._chance.choice(sessions[-3:])
        rounds = [one for one in session.children if one.exists]
        if not rounds or self._chance.random() < 0.3:
            round_, request = self._new_round(session)
            requests.append(request)
        else:
            round_ = rounds[-1]
        requests += [self._new_turn(round_, connection)[1] for _ in range(self._chance.choice((1, 1, 2)))]
        self._do(connection, requests)

    def _new_session(self) -> tuple[Entity, Request]:
        session = self._ledger.add(Entity("session", str(uuid.uuid4()), None, author=self))
        title = f"{self.name} {session.id}"
        values = {"title": title, "metadata": {"n": self._chance.random()}}
        op = self._ledger.asked(session, Op("create", values))
        return session, Request("session/create", {"id": session.id, **values}, [(session, op)])

    def _new_round(self, session: Entity) -> tuple[Entity, Request]:
        ids = [str(uuid.uuid4()) for _ in range(3)]
        round_ = self._ledger.add(Entity("round", ids[0], session, request=ids[1], response=ids[2]))
        content = str(any_text(self._chance, "ask", 40))
        op = self._ledger.asked(round_, Op("create", {"requestContent": content, "metadata": {}}))
        params = {"sessionId": session.id, "id": ids[0], "requestId": ids[1], "responseId": ids[2], "content": content}
        return round_, Request("round/create", params, [(round_, op)], check=self._check_index("round", session.id))

    def _new_turn(self, round_: Entity, connection: Connection) -> tuple[Entity, Request]:
        turn = self._ledger.add(Entity("turn", str(uuid.uuid4()), round_, owners={connection}))
        self.world.turns[turn.id] = turn
        turn.is_detached = self._chance.random() < 0.15
        values: Message = {"model": f"m{self._chance.random()}", "status": "streaming"}
        params = {"responseId": round_.response, "id": turn.id, "detached": turn.is_detached, **values}
        if self._chance.random() < 0.3:
            values["content"] = any_text(self._chance, "0", 60)
            params["content"] = str(values["content"])
        op = self._ledger.asked(turn, Op("create", values))
        check = self._check_index("turn", round_.response)
        return turn, Request("turn/create", params, [(turn, op)], check=check)

    def _check_index(self, kind: str, parent: str) -> Callable[[Any], str | None]:
        def check(result: Any) -> str | None:
            made = result["round"] if kind == "round" else result
            key = (self.world.epoch, parent, made["index"])
            if key in self._indexes:
                return f"index {made['index']} in {parent} was given twice"
            self._indexes.add(key)
            return None

        return check

    def _stream(self, connection: Connection, turn: Entity) -> None:
        """A burst, or one piece at a time; as requests, or as notifications."""
        one_at_a_time = self._chance.random() < 0.3
        is_put_back = self.world.is_explained("restore")
        # Where a notification is rejected those after it must be, so that what is stored is a beginning.
        told = self._chance.random() < 0.3 and not is_put_back
        with_chunk = told or (self._chance.random() < 0.5 and not is_put_back)
        size = any_size(self._chance)
        count = self._chance.randrange(1, 80 if size < 500 else 4)
        chunk = turn.state().chunks
        requests = []
        for n in range(count):
            piece = self._piece(size)
            params = {"turnId": turn.id, **_fields(piece)} | ({"chunk": chunk + n} if with_chunk else {})
            op = Op("append", pieces=(piece,))
            check = self._check_append(turn, chunk + n)
            requests.append(Request("turn/append", params, [(turn, op)], told=told, check=check))
            turn.size += piece.content.size
        turn.owners.add(connection)
        for batch in [[request] for request in requests] if one_at_a_time else [requests]:
            if with_chunk and self.world.is_explained("restore"):
                # A copy that holds more pieces takes an ordinal of its own for one that it has, and stores nothing.
                return
            for request in batch:
                self._ledger.asked(turn, request.ops[0][1])
            if not self._do(connection, batch):
                # Those that come after one that is missing would be refused.
                return

    def _piece(self, size: int) -> Piece:
        self._pieces += 1
        tag = f"{self._pieces}.{self._chance.randrange(10**6)}"
        raw = any_text(self._chance, tag, size) if self._chance.random() < 0.2 else None
        tokens = self._pieces if self._chance.random() < 0.3 else None
        return Piece(any_text(self._chance, tag, size), raw, tokens)

    def _check_append(self, turn: Entity, chunk: int) -> Callable[[Any], str | None]:
        def check(result: Any) -> str | None:
            self.world.count("pieces")
            if (result["turnId"], result["chunk"]) != (turn.id, chunk):
                return f"piece {chunk} of {turn.id} was answered with {result}"
            epoch, seq = self._last_seq
            self._last_seq = (self.world.epoch, result["seq"])
            if epoch == self.world.epoch and result["seq"] <= seq:
                return f"piece {chunk} of {turn.id} has seq {result['seq']}, after {seq}"
            return None

        return check

    def _update(self, connection: Connection, turn: Entity) -> None:
        values: Message = {"model": f"m{self._chance.random()}", "metadata": {"a": [self._chance.random(), 2**70, "é"]}}
        values["expectedTokens"] = self._chance.randrange(10**6)
        self._change(connection, turn, "turn/update", {"turnId": turn.id, **values}, Op("set", values))

    def _replace(self, connection: Connection, turn: Entity) -> None:
        text = any_text(self._chance, f"new {self._chance.random()}", any_size(self._chance) + 30)
        values: Message = {"content": text, "status": "streaming"}
        params = {"turnId": turn.id, "content": str(text), "status": "streaming"}
        self._change(connection, turn, "turn/update", params, Op("replace", values))

    def _tool_calls(self, connection: Connection, turn: Entity) -> None:
        known = turn.state().calls
        if known and self._chance.random() < 0.4:
            call_id = self._chance.choice(list(known))
            params = {"turnId": turn.id, "toolCallId": call_id}
            self._change(connection, turn, "toolCall/delete", params, Op("uncall", {"id": call_id}))
            return
        size = self._chance.choice((10, 10, 1000, 100_000))
        call = {
            "id": f"call {self._chance.randrange(8)}",
            "title": f"t{self._chance.random()}",
            "status": "in_progress",
        }
        call["arguments"] = {"x": str(any_text(self._chance, "arg", size)), "jsonrpc": "2.0"}  # type: ignore[assignment]
        self._change(connection, turn, "toolCall/upsert", {"turnId": turn.id, "toolCall": call}, Op("call", call))

    def _end(self, connection: Connection, turn: Entity) -> None:
        values = {"status": self._chance.choice(("completed", "completed", "error", "cancelled"))}
        if self._chance.random() < 0.3:
            values["error"] = "it failed"
        self._change(connection, turn, "turn/update", {"turnId": turn.id, **values}, Op("set", values))

    def _change_round_or_session(self, connection: Connection, turn: Entity) -> None:
        round_ = turn.parent
        assert round_ is not None
        assert round_.parent is not None
        kind, session = self._chance.randrange(3), round_.parent
        values: Message = {"metadata": {"v": self._chance.random()}}
        if kind == 0:
            self._change(connection, round_, "round/update", {"roundId": round_.id, **values}, Op("set", values))
        elif kind == 1:
            values |= {"description": f"d{self._chance.random()}"}
            self._change(connection, session, "session/update", {"sessionId": session.id, **values}, Op("set", values))
        else:
            text = f"asked {self._chance.random()}"
            params = {"requestId": round_.request, "content": text}
            self._change(connection, round_, "request/update", params, Op("set", {"requestContent": text}))

    def _delete(self, connection: Connection, turn: Entity) -> None:
        """A turn, a round, the rounds from one on, or a session; sessions if there is much text."""
        round_ = turn.parent
        assert round_ is not None
        session = round_.parent
        assert session is not None
        if self._chance.random() < 0.1 or sum(each.size for each in self._ledger.entities() if each.exists) > MAX_SIZE:
            oldest = self.sessions[0]
            self._change(connection, oldest, "session/delete", {"sessionId": oldest.id}, Op("delete"))
        elif self._chance.random() < 0.6:
            self._change(connection, turn, "turn/delete", {"turnId": turn.id}, Op("delete"))
        else:
            following = self._chance.random() < 0.3
            last = session.children.index(round_) + 1 if not following else None
            gone = [one for one in session.children[session.children.index(round_) : last] if one.exists]
            ops = [(one, self._ledger.asked(one, Op("delete"))) for one in gone]
            params = {"roundId": round_.id, "following": following}
            self._do(connection, [Request("round/delete", params, ops)])
        self.world.count("deletions")

    def _run_transaction(self, connection: Connection, turn: Entity) -> None:
        """A new round with a turn and pieces: all is there, or nothing."""
        round_ = turn.parent
        assert round_ is not None
        assert round_.parent is not None
        new, made = self._new_round(round_.parent)
        other, request = self._new_turn(new, connection)
        create = other.ops.pop()
        pieces = [self._piece(any_size(self._chance) % 50_000 + 1) for _ in range(self._chance.randrange(1, 6))]
        appends = [Op("append", pieces=(piece,)) for piece in pieces]
        op = self._ledger.asked(other, Op("transaction", several=(create, *appends)))
        operations = [{"method": one.method, "params": one.params} for one in (made, request)]
        operations += [{"method": "turn/append", "params": {"turnId": other.id, **_fields(piece)}} for piece in pieces]
        if fails := self._chance.random() < 0.3:
            operations.append({"method": "turn/get-not", "params": {}})
        ops = [*made.ops, (other, op)]
        may_fail = ("methodNotFound", "invalidParams") if fails else ()
        self._do(connection, [Request("transaction/run", {"operations": operations}, ops, may_fail=may_fail)])
        self.world.count("transactions")

    def _send_what_is_stored(self, connection: Connection, turn: Entity) -> None:
        """A piece again, with its ordinal: it is acknowledged, and not stored twice."""
        ops = [op for op in turn.ops if op.name == "append"]
        if len(ops) != len(turn.ops) - 1 or not ops or turn.ops[0].several:
            return
        chunk = self._chance.randrange(len(ops))

        def check(result: Any) -> str | None:
            wrong = (result["chunk"], result["chunkCount"]) != (chunk, len(ops))
            return f"sent again, piece {chunk} of {len(ops)} of {turn.id} was answered with {result}" if wrong else None

        params = {"turnId": turn.id, "chunk": chunk, **_fields(ops[chunk].pieces[0])}
        turn.owners.add(connection)
        self._do(connection, [Request("turn/append", params, check=check)])
        self.world.count("pieces sent again")

    def _read(self, connection: Connection, turn: Entity) -> None:
        """A turn must be what was written, between writes too: in one burst with pieces, and alone."""
        if self._chance.random() < 0.5:
            self._stream(connection, turn)
        if turn.is_settled:
            wrong = turn.settle(read(connection, turn))
            if wrong is not None and not self.world.is_explained("restore"):
                self.world.fault(f"{self.name} at {connection.name}: {wrong}")
            self.world.count("turns compared")

    def _be_hostile(self, connection: Connection, turn: Entity) -> None:
        """Broken messages between good ones; each has one answer."""
        bad = [
            b'{"jsonrpc":"2.0","id":\n',
            b'{"jsonrpc":"2.0","method":"turn/append","params":[1,\n',
            b"nothing like JSON\n",
            b'"a text"\n',
            b"[" * 200 + b"]" * 200 + b"\n",
        ]
        some = self._chance.choices(bad, k=self._chance.randrange(1, 4))
        connection.send([], raw=b"".join(some), nameless=len(some))
        wrong: list[tuple[str, Message, str]] = [
            ("turn/get", {"turnId": turn.id, "typo": 1}, "invalidParams"),
            ("no/method", {}, "methodNotFound"),
            ("turn/get", {"turnId": str(uuid.uuid4())}, "notFound"),
            ("turn/append", {"turnId": turn.id, "content": "gap", "chunk": 10**6}, "conflict"),
            ("session/create", {"metadata": 1}, "invalidParams"),
        ]
        method, params, kind = self._chance.choice(wrong)
        with suppress(Refused):
            try:
                connection.call(method, **params)
            except Refused as refused:
                if refused.kind == kind:
                    raise
                self._refused(connection, refused)
            else:
                self.world.fault(f"{self.name}: {method} {params} was no error")
        self.world.count("broken messages", len(some) + 1)

    # -- asking --

    def _change(self, connection: Connection, entity: Entity, method: str, params: Message, op: Op) -> None:
        self._do(connection, [Request(method, params, [(entity, self._ledger.asked(entity, op))])])

    def _do(self, connection: Connection, requests: list[Request]) -> bool:
        """Send them at once, and see what became of each: whether all were carried out. What is told, not asked, is
        looked at right after. Raises Gone, Refused."""
        entities = list(dict.fromkeys(entity for request in requests for entity, _ in request.ops))
        before = {entity: entity.sure for entity in entities}
        told = [{"method": one.method, "params": one.params} for one in requests if one.told]
        calls = {id(one): Call(one.method, one.params) for one in requests if not one.told}
        is_refused = False
        try:
            connection.send(list(calls.values()), told)
            for request in requests:
                if not request.told:
                    is_refused |= not self._answered(connection, request, calls[id(request)], is_refused)
            if told:
                is_refused |= not self._look(connection, entities)
        finally:
            for entity in entities:
                if entity.sure > before[entity]:
                    entity.last_used = time.monotonic()
                entity.has_odd_times |= self._has_wrong_clock(connection)
                if not entity.is_settled and entity not in self._unsettled:
                    self._unsettled.append(entity)
        return not is_refused

    def _look(self, connection: Connection, entities: list[Entity]) -> bool:
        """What became of notifications: whether none was rejected. Raises Gone, Refused."""
        accepted = True
        for entity in entities:
            self._hear_rejections(connection, entity)
            accepted = self._check_rejected(connection, entity) and accepted
            self.world.count("pieces", len(entity.ops) - entity.sure)
            wrong = settle(connection, entity)
            if wrong is not None and not self.world.is_explained("restore"):
                self.world.fault(f"{self.name} at {connection.name}: after notifications: {wrong}")
        return accepted

    def _hear_rejections(self, connection: Connection, entity: Entity) -> None:
        """They have come before the answer to what is asked after them, whatever that is. Raises Gone."""
        try:
            read(connection, entity)
        except Refused as refused:
            self._refused(connection, refused)

    def _check_rejected(self, connection: Connection, entity: Entity) -> bool:
        """The first that was rejected needs a reason; those after it were rejected because of it."""
        rejected = [params for params in connection.rejected if params["turnId"] == entity.id]
        connection.rejected = [params for params in connection.rejected if params["turnId"] != entity.id]
        # Each piece is an operation, and none after the first that was rejected is stored.
        del entity.ops[max(entity.sure, len(entity.ops) - len(rejected)) :]
        if rejected and not self.world.is_explained(rejected[0]["error"].get("data", {}).get("kind", "?")):
            self.world.fault(f"{self.name} at {connection.name}: rejected {str(rejected[0])[:400]}")
        return not rejected

    def _answered(self, connection: Connection, request: Request, call: Call, is_refused: bool) -> bool:
        """Whether it was carried out. After one that was refused others that build on it may be, too. Raises Gone."""
        try:
            result = connection.result(call)
        except Refused as refused:
            legal = refused.kind in request.may_fail or is_refused or self.world.is_explained(refused.kind)
            if not legal and not self._was_interrupted(request, refused):
                self.world.fault(f"{self.name} at {connection.name}: {refused} for {str(request.params)[:300]}")
            # A failure of the disk may have come after the write.
            if refused.kind != "storage":
                for entity, op in request.ops:
                    entity.refused(op)
            self.world.count(f"refused {refused.kind}")
            return False
        for entity, op in request.ops:
            entity.acknowledged(op)
        if request.check is not None and (wrong := request.check(result)) and not self.world.is_explained("restore"):
            self.world.fault(f"{self.name} at {connection.name}: {wrong}")
        return True

    def _was_interrupted(self, request: Request, refused: Refused) -> bool:
        """A text is final where the turn ended, by the server's own hand too."""
        return refused.reason == "turnEnded" and any(
            owner.is_dead for entity, _ in request.ops for owner in entity.owners
        )

    def _has_wrong_clock(self, connection: Connection) -> bool:
        return any(one.connection is connection and one.clock.read_text() != "0" for one in self._servers)


def _fields(piece: Piece) -> Message:
    fields: Message = {"content": str(piece.content)}
    if piece.raw is not None:
        fields["rawResponse"] = str(piece.raw)
    if piece.tokens is not None:
        fields["currentTokens"] = piece.tokens
    return fields

"""What the operations are sent to, by the wire's names: the real server process, or the manager in this process."""

from __future__ import annotations

import copy
import json
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, cast

from mandrake_sessions import SessionManager
from mandrake_sessions.connection.answers import encode_answer
from mandrake_sessions.handlers import carry_out
from mandrake_sessions.handlers.context import Beginning, StoreContext
from mandrake_sessions.operations.indexing import fill_index
from mandrake_sessions.protocol import notifications
from mandrake_sessions.protocol.errors import error_object, method_not_found
from mandrake_sessions.protocol.methods import METHODS, Access
from mandrake_sessions.protocol.store_params import own_params
from mandrake_sessions.store_names import DEFAULT_STORE
from mandrake_sessions.transport.jsonrpc import decode, encode
from wire import Message, Wire, apply_update

Call = tuple[str, dict[str, Any]]


class Target(Protocol):
    """Gives answers: ``{"result": …}`` or ``{"error": …}``."""

    def answer(self, calls: list[Call]) -> list[Message]:
        """Carry out some calls that come together."""

    def fill_search(self) -> None:
        """Have all that was said put into the search index, or wait a little while a server does that."""


class WireTarget:
    """A server process. Every other message is sent as raw UTF-8 instead of ASCII with escapes."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._id = 1_000_000

    def answer(self, calls: list[Call]) -> list[Message]:
        return [self.wire.answer(message_id) for message_id in [self._send(*call) for call in calls]]

    def fill_search(self) -> None:
        time.sleep(0.05)

    def _send(self, method: str, params: dict[str, Any]) -> int:
        self._id += 1
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        try:
            body = json.dumps(message, ensure_ascii=self._id % 2 == 0).encode()
        except UnicodeEncodeError:
            body = json.dumps(message).encode()
        self.wire.send_bytes(self.wire.frame(body))
        return self._id


class ManagerTarget:
    """A ``SessionManager``, called by the handlers of the wire's methods. Calls that come together share one
    transaction, as they do in the server."""

    def __init__(self, manager: SessionManager) -> None:
        self.manager = manager
        self._context = StoreContext(DEFAULT_STORE, manager, cast(Beginning, None))

    def answer(self, calls: list[Call]) -> list[Message]:
        if len(calls) == 1:
            return [self._answer(*calls[0], alone=True)]
        with self.manager.transaction():
            return [self._answer(*call) for call in calls]

    def fill_search(self) -> None:
        fill_index(self.manager.store)

    def _answer(self, method: str, params: dict[str, Any], *, alone: bool = False) -> Message:
        try:
            if method not in METHODS:
                raise method_not_found(method, METHODS)
            # Rows of a result are read while it is encoded, so that is done in the same transaction or snapshot.
            with self._state(METHODS[method].access, alone=alone):
                result = carry_out(self._context, METHODS[method], own_params(copy.deepcopy(params)))
                encoded = encode_answer(0, result)
            whole = encoded if isinstance(encoded, bytes) else encoded.read(len(encoded))
            return {"result": cast(Message, decode(whole))["result"]}
        except Exception as error:
            return {"error": error_object(error)}

    def _state(self, access: Access, *, alone: bool) -> AbstractContextManager[object]:
        if access is Access.WRITE_IN_STEPS and alone:
            return nullcontext()
        return self.manager.transaction() if access.writes else self.manager.snapshot()

    def replay(self, since: int, *, join: bool, **scope: str) -> list[Message]:
        """The params of ``turn/updated`` that a subscription with ``since`` would be sent, pieces joined or not."""
        wanted = self.manager.feed.turn_scope(**scope)
        found: list[Message] = []
        while changes := self.manager.feed.changes_since(since, limit=7):
            since = changes[-1].seq
            for change in changes:
                if notifications.concerns_turns(change) and wanted.covers(change):
                    params = _as_sent(notifications.turn_updated("", change, raw=True, text=True))
                    joined = _joined(found[-1], params) if join and found else None
                    found[-1:] = [joined] if joined is not None else [*found[-1:], params]
        return found


class Follower:
    """A client's turns, kept by ``turn/updated`` alone."""

    def __init__(
        self, turns: dict[str, Message] | None = None, where: dict[str, tuple[str, str]] | None = None
    ) -> None:
        """``turns`` as they were read before, and in which session and round each is."""
        self.turns = copy.deepcopy(turns or {})
        # Those that it has read: of the turns of a fork nobody is told when they are made.
        self.known = set(self.turns)
        self._where = dict(where or {})
        self._seq = 0

    def apply(self, params: Message) -> None:
        """Also checks that seqs grow."""
        assert params["seq"] > self._seq, f"seq {params['seq']} came after {self._seq}"
        self._seq = params["seq"]
        if params["turnId"] is not None:
            self._where[params["turnId"]] = (params["sessionId"], params["roundId"])
            apply_update(self.turns, params)
            return
        assert params["kind"] in ("roundDeleted", "sessionDeleted"), params
        apply_update(self.turns, params)
        for turn_id, (session_id, round_id) in self._where.items():
            if session_id == params["sessionId"] and params["roundId"] in (None, round_id):
                self.turns.pop(turn_id, None)


def _joined(first: Message, second: Message) -> Message | None:
    """Two appends to one turn as one, under the seq of the second, as the contract lets them be."""
    if not first["kind"] == second["kind"] == "appended" or first["turnId"] != second["turnId"]:
        return None
    texts = {name: first.get(name, "") + second.get(name, "") for name in ("content", "rawResponse")}
    return second | {"firstChunk": first["firstChunk"]} | texts


def _as_sent(params: Message) -> Message:
    return cast(Message, decode(encode(params)))

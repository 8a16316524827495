"""The wire shapes, frozen: one file a method or notification holds what was sent and what came back.

``UPDATE_GOLDEN=1 make test ARGS=tests/protocol`` writes them anew; the difference is then for a person to read.
"""

from __future__ import annotations

import json
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import validation
from conformance.backends import BACKENDS
from golden import DIRECTORY, golden_file, with_numbers
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS
from mandrake_sessions.protocol.names import type_name
from wire import Failed, Wire

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC")
_VOLATILE = {
    "workspace", "pid", "sqliteVersion", "pythonVersion", "lastCheckAt", "lastCheckMs", "walBytes", "dbBytes",
    "freeBytes", "lastError", "version", "incident", "busyRetries", "totalMs", "maxMs", "streamedMs",
}  # fmt: skip

# What they say is about files.
OF_FILES = {"server/health", "server/healthChanged", "server/info"}

Exchange = dict[str, Any]


class Recorder:
    """Sends requests and keeps what was said, by method; ids and clocks are replaced by names."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.exchanges: dict[str, list[Exchange]] = {}
        self._names: dict[str, str] = {}

    def __call__(self, method: str, **params: Any) -> Any:
        try:
            result = self.wire.request(method, **params)
        except Failed as failed:
            self._keep(method, {"params": params, "error": failed.error})
            return None
        self._keep(method, {"params": params, "result": result})
        return result

    def end(self) -> None:
        """End the server; what it had sent by itself is kept as well."""
        self.wire.end_input()
        for message in self.wire.unread():
            self._keep(message["method"], {"params": message["params"]})
        self.wire.forget()
        assert self.wire.process.wait() == 0

    def _keep(self, method: str, exchange: Exchange) -> None:
        self.exchanges.setdefault(method, []).append(self._normal(exchange))

    def _normal(self, value: Any, key: str = "") -> Any:
        if key == "components" or (key in ("methods", "x-notifications") and isinstance(value[0], dict)):
            # Of rpc.discover: test_openrpc.py looks at all of it.
            return f"<{key}>"
        if key in ("calls", "methods"):
            # One stands for all, so that the file stays as it is when the conversation or the protocol grows.
            value = {"session/create": value["session/create"]} if key == "calls" else value[:1]
        if isinstance(value, dict):
            return {name: self._normal(item, name) for name, item in value.items()}
        if key == "warnings":
            return []
        if isinstance(value, list):
            return [self._normal(item) for item in value]
        if key == "path" and isinstance(value, str) and value.startswith("/"):
            # Not that of a param, nor one that a tool was given.
            return "<ownPath>" if "/.mandrake/" in value else "<path>"
        if key in _VOLATILE and value is not None:
            return f"<{key}>"
        if isinstance(value, int) and re.search(r"(Time|At)$|^at$", key):
            return "<time>"
        if isinstance(value, str):
            value = _UUID.sub(lambda match: self._names.setdefault(match[0], f"<id {len(self._names) + 1}>"), value)
            value = _MOMENT.sub("<moment>", value)
            return "<cursor>" if "ursor" in key else value
        return value


def _converse(record: Recorder) -> None:
    """Every method once at least, with every kind of change."""
    session = record("session/create", title="A talk", externalId="agent-7", metadata={"a b": [1, 1.0, None]})["id"]
    record("session/subscribe", sessionId=session)
    following = record("turn/subscribe", includeRaw=True)["subscriptionId"]
    made = record("round/create", sessionId=session, content="What is in here?", blocks=[{"type": "text"}])
    round_id, request, response = (made[name]["id"] for name in ("round", "request", "response"))
    calls = [{"id": "call-1", "title": "ls", "kind": "read", "arguments": {"path": "."}, "startTime": 1}]
    turn = record("turn/create", responseId=response, content="It ", toolCalls=calls, model="m", expectedTokens=9)["id"]
    record("turn/append", turnId=turn, content="is.", rawResponse="{}", chunk=0, currentTokens=2)
    record("turn/append", turnId=turn, content="was.", chunk=0)
    record("turn/append", turnId=turn, content="is.", chunk=7)
    record("toolCall/upsert", turnId=turn, toolCall={"id": "call-1", "status": "completed", "response": ["a"]})
    record("toolCall/delete", turnId=turn, toolCallId="call-1")
    record("turn/update", turnId=turn, content="It was.", status="completed", outputTokens=3, inputCost=0.25)
    _read(record, session, round_id, request, response, turn)
    _change(record, session, round_id, request, response)
    _delete(record, session, round_id, response, turn, following)


def _ask_after_server(record: Recorder) -> None:
    record("rpc.discover")


def _ask_after_files(record: Recorder) -> None:
    record("server/health")
    # There is a file where the user's own store would have its directory.
    record.wire.error("session/create", scope="system")
    record("server/info")


def _read(record: Recorder, session: str, round_id: str, request: str, response: str, turn: str) -> None:
    record("session/get", externalId="agent-7")
    record("session/list", query="TALK", limit=1)
    record("session/export", sessionId=session, format="markdown")
    record("session/export", sessionId=session, format="pdf")
    record("session/list", scope="all")
    record("store/list")
    record("round/get", roundId=round_id)
    record("round/list", sessionId=session)
    record("request/get", requestId=request)
    record("response/get", responseId=response)
    record("response/status", responseId=response)
    record("turn/get", turnId=turn)
    record("turn/get", turnId=turn, includeText=False)
    record("turn/list", responseId=response, includeRaw=True)
    record("turn/latest", responseId=response)
    record("session/history", sessionId=session, order="desc")
    record("session/usage", timezone="Europe/Berlin")
    record("session/usage", sessionId=session, groupBy="model")
    record("session/usage", scope="all", groupBy="agent")
    while not record.wire.request("session/search", query="it was")["hits"]:
        time.sleep(0.02)
    record("session/search", query="it was", role="agent")
    record("session/search", query="tal", limit=1)
    record("session/search", query="it was", scope="all")


def _change(record: Recorder, session: str, round_id: str, request: str, response: str) -> None:
    record("session/update", sessionId=session, description="On files", archived=True)
    fork = record("session/fork", sessionId=session, throughRoundId=round_id, title="Another way")["id"]
    record("session/history", sessionId=fork)
    record("round/update", roundId=round_id, metadata={"rating": 5})
    record("request/update", requestId=request, content="What was in here?")
    record("response/update", responseId=response, status="completed", stopReason="end_turn")
    operations = [
        {"method": "session/update", "params": {"sessionId": session, "title": "Another"}},
        {"method": "turn/create", "params": {"responseId": response, "kind": "thought", "status": "cancelled"}},
    ]
    record("transaction/run", operations=operations)
    record("transaction/run", operations=[*operations, {"method": "turn/get", "params": {}}])


def _delete(record: Recorder, session: str, round_id: str, response: str, turn: str, following: str) -> None:
    latest = record.wire.request("turn/latest", responseId=response)["id"]
    record("turn/delete", turnId=latest)
    record("round/delete", roundId=round_id)
    record("turn/unsubscribe", subscriptionId=following)
    record("session/delete", sessionId=session)
    record("session/unsubscribe", subscriptionId=session)
    record.wire.notify("turn/append", turnId=turn, content="late", chunk=3)


@cache
def _recorded(kind: str, workspace: Path) -> dict[str, list[Exchange]]:
    (workspace / ".git").mkdir()
    (workspace / "home").write_text("a file")
    with BACKENDS[kind](workspace).serving(workspace) as wire:
        recorder = Recorder(wire)
        _converse(recorder)
        _ask_after_server(recorder)
        if kind == "sqlite":
            _ask_after_files(recorder)
        recorder.end()
    return recorder.exchanges


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: tmp_path_factory.mktemp(kind) for kind in BACKENDS}


@pytest.fixture
def exchanges(request: pytest.FixtureRequest, workspaces: dict[str, Path]) -> dict[str, list[Exchange]]:
    """What a server says, on every kind of store; each is asked once."""
    return _recorded(request.param, workspaces[request.param])


def _every_name() -> list[str]:
    return [*METHODS, *(n.name for n in NOTIFICATIONS)]


on_every_store = pytest.mark.parametrize(
    ("exchanges", "name"),
    [(kind, name) for kind in BACKENDS for name in _every_name() if kind == "sqlite" or name not in OF_FILES],
    indirect=["exchanges"],
)


@on_every_store
def test_the_wire_shape_is_the_golden_one(name: str, exchanges: dict[str, list[Exchange]]) -> None:
    path = golden_file(name)
    assert name in exchanges, "nobody sends it; add a call to _read, _change or _delete"
    found = json.dumps(exchanges[name], indent=1) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found)
    assert path.exists(), "no golden file; write it with UPDATE_GOLDEN=1 and read it"
    assert json.loads(found) == json.loads(path.read_text())


def test_every_golden_file_is_of_something_declared() -> None:
    assert set(DIRECTORY.iterdir()) == {golden_file(name) for name in _every_name()}


@on_every_store
def test_what_is_said_fits_the_schema(name: str, exchanges: dict[str, list[Exchange]]) -> None:
    # Params that were rejected for their shape do not fit.
    parts = [
        (part, exchange[part])
        for exchange in exchanges[name]
        if exchange.get("error", {"data": {"kind": ""}})["data"]["kind"] != "invalidParams"
        for part in ("params", "result")
        if part in exchange
    ]
    assert parts
    for part, said in parts:
        validation.of_definition(type_name(name) + part.capitalize()).validate(with_numbers(said))

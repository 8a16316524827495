"""Errors say what was wrong in the wire's words, and quote no more of what was sent than helps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mandrake_sessions.model import TurnStatus
from mandrake_sessions.protocol.methods import METHODS, Access
from strict import StrictSyncClient, Talk, connected
from wire import Conversation, Message, Wire, serving

LONG = "x" * 1_000_000
MOST = 8000
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
SNAKE = re.compile(r"\b(?!tool_output\b|requires_action\b)[a-z]+_[a-z_]+\b")


def check(error: Message) -> None:
    assert len(json.dumps(error)) < MOST
    assert not SNAKE.search(error["message"]), error["message"]
    for value in error["data"].values():
        assert not isinstance(value, str) or len(value) <= 200 or "/" in value


def long_calls() -> list[tuple[str, Any]]:
    """Every method with a value of a megabyte in each of its fields, of each field's name, and of nothing known."""
    found: list[tuple[str, Any]] = []
    for name, method in METHODS.items():
        fields = [*method.params.__annotations__]
        found += [(name, {re.sub("_(.)", lambda m: m[1].upper(), field): LONG}) for field in fields]
        found += [(name, {LONG: 1})]
        if method.access not in (Access.STORES, Access.SERVICE, Access.UNSUBSCRIBE):
            found.append((name, {"workspace": "file:///" + LONG}))
    return found


def test_every_error_is_short_whatever_was_sent(wire: Wire) -> None:
    wire.let_be("window/logMessage")
    talk = Conversation(wire, externalId=LONG)
    turn = talk.turn()
    calls: list[tuple[str, Any]] = [
        *long_calls(),
        (LONG, {}),
        ("toolCall/delete", {"turnId": turn, "toolCallId": LONG}),
        ("session/create", {"externalId": LONG}),
        ("session/get", {"externalId": LONG + "y"}),
        ("turn/create", {"responseId": talk.response, "toolCalls": [{"id": "a", LONG: 1}]}),
        ("session/list", {"limit": 10**4000}),
        ("transaction/run", {"operations": [{"method": LONG}]}),
        ("transaction/run", {"operations": [{"method": "session/get", "params": {LONG: 1}}]}),
        ("turn/append", {"turnId": turn, "content": "a", "chunk": 10**17}),
    ]
    refused = 0
    for method, params in calls:
        answer = wire.answer(wire.post(method, **params))
        if "error" in answer:
            refused += 1
            check(answer["error"])
    assert refused > len(METHODS)
    wire.notify("turn/append", turnId=LONG, content="x")
    rejected = wire.notification("turn/rejected")
    assert len(json.dumps(rejected)) < MOST


@pytest.mark.parametrize(
    ("sent", "guess"), [("session/lists", "session/list"), ("turns/append", "turn/append"), ("nonsense", None)]
)
def test_an_unknown_method_is_told_where_the_names_are(client: StrictSyncClient, sent: str, guess: str | None) -> None:
    error = client.error(sent)
    assert "server/info" in error.message
    assert (f"Did you mean {guess!r}?" in error.message) if guess else ("mean" not in error.message)
    assert (guess or "session/list") in client.server_info().methods


def test_the_words_are_the_wires(client: StrictSyncClient) -> None:
    turn = Talk(client).turn(status=TurnStatus.COMPLETED)
    for method, params in (
        ("turn/append", {"turnId": turn}),
        ("turn/update", {"turnId": turn, "rawResponse": "x"}),
        ("turn/update", {"turnId": turn, "status": "streaming"}),
        ("session/get", {}),
        ("session/create", {"typo": 1}),
    ):
        error = client.error(method, **params)
        check({"message": error.message, "data": error.data})
    assert "unknown field; known are externalId, agent, source" in client.error("session/create", typo=1).message
    ended = client.error("turn/update", turnId=turn, status="streaming").data
    assert (ended["expected"], ended["actual"]) == ("streaming", "completed")


def test_ids_are_taken_in_any_case(client: StrictSyncClient) -> None:
    talk = Talk(client)
    turn = talk.turn()
    for kind in ("turn", "session"):
        begun = client.request(f"{kind}/subscribe")
        again = client.request(f"{kind}/subscribe", {"since": begun["seq"], "storeId": begun["storeId"].upper()})
        assert (again["reset"], again["storeId"]) == (False, begun["storeId"])
        for subscription in (begun, again):
            client.request(f"{kind}/unsubscribe", {"subscriptionId": subscription["subscriptionId"].upper()})
    for method, name, found in (
        ("session/get", "sessionId", talk.session),
        ("round/list", "sessionId", talk.session),
        ("request/get", "requestId", talk.request),
        ("response/status", "responseId", talk.response),
        ("turn/get", "turnId", turn),
    ):
        assert found in json.dumps(client.request(method, {name: found.upper()}))
    error = client.error("turn/get", turnId=UNKNOWN.upper())
    assert error.data["id"] == UNKNOWN


@pytest.mark.parametrize(
    ("method", "params", "said"),
    [
        ("session/list", {"limt": 1}, "params.limt: unknown field; did you mean 'limit'?"),
        ("session/list", {"scop": "system"}, "did you mean 'scope'?"),
        ("session/query", {}, "There are session/create, session/get, "),
        ("server/info", {"scope": "all"}, "params.scope: unknown field"),
        ("store/list", {"workspace": "file:///a"}, "params.workspace: unknown field"),
        ("session/create", {"store": UNKNOWN}, "params.store: "),
        ("session/get", {"stor": UNKNOWN}, "did you mean 'store'?"),
        ("session/get", {"session_id": UNKNOWN}, "did you mean 'sessionId'?"),
        ("turn/create", {"responseId": UNKNOWN, "toolCalls": [{"id": "a", "titel": "b"}]}, "did you mean 'title'?"),
        ("session/get", {}, "params: give sessionId or externalId"),
        ("session/get", {"agent": "a"}, "params: give sessionId or externalId; agent alone names no session"),
        ("session/get", {"sessionId": UNKNOWN, "externalId": "a"}, "params: give sessionId or externalId, not both"),
        ("session/get", {"sessionId": UNKNOWN, "agent": "a"}, "params.agent: goes with externalId, not with sessionId"),
        ("round/create", {"session_id": UNKNOWN}, "params.session_id: unknown field; did you mean 'sessionId'?"),
        ("round/create", {"foo": 1, "content": "a"}, "params.foo: unknown field; sessionId is missing"),
        ("round/create", {"foo": 1}, "params.foo: unknown field; content and sessionId are missing"),
        ("session/delete", {"id": UNKNOWN}, "params.id: unknown field; did you mean 'sessionId'?"),
        ("session/get", {"id": UNKNOWN}, "params.id: unknown field; did you mean 'sessionId'?"),
        ("session/search", {"query": "a", "id": UNKNOWN}, "params.id: unknown field; did you mean 'sessionId'?"),
        ("round/update", {"ID": UNKNOWN, "metadata": {}}, "params.ID: unknown field; did you mean 'roundId'?"),
        ("toolCall/delete", {"turnId": UNKNOWN, "id": "a"}, "params.id: unknown field; did you mean 'toolCallId'?"),
        ("turn/unsubscribe", {"id": UNKNOWN}, "params.id: unknown field; did you mean 'subscriptionId'?"),
        ("session/list", {"scope": "bogus"}, "params.scope: must be one of workspace, system, all, not 'bogus'"),
        ("session/create", {"scope": "bogus"}, "params.scope: must be one of workspace, system, not 'bogus'"),
        ("session/create", {"scope": "all"}, "params.scope: must be one of workspace, system, not 'all'; all is for "),
        (
            "session/list",
            {"scope": "all", "workspace": "file:///a"},
            'params.workspace: cannot be given beside scope "all", which means every store; leave out workspace or',
        ),
        (
            "session/list",
            {"scope": "workspace", "store": UNKNOWN},
            "params.scope: cannot be given beside store, which names one store by its id; leave out scope or store",
        ),
        ("turn/unsubscribe", {"subscriptionId": UNKNOWN}, "this connection"),
    ],
)
def test_an_error_names_the_next_step(client: StrictSyncClient, method: str, params: Message, said: str) -> None:
    assert said in client.error(method, **params).message


def test_a_message_on_several_lines_is_told_to_be_one(workspace: Path) -> None:
    with serving(workspace) as wire:
        pretty = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "session/list"}, indent=2)
        wire.send_bytes(pretty.encode() + b"\n")
        for _ in pretty.splitlines():
            assert wire.answer(None)["error"]["message"].endswith("send each message on one line")
        wire.send_bytes(b'{"jsonrpc":"2.0","id":2,"method":}\n')
        assert "line;" not in wire.answer(2)["error"]["message"]
        assert "one line" not in wire.error("session/list", limit=0)["message"]


def test_an_option_that_is_no_setting_is_told(workspace: Path) -> None:
    options = {"durabilty": "full", "_mine": 1, "busyTimeout": 1}
    told = "initializationOptions.durabilty is no setting, and is ignored; did you mean 'durability'?"
    with connected(workspace) as client:
        client.initialize(initializationOptions=options)
        assert client.told("window/logMessage")["message"] == told
    with serving(workspace) as wire:
        wire.request("initialize", processId=None, rootUri=None, capabilities={}, initializationOptions=options)
        wire.let_be("server/healthChanged")
    assert wire.stderr.count(told) == 1


def test_a_folder_that_is_none_is_told(workspace: Path, tmp_path: Path) -> None:
    """The editor would work in another store than it means."""
    path = str(tmp_path / "a folder")
    with connected(workspace) as client:
        client.initialize(workspaceFolders=[{"uri": path, "name": "a"}, {"uri": "untitled:b", "name": "b"}])
        told = [client.told("window/logMessage")["message"] for _ in range(2)]
        assert told == [
            f"the workspace folder {path!r} is no file: URI, such as {Path(path).as_uri()}, and is ignored",
            "the workspace folder 'untitled:b' is no file: URI, and is ignored",
        ]
        event = {"added": [{"uri": "http://c", "name": "c"}], "removed": []}
        client.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        assert "'http://c' is no file: URI" in client.told("window/logMessage")["message"]


def test_a_path_in_place_of_the_uri_of_a_folder(workspace: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    with connected(workspace) as client:
        client.initialize(workspaceFolders=[{"uri": folder.as_uri(), "name": "folder"}])
        for _ in range(2):
            error = client.error("session/list", workspace=str(folder))
            assert error.data["kind"] == "workspaceNotFound"
            assert error.message.endswith(f"{folder} is a path; send its URI, {folder.as_uri()}")
            assert client.request("session/list", {"workspace": folder.as_uri()})["sessions"] == []
        for name in (str(other), other.as_uri()):
            error = client.error("session/list", workspace=name)
            assert error.data["kind"] == "workspaceNotFound"
            assert f"{name} is not a folder of this client; name it in initialize or in workspace/did" in error.message


def test_the_spellings_of_a_folder_are_one_store(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    uri = folder.as_uri()
    spellings = [
        uri, uri + "/", uri + "?query", uri + "#fragment", uri + "/.", uri + "/sub/..",
        uri.replace("file:///", "file:////"),
        uri.replace("file:///", "FILE:///"), uri.replace("file:///", "file://localhost/"),
        uri.replace("a%20f", "%61%20f"),
        uri.replace("file:///", "file://LOCALHOST/"),
    ]  # fmt: skip
    with connected(workspace) as client:
        client.initialize(workspaceFolders=[{"uri": workspace.as_uri(), "name": "a"}, {"uri": uri, "name": "b"}])
        made = client.session_create(where={"workspace": uri})
        for spelling in spellings:
            assert client.session_list(where={"workspace": spelling}).sessions == [made], spelling
            operations = [{"method": "turn/delete", "params": {"turnId": UNKNOWN, "workspace": spelling}}]
            error = client.error("transaction/run", workspace=uri, operations=operations)
            assert error.kind == "notFound", spelling
        assert len(client.server_info().stores) == 2

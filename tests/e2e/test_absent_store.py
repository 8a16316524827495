"""A store that is not there yet: reads and subscriptions say that it is empty, and make nothing. A write makes it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mandrake_sessions.model import SearchPage, SessionPage
from mandrake_sessions.protocol.methods import METHODS, Access
from strict import StrictSyncClient, Talk, connected, read_all
from wire import Conversation, Message, serving, store_of

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
# What each method that names an entity needs beside the id.
MORE: dict[str, Message] = {
    "session/search": {"query": "x"},
    "session/export": {"format": "jsonl"},
    "round/create": {"content": "?"},
    "round/update": {"metadata": {}},
    "response/update": {"status": "completed"},
    "turn/append": {"content": "x"},
    "toolCall/upsert": {"toolCall": {"id": "a"}},
    "toolCall/delete": {"toolCallId": "a"},
}
# The first id that each of these needs; all are notFound.
ABOUT_AN_ENTITY = {
    name: next(iter(method.params.__required_keys__ & {f"{e}_id" for e in ENTITIES}), "session_id")
    for ENTITIES in [("session", "round", "request", "response", "turn")]
    for name, method in METHODS.items()
    if method.access not in (Access.STORES, Access.SERVICE, Access.UNSUBSCRIBE)
    and name not in ("session/create", "session/list", "session/usage", "turn/subscribe", "session/subscribe")
    and name != "transaction/run"
}


def files(workspace: Path) -> list[str]:
    return sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.name != ".git")


def camel(name: str) -> str:
    return name.replace("_id", "Id")


@pytest.mark.parametrize("flags", [(), ("--database", "deep/er/own.sqlite")], ids=["workspace", "database"])
def test_no_read_and_no_write_of_what_is_not_there_makes_anything(workspace: Path, flags: tuple[str, ...]) -> None:
    before = files(workspace)
    with connected(workspace, *flags) as client:
        client.initialize(rootUri=workspace.as_uri())
        page = client.session_list()
        assert page == SessionPage(sessions=[], next_cursor=None, seq=0, store_id=None)
        assert client.session_list(query="Ä", where={"scope": "system"}).store_id is None
        nothing = client.session_usage()
        assert (nothing.totals, nothing.rounds, nothing.groups) == ([], 0, None)
        assert client.session_usage(group_by="day").groups == []
        found = client.session_search(query="anything")
        assert found == SearchPage(hits=[], next_cursor=None, seq=0, store_id=None, pending=0)
        for method, name in ABOUT_AN_ENTITY.items():
            error = client.error(method, **{camel(name): ID}, **MORE.get(method, {}))
            assert (error.code, error.data["id"]) == (-32010, ID), method
            assert error.data["entity"] == name.removesuffix("_id"), method
        assert client.error("session/get", externalId="x").code == -32010
        assert client.transaction_run(operations=[]).results == []
        operations = [{"method": "turn/delete", "params": {"turnId": ID}}, {"method": "session/create"}]
        assert client.error("transaction/run", operations=operations).data["operation"] == 0
        client.let_be("window/logMessage")
        client.notify("turn/append", {"turnId": ID, "content": "x"})
        assert client.told("turn/rejected").error["data"]["kind"] == "notFound"
        # What is wrong with a call is said as ever.
        for method, params in (("session/create", {"metadata": 1}), ("session/list", {"limit": 0})):
            assert client.error(method, **params).code == -32602
        for kind in ("turn", "session"):
            subscription = client.request(f"{kind}/subscribe")
            assert (subscription["seq"], subscription["storeId"], subscription["reset"]) == (0, None, False)
            assert client.error(f"{kind}/subscribe", sessionId=ID).code == -32010
            client.request(f"{kind}/unsubscribe", {"subscriptionId": subscription["subscriptionId"]})
            assert client.error(f"{kind}/unsubscribe", subscriptionId=subscription["subscriptionId"]).code == -32010
        (store,) = [s for s in client.server_health().stores if s.scope == "workspace"]
        assert (store.open, store.status, store.store_id) == (False, "ok", None)
        assert {s.store_id for s in client.server_info().stores} == {None}
    assert files(workspace) == before


def test_a_write_that_could_not_make_it_leaves_it_empty_for_reads(workspace: Path) -> None:
    """Those that were sent in one burst with the write too, and a subscription that waits goes on waiting."""
    (workspace / ".ws").write_text("a file")
    with serving(workspace) as wire:
        wire.request("turn/subscribe")
        sent = ["session/create", "session/list", "turn/subscribe", "session/create", "session/list"]
        messages = [{"jsonrpc": "2.0", "id": f"b{n}", "method": method} for n, method in enumerate(sent)]
        wire.send_bytes(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
        for position, method in enumerate(sent):
            answer = wire.answer(f"b{position}")
            if method == "session/create":
                assert answer["error"]["data"]["reason"] == "createDirectory"
            else:
                assert answer["result"]["storeId"] is None
        assert wire.notification("server/healthChanged")["status"] == "down"
        (workspace / ".ws").unlink()
        wire.let_be("server/healthChanged")
        assert wire.request("session/list")["sessions"] == []
        created = wire.request("session/create")
        conversation = Conversation(wire)
        turn = conversation.turn()
        told = [wire.notification() for _ in range(2)]
        assert created["id"]
        assert {update["turnId"] for update in told} == {turn}


def test_the_first_write_makes_it_with_its_directories(workspace: Path) -> None:
    with connected(workspace, "--database", "deep/er/own.sqlite") as client:
        client.session_list()
        client.transaction_run(operations=[{"method": "session/create", "params": {"title": "first"}}])
        page = client.session_list()
        assert ([s.title for s in page.sessions], page.seq) == (["first"], 1)
        assert page.store_id is not None
    assert (workspace / "deep" / "er" / "own.sqlite").exists()


@pytest.mark.parametrize("method", ["session/list", "session/create", "turn/subscribe", "transaction/run"])
@pytest.mark.parametrize("how", ["flag", "initialize"])
def test_a_mistyped_workspace_is_refused_and_not_made(workspace: Path, method: str, how: str) -> None:
    missing = workspace / "no" / "such"
    flags = ("--workspace", str(missing)) if how == "flag" else ()
    with connected(workspace, *flags) as client:
        client.initialize(**({"rootUri": missing.as_uri()} if how == "initialize" else {}))
        params: dict[str, Any] = {"operations": []} if method == "transaction/run" else {}
        error = client.error(method, **params)
        assert (error.code, error.kind) == (-32014, "workspaceNotFound")
        assert error.data["workspace"] == str(missing)
        assert str(missing) in str(error)
        assert client.session_list(where={"scope": "system"}).sessions == []
        missing.mkdir(parents=True)
        assert client.session_list().sessions == []
        (missing / ".ws").write_text("")
        assert client.error("session/create").data["reason"] == "createDirectory"
        assert str(missing) in client.told("window/logMessage")["message"]
        client.let_be("server/healthChanged")
    assert files(workspace) == ["no", "no/such", "no/such/.ws"]


def test_a_workspace_that_is_a_file_is_refused(workspace: Path) -> None:
    (workspace / "file").write_text("")
    with connected(workspace, "--workspace", "file") as client:
        assert client.error("session/create").kind == "workspaceNotFound"


@pytest.mark.parametrize(
    ("since", "reset"), [({}, False), ({"since": 0}, False), ({"since": 7}, True), ({"since": 0, "storeId": ID}, True)]
)
@pytest.mark.parametrize("maker", ["this connection", "another process"])
def test_a_subscription_waits_for_the_birth(workspace: Path, since: Message, reset: bool, maker: str) -> None:
    """All is told from the first change on, whoever makes the store."""
    with connected(workspace) as other, connected(workspace) as client:
        turns, sessions = (client.followed(f"{kind}/subscribe", **since) for kind in ("turn", "session"))
        for begun in turns.begun, sessions.begun:
            assert (begun["seq"], begun["storeId"], begun["reset"]) == (0, None, reset)
        assert files(workspace) == []
        writer = client if maker == "this connection" else other
        talk = Talk(writer)
        turn = talk.turn(content="begun ")
        last = writer.turn_append(turn_id=turn, content="and on")
        title = writer.session_update(session_id=talk.session, title="at last")
        told = read_all(sessions, title.seq)
        assert told[-1].session.title == "at last"
        # Neighbouring ones of the last kind may have been joined.
        assert [p.kind for p in told[:3]] == ["created", "roundCreated", "updated"]
        assert [p.seq for p in told[:2]] == [1, 2]
        pieces = read_all(turns, last.seq)
        assert [p.kind for p in pieces] == ["created", "appended"]
        assert {p.turn_id for p in pieces} == {turn}


def test_an_empty_file_is_no_store_yet(workspace: Path) -> None:
    """Another process has just made it, or somebody has touched it: nothing is written to it by reading."""
    store_of(workspace).parent.mkdir()
    store_of(workspace).touch()
    with connected(workspace) as client:
        changes = client.followed("session/subscribe")
        assert client.session_list().store_id is None
        assert store_of(workspace).stat().st_size == 0
        client.session_create()
        assert next(changes).seq == 1


def test_a_foreign_file_ends_waiting_subscriptions(workspace: Path) -> None:
    with connected(workspace) as client:
        changes = client.followed("turn/subscribe")
        store_of(workspace).parent.mkdir()
        store_of(workspace).write_bytes(b"no database, but a text of some length " * 100)
        ended = changes.ended()
        assert (ended["subscriptionId"], ended["reason"]) == (changes.begun["subscriptionId"], "closed")
        assert client.error("session/list").kind == "storage"
        client.let_be("server/healthChanged")


def test_removing_a_folder_ends_requests_that_wait_for_its_store(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    entry = {"uri": folder.as_uri(), "name": "folder"}
    with connected(workspace) as client:
        client.initialize(workspaceFolders=[{"uri": workspace.as_uri(), "name": "first"}, entry])
        changes = client.followed("turn/subscribe", workspace=folder.as_uri())
        client.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": [entry]}})
        assert changes.ended()["reason"] == "closed"
        assert client.error("session/list", workspace=folder.as_uri()).kind == "workspaceNotFound"


@pytest.mark.parametrize("times", [1, 3])
def test_a_folder_that_goes_and_comes_in_one_burst_keeps_its_store(workspace: Path, tmp_path: Path, times: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    entry, name = {"uri": folder.as_uri(), "name": "folder"}, folder.as_uri()
    goes: Message = {"event": {"added": [], "removed": [entry]}}
    comes: Message = {"event": {"added": [entry], "removed": []}}
    event = "workspace/didChangeWorkspaceFolders"
    with serving(workspace) as wire:
        wire.initialize(workspaceFolders=[{"uri": workspace.as_uri(), "name": "first"}, entry])
        session = wire.request("session/create", workspace=name, title="before")
        wire.request("session/subscribe", workspace=name)
        ask: Message = {"id": 1000, "method": "session/get", "params": {"sessionId": session["id"], "workspace": name}}
        messages = [*[{"method": event, "params": params} for params in (goes, comes) * times], ask]
        wire.send_bytes(b"".join(wire.frame(json.dumps({"jsonrpc": "2.0", **m}).encode()) for m in messages))
        assert wire.result(1000)["title"] == "before"
        made = wire.request("session/create", workspace=name, title="after")
        # Those who follow it go on to hear of it.
        assert wire.notification("session/updated")["sessionId"] == made["id"]
        (store,) = [one for one in wire.request("server/health")["stores"] if one["workspace"] == str(folder)]
        assert (store["open"], store["reconnects"]) == (True, 0)


@pytest.mark.parametrize("request_comes", [False, True])
def test_a_store_that_is_deleted_is_not_made_again_by_looking_after_it(workspace: Path, request_comes: bool) -> None:
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        client.session_create()
        first = client.followed("turn/subscribe")
        shutil.rmtree(workspace / ".ws")
        if request_comes:
            assert client.session_list().store_id is None
        assert first.ended()["reason"] == "closed"
        client.wait_for_log("was deleted or moved")
        second = client.followed("turn/subscribe")
        assert (second.begun["seq"], second.begun["storeId"]) == (0, None)
        assert files(workspace) == []
        turn = Talk(client).turn()
        assert next(second).turn_id == turn
    assert os.path.exists(store_of(workspace))  # noqa: PTH110


def test_also_by_two_thousand_reads_at_once(workspace: Path, client: StrictSyncClient) -> None:
    sent = [client.submit("session/list") for _ in range(1000)]
    sent += [client.submit("turn/get", {"turnId": ID}) for _ in range(1000)]
    assert [reply.exception() is not None for reply in sent] == [False] * 1000 + [True] * 1000
    assert files(workspace) == []

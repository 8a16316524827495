"""The editor's side, as an editor's library speaks it: pytest-lsp's client over LSP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidRequest, JsonRpcMethodNotFound
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities, make_test_lsp_client


def _client() -> LanguageClient:
    client = make_test_lsp_client()
    client.updates = []  # type: ignore[attr-defined]

    @client.feature("turn/updated")
    def _(ls: LanguageClient, params: Any) -> None:
        ls.updates.append(params)  # type: ignore[attr-defined]

    return client


@pytest_lsp.fixture(
    config=ClientServerConfig(server_command=[sys.executable, "-m", "mandrake_sessions"], client_factory=_client)
)
async def client(lsp_client: LanguageClient, tmp_path: Path) -> AsyncIterator[None]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    folders = [types.WorkspaceFolder(uri=(tmp_path / name).as_uri(), name=name) for name in ("one", "two")]
    result = await lsp_client.initialize_session(
        types.InitializeParams(capabilities=client_capabilities("neovim"), workspace_folders=folders)
    )
    assert result.server_info is not None
    assert result.server_info.name == "mandrake-sessions"
    assert result.capabilities.experimental is not None
    promised = result.capabilities.experimental["mandrakeSessions"]
    assert promised["protocolVersion"] == 2
    assert "turn/append" in promised["methods"]
    assert "turn/updated" in promised["notifications"]
    assert result.capabilities.workspace is not None
    yield
    await lsp_client.shutdown_session()


async def ask(client: LanguageClient, method: str, **params: Any) -> Any:
    return await client.protocol.send_request_async(method, params)


async def test_an_editor_stores_and_follows_a_conversation(client: LanguageClient, tmp_path: Path) -> None:
    session = await ask(client, "session/create", title="from an editor")
    made = await ask(client, "round/create", sessionId=session.id, content="?")
    await ask(client, "turn/subscribe", sessionId=session.id)
    turn = await ask(client, "turn/create", responseId=made.response.id)
    for piece in ("alpha ", "beta"):
        await ask(client, "turn/append", turnId=turn.id, content=piece)
    while len(client.updates) < 3:  # type: ignore[attr-defined]
        await client.wait_for_notification("turn/updated")
    assert [update.kind for update in client.updates] == ["created", "appended", "appended"]  # type: ignore[attr-defined]
    assert (tmp_path / "one" / ".ws" / "db.sqlite").exists()


async def test_each_folder_has_its_own_store(client: LanguageClient, tmp_path: Path) -> None:
    two = (tmp_path / "two").as_uri()
    there = await ask(client, "session/create", title="there", workspace=two)
    here = await ask(client, "session/list")
    assert here.sessions == []
    assert (await ask(client, "session/list", workspace=two)).sessions[0].id == there.id
    removed = [types.WorkspaceFolder(uri=two, name="two")]
    client.workspace_did_change_workspace_folders(
        types.DidChangeWorkspaceFoldersParams(types.WorkspaceFoldersChangeEvent(added=[], removed=removed))
    )
    with pytest.raises(JsonRpcException) as refused:
        await ask(client, "session/list", workspace=two)
    assert refused.value.code == -32014
    added = [types.WorkspaceFolder(uri=two, name="two")]
    client.workspace_did_change_workspace_folders(
        types.DidChangeWorkspaceFoldersParams(types.WorkspaceFoldersChangeEvent(added=added, removed=[]))
    )
    assert (await ask(client, "session/list", workspace=two)).sessions[0].id == there.id


async def test_a_folder_that_goes_ends_its_subscriptions(client: LanguageClient, tmp_path: Path) -> None:
    two = (tmp_path / "two").as_uri()
    following = await ask(client, "turn/subscribe", workspace=two)
    client.workspace_did_change_workspace_folders(
        types.DidChangeWorkspaceFoldersParams(
            types.WorkspaceFoldersChangeEvent(added=[], removed=[types.WorkspaceFolder(uri=two, name="two")])
        )
    )
    ended = await client.wait_for_notification("subscription/ended")
    assert (ended.subscriptionId, ended.reason) == (following.subscriptionId, "closed")


async def test_unknown_methods_and_commands_and_a_second_initialize_are_errors(client: LanguageClient) -> None:
    with pytest.raises(JsonRpcMethodNotFound):
        await ask(client, "no/such")
    with pytest.raises(JsonRpcException, match="there is no command 'nothing'"):
        await client.workspace_execute_command_async(types.ExecuteCommandParams(command="nothing"))
    with pytest.raises(JsonRpcInvalidRequest):
        await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))

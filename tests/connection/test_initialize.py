"""``initialize`` is answered without pygls: with what pygls answers, and to the params that pygls takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lsprotocol import converters, types
from pytest_lsp import client_capabilities

from mandrake_sessions.connection.initialize import check_folders, check_initialize, initialize_result
from mandrake_sessions.lsp import make_server
from mandrake_sessions.protocol.errors import InvalidParams

FILE_OPERATIONS = {f"{tense}{what}": True for tense in ("will", "did") for what in ("Create", "Rename", "Delete")} | {
    "dynamicRegistration": True
}
CAPABILITIES: dict[str, dict[str, Any]] = {
    "none": {},
    "nulls": dict.fromkeys(("workspace", "textDocument", "notebookDocument", "window", "general")),
    "no encodings": {"general": {"positionEncodings": []}},
    "an encoding": {"general": {"positionEncodings": ["utf-32"]}},
    "several encodings": {"general": {"positionEncodings": ["utf-7", "utf-8", "utf-16"]}},
    "unknown encodings": {"general": {"positionEncodings": ["utf-7"]}},
    "notebooks": {"notebookDocument": {"synchronization": {"dynamicRegistration": True}}},
    "file operations": {"workspace": {"fileOperations": FILE_OPERATIONS, "workspaceFolders": True}},
    "renaming": {"textDocument": {"rename": {"prepareSupport": True}, "synchronization": {"willSave": True}}},
    "empty arrays": {"general": [], "window": [], "workspace": []},
    "unknown": {"experimental": {"a": [1]}, "nobody": {"knows": True}},
}


def of_editor(name: str) -> dict[str, Any]:
    """What an editor says that it can do, as pytest-lsp recorded it."""
    told: dict[str, Any] = converters.get_converter().unstructure(client_capabilities(name))
    return told


def answer_of_pygls(method: str, params: Any) -> dict[str, Any]:
    """The message with which pygls answers."""
    answers: list[dict[str, Any]] = []

    class Writer:
        def write(self, data: bytes) -> None:
            answers.append(json.loads(data))

        def close(self) -> None:
            pass

    protocol = make_server().protocol
    protocol.set_writer(Writer(), include_headers=False)
    protocol.handle_message(protocol.structure_message({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    (answer,) = answers
    return answer


def is_taken_by_pygls(method: str, params: Any) -> bool:
    try:
        make_server().protocol.structure_message({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    "capabilities",
    [*CAPABILITIES.values(), *map(of_editor, ("neovim", "visual_studio_code", "emacs"))],
    ids=[*CAPABILITIES, "Neovim", "VS Code", "Emacs"],
)
def test_it_is_the_answer_of_pygls_and_our_own_capabilities(capabilities: dict[str, Any]) -> None:
    params = {"processId": None, "rootUri": None, "capabilities": capabilities}
    check_initialize(params)
    ours = initialize_result(params)
    assert set(ours["capabilities"].pop("experimental")) == {"mandrakeSessions"}
    theirs = answer_of_pygls(types.INITIALIZE, params)["result"]
    # It says how it wants to hear of documents, though it was told to want none.
    assert theirs["capabilities"].pop("textDocumentSync")["change"] == 0
    assert ours == theirs


FOLDER = {"uri": "file:///a", "name": "a"}
WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "capabilities": ("capabilities", {"capabilities": None}),
    "a section": ("capabilities.workspace", {"capabilities": {"workspace": 5}}),
    "encodings": ("capabilities.general.positionEncodings", {"capabilities": {"general": {"positionEncodings": 5}}}),
    "processId": ("processId", {"processId": {}}),
    "clientInfo": ("clientInfo", {"clientInfo": "editor"}),
    "no name": ("clientInfo.name", {"clientInfo": {}}),
    "folders": ("workspaceFolders", {"workspaceFolders": 5}),
    "a folder": ("workspaceFolders[1]", {"workspaceFolders": [FOLDER, 5]}),
    "no uri": ("workspaceFolders[0].uri", {"workspaceFolders": [{"name": "a"}]}),
    "no name of a folder": ("workspaceFolders[0].name", {"workspaceFolders": [{"uri": "file:///a"}]}),
}


@pytest.mark.parametrize(("path", "wrong"), WRONG.values(), ids=WRONG)
def test_what_pygls_rejects_is_rejected(path: str, wrong: dict[str, Any]) -> None:
    params = {"processId": None, "rootUri": None, "capabilities": {}, **wrong}
    with pytest.raises(InvalidParams) as rejected:
        check_initialize(params)
    assert rejected.value.path == path
    assert not is_taken_by_pygls(types.INITIALIZE, params)


@pytest.mark.parametrize(
    "right",
    [
        {"clientInfo": {"name": "editor", "version": None}, "locale": "en", "workDoneToken": 5},
        {"workspaceFolders": None, "rootPath": None, "clientInfo": None, "locale": None, "workDoneToken": None},
        {"workspaceFolders": [FOLDER], "rootUri": "file:///a", "rootPath": "/a", "workDoneToken": "x"},
        {"workspaceFolders": [], "initializationOptions": [1], "nobody": "knows"},
        {"workspaceFolders": [{"uri": 5, "name": None}], "locale": 5, "clientInfo": {"name": 5, "version": 5}},
    ],
)
def test_what_pygls_takes_is_taken(right: dict[str, Any]) -> None:
    params = {"processId": 1, "rootUri": None, "capabilities": {}, **right}
    check_initialize(params)
    assert is_taken_by_pygls(types.INITIALIZE, params)


@pytest.mark.parametrize(
    ("folders", "path"),
    [
        (None, "added"),
        (5, "added"),
        ({"a": 1}, "added"),
        ([5], "added[0]"),
        ([FOLDER, {"uri": "file:///b"}], "added[1].name"),
        ([{"name": "b"}], "added[0].uri"),
        ([], None),
        ({}, None),
        ([{"uri": None, "name": "b"}], None),
        ([FOLDER], None),
        ([{**FOLDER, "more": 1}], None),
    ],
)
def test_a_change_of_folders_is_taken_where_pygls_takes_it(folders: Any, path: str | None) -> None:
    params = {"event": {"added": folders, "removed": []}}
    method = types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS
    protocol = make_server().protocol
    if path is None:
        check_folders(folders, "added")
        protocol.structure_message({"jsonrpc": "2.0", "method": method, "params": params})
        return
    with pytest.raises(InvalidParams) as rejected:
        check_folders(folders, "added")
    assert rejected.value.path == path
    with pytest.raises(Exception):  # noqa: B017
        protocol.structure_message({"jsonrpc": "2.0", "method": method, "params": params})

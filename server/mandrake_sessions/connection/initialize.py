"""``initialize``: the check of its params, and its answer.

The answer is made here and not by pygls, since importing the types of LSP takes longer than everything else at
start-up. It equals what pygls answers for a server that asks for no documents (``tests/connection/test_initialize.py``
compares the two). pygls is loaded after it, so params that it would reject have to be rejected here; of the client's
capabilities that is true for those that this server looks at.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mandrake_sessions.protocol.errors import InvalidParams
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, PROTOCOL_VERSION
from mandrake_sessions.quoting import must_be
from mandrake_sessions.version import __version__
from mandrake_sessions.workspaces import PathUnknown, absolute

_ENCODINGS = ("utf-8", "utf-16", "utf-32")
# What LSP says that a server speaks unless it says otherwise.
_USUAL_ENCODING = "utf-16"
_SECTIONS = ("workspace", "textDocument", "notebookDocument", "window", "general")
# Each may be null or left out.
_FIELDS: tuple[tuple[str, type, str], ...] = (
    ("rootUri", str, "a URI"),
    ("rootPath", str, "a path"),
    ("workspaceFolders", list, "an array"),
    ("clientInfo", dict, "an object"),
)


def check_initialize(params: dict[str, Any]) -> None:
    """Raises InvalidParams."""
    capabilities = params.get("capabilities")
    if not isinstance(capabilities, dict):
        raise InvalidParams("capabilities", f"{must_be('an object', capabilities)}; {{}} will do")
    for section in _SECTIONS:
        # Languages without a type for empty objects send an empty array.
        _check(capabilities, section, (dict, list), "an object", "capabilities.")
    for name, kind, word in _FIELDS:
        _check(params, name, kind, word)
    if (client := params.get("clientInfo")) is not None and "name" not in client:
        raise InvalidParams("clientInfo.name", "is missing")
    process_id = params.get("processId")
    if process_id is not None and (not isinstance(process_id, int) or not 0 <= process_id < 2**31):
        raise InvalidParams("processId", must_be("the id of a process or null", process_id))
    check_folders(params.get("workspaceFolders") or [], "workspaceFolders")
    _check(_general(capabilities), "positionEncodings", list, "an array", "capabilities.general.")


def check_folders(folders: Any, path: str) -> None:
    """Raises InvalidParams unless it is an array of LSP's ``WorkspaceFolder``, or an empty object in its place."""
    if not isinstance(folders, list) and folders != {}:
        raise InvalidParams(path, must_be("an array", folders))
    for number, folder in enumerate(folders):
        if not isinstance(folder, dict):
            raise InvalidParams(f"{path}[{number}]", must_be("an object", folder))
        for name in ("uri", "name"):
            if name not in folder:
                raise InvalidParams(f"{path}[{number}].{name}", "is missing")


def folder_uris(folders: Any) -> list[str]:
    """The URIs of folders that ``check_folders`` has passed, or of none."""
    return [folder["uri"] for folder in folders or [] if isinstance(folder["uri"], str)]


def named_folders(params: dict[str, Any]) -> list[str]:
    """The URIs of the workspace folders, by the first of the three ways that the client uses."""
    if folders := folder_uris(params.get("workspaceFolders")):
        return folders
    if isinstance(root := params.get("rootUri"), str):
        return [root]
    if isinstance(root := params.get("rootPath"), str):
        # A relative one means nothing where the working directory is gone.
        with suppress(PathUnknown):
            return [absolute(root).as_uri()]
    return []


def initialize_result(params: dict[str, Any]) -> dict[str, Any]:
    """The answer to params that ``check_initialize`` has passed."""
    return {
        "capabilities": {
            "positionEncoding": _position_encoding(params["capabilities"]),
            "executeCommandProvider": {"commands": []},
            "workspace": {
                "workspaceFolders": {"supported": True, "changeNotifications": True},
                "fileOperations": {},
            },
            "experimental": {
                "mandrakeSessions": {
                    "protocolVersion": PROTOCOL_VERSION,
                    "methods": list(METHODS),
                    "notifications": [notification.name for notification in NOTIFICATIONS],
                }
            },
        },
        "serverInfo": {"name": "mandrake-sessions", "version": __version__},
    }


def _position_encoding(capabilities: dict[str, Any]) -> str:
    """The first that the client prefers and LSP knows."""
    preferred = _general(capabilities).get("positionEncodings") or []
    return next((encoding for encoding in preferred if encoding in _ENCODINGS), _USUAL_ENCODING)


def _general(capabilities: dict[str, Any]) -> dict[str, Any]:
    general = capabilities.get("general")
    return general if isinstance(general, dict) else {}


def _check(given: dict[str, Any], name: str, kinds: type | tuple[type, ...], word: str, before: str = "") -> None:
    """Raises InvalidParams where the field is there and of another type."""
    if given.get(name) is not None and not isinstance(given[name], kinds):
        raise InvalidParams(before + name, must_be(f"{word} or null", given[name]))

"""LSP through pygls: the only place that sees pygls and lsprotocol.

pygls answers, our connection transports: it is given a writer that leads to our door out, and messages that our
connection has parsed. Only its public surface is used (``protocol.set_writer``, ``structure_message``,
``handle_message``). Requests get ids of our own on the way in, so that an answer finds its call whatever ids the
client uses.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.language import REQUESTS
from mandrake_sessions.protocol.errors import INVALID_PARAMS, InvalidParams, RpcError
from mandrake_sessions.protocol.methods import METHODS, NOTIFICATIONS, PROTOCOL_VERSION
from mandrake_sessions.version import __version__

logger = logging.getLogger(__name__)

_KINDS = {-32600: "invalidRequest", -32601: "methodNotFound", -32800: "cancelled"}


class LanguageAdapter:
    """A pygls server without a transport. ``send`` takes the messages that are no answers to a call."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._ids = itertools.count(1)
        self._calls: dict[int, tuple[str, Call]] = {}
        self._server = _Server(
            "mandrake-sessions", __version__, text_document_sync_kind=types.TextDocumentSyncKind.None_
        )
        self._server.protocol.set_writer(_Writer(self._written), include_headers=False)

    def receive(self, name: str, call: Call, params: dict[str, Any]) -> None:
        """Hand a message to pygls; it answers at once or later. Raises InvalidParams."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": name, "params": params}
        if name == types.SHUTDOWN:
            # LSP gives it no params, and pygls takes none.
            message["params"] = None
        if call.is_request and name in REQUESTS:
            message["id"] = own_id = next(self._ids)
            self._calls[own_id] = (name, call)
        try:
            structured = self._server.protocol.structure_message(message)
        except Exception as error:
            self._calls.pop(message.get("id", 0), None)
            raise InvalidParams("", f"is not what LSP says of {name}: {_first_line(error)}") from None
        self._server.protocol.handle_message(structured)
        if not call.is_request or name not in REQUESTS:
            call.succeed(None)

    def _written(self, data: bytes) -> None:
        message = json.loads(data)
        found = None if "method" in message else self._calls.pop(message.get("id"), None)
        if found is None:
            self._send(message)
            return
        name, call = found
        if "error" in message:
            call.fail(_error(message["error"]))
            return
        if name == types.INITIALIZE:
            _add_experimental(message["result"])
        call.succeed(message.get("result"))


class _Server(LanguageServer):
    """pygls' own habit is to show every error of the server in the editor, with its insides."""

    def report_server_error(self, error: Exception, source: Any) -> None:
        _log_failure(f"the language server: {source.__name__}", error)


class _Writer:
    """What pygls writes to."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        self._written = written

    def write(self, data: bytes) -> None:
        self._written(data)

    def close(self) -> None:
        """The connection closes itself."""


def _error(error: dict[str, Any]) -> Exception:
    """pygls' error as one of ours: with the data that clients count on, and without what pygls adds."""
    code, reason = error["code"], error["message"]
    if code == INVALID_PARAMS:
        return InvalidParams("", reason)
    if code in _KINDS:
        return RpcError(code, _KINDS[code], reason)
    return RuntimeError(reason)


def _add_experimental(result: dict[str, Any]) -> None:
    """pygls' capability builder has no word for these, and says that it wants to hear of documents."""
    result["capabilities"].pop("textDocumentSync", None)
    result["capabilities"]["experimental"] = {
        "mandrakeSessions": {
            "protocolVersion": PROTOCOL_VERSION,
            "methods": list(METHODS),
            "notifications": [notification.name for notification in NOTIFICATIONS],
        }
    }
    workspace = result["capabilities"].setdefault("workspace", {})
    workspace["workspaceFolders"] = {"supported": True, "changeNotifications": True}


def _log_failure(what: str, error: Exception) -> None:
    """What an exception of pygls' says may quote the message."""
    logger.warning("%s: %s", what, type(error).__name__)
    logger.debug("%s: %s", what, error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""LSP through pygls: the only place that sees pygls and lsprotocol.

pygls answers, our connection transports: it is given a writer that leads to our outbound queue, and messages that our
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
from mandrake_sessions.protocol.errors import InvalidParams
from mandrake_sessions.transport.errors import INVALID_PARAMS, RpcError
from mandrake_sessions.version import __version__

logger = logging.getLogger(__name__)

_KINDS = {-32600: "invalidRequest", -32601: "methodNotFound", -32800: "cancelled"}


class LanguageAdapter:
    """A pygls server without a transport. ``send`` takes the messages that are no answers to a call."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._ids = itertools.count(1)
        self._calls: dict[int, Call | None] = {}
        self._server = make_server()
        self._server.protocol.set_writer(_Writer(self._written), include_headers=False)

    def initialize(self, params: dict[str, Any]) -> None:
        """Let pygls hear of the client, whose request is answered already. May be called on another thread.

        A client may say of itself what LSP has no words for: then it is one that can do nothing.
        """
        try:
            self._hand_over(types.INITIALIZE, params, next(self._ids), None)
        except InvalidParams as error:
            _log_failure("the capabilities of the client cannot be read", error)
            self._hand_over(types.INITIALIZE, {**params, "capabilities": {}}, next(self._ids), None)

    def tell(self, name: str, params: dict[str, Any]) -> None:
        """Hand a notification to pygls."""
        try:
            self._handle({"jsonrpc": "2.0", "method": name, "params": params})
        except InvalidParams as error:
            _log_failure(name, error)

    def ask(self, name: str, params: dict[str, Any], call: Call) -> None:
        """Hand a request to pygls; it answers at once or later."""
        try:
            self._hand_over(name, params, next(self._ids), call)
        except InvalidParams as error:
            call.fail(error)

    def _hand_over(self, name: str, params: dict[str, Any], own_id: int, call: Call | None) -> None:
        """A request; without a call nobody waits for its answer. Raises InvalidParams."""
        self._calls[own_id] = call
        try:
            # LSP gives `shutdown` no params, and pygls takes none.
            given = None if name == types.SHUTDOWN else params
            self._handle({"jsonrpc": "2.0", "id": own_id, "method": name, "params": given})
        except InvalidParams:
            del self._calls[own_id]
            raise

    def _handle(self, message: dict[str, Any]) -> None:
        """Raises InvalidParams."""
        try:
            structured = self._server.protocol.structure_message(message)
        except Exception as error:
            reason = f"is not what LSP says of {message['method']}: {_first_line(error)}"
            raise InvalidParams("", reason) from None
        self._server.protocol.handle_message(structured)

    def _written(self, data: bytes) -> None:
        message = json.loads(data)
        if "method" in message or message.get("id") not in self._calls:
            self._send(message)
            return
        call = self._calls.pop(message["id"])
        if call is None:
            return
        if "error" in message:
            call.fail(_error(message["error"]))
        else:
            call.succeed(message.get("result"))


def make_server() -> LanguageServer:
    """pygls as it is used here: without documents."""
    return _Server("mandrake-sessions", __version__, text_document_sync_kind=types.TextDocumentSyncKind.None_)


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


def _log_failure(what: str, error: Exception) -> None:
    """What an exception of pygls' says may quote the message."""
    logger.warning("%s: %s", what, type(error).__name__)
    logger.debug("%s: %s", what, error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""LSP on this connection: its life cycle, and the door to the language server, which is loaded when it is needed.

Importing pygls and lsprotocol takes longer than all else at start-up, so a script that sends no LSP never pays for it,
and a thread does it. What came after waits for it, since ``initialize`` says which stores are meant, but for what is
asked about the server itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.client_log import ClientLog
from mandrake_sessions.connection.outbound import Outbound
from mandrake_sessions.connection.trace import LEVELS
from mandrake_sessions.protocol.errors import InvalidParams, out_of_turn
from mandrake_sessions.quoting import shorten
from mandrake_sessions.settings import BadSetting, with_options
from mandrake_sessions.workspaces import PathUnknown, absolute

if TYPE_CHECKING:
    from mandrake_sessions.connection.server import Server
    from mandrake_sessions.lsp import LanguageAdapter

logger = logging.getLogger(__name__)

# What of LSP this server answers; anything else it does not have is methodNotFound, by our own hand.
LSP_METHODS = frozenset(
    {
        "initialize",
        "initialized",
        "shutdown",
        "exit",
        "$/setTrace",
        "workspace/didChangeWorkspaceFolders",
        "workspace/executeCommand",
        "window/workDoneProgress/cancel",
    }
)
REQUESTS = frozenset({"initialize", "shutdown", "workspace/executeCommand"})


class LanguageClient:
    """The client, as far as it speaks LSP."""

    def __init__(
        self, server: Server, given: frozenset[str], outbound: Outbound, on_loaded: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._on_loaded = on_loaded
        self._waiting: tuple[str, Call, dict[str, Any]] | None = None
        self._given = given
        self._log = ClientLog(outbound)
        self._adapter: LanguageAdapter | None = None
        self._initialized = False
        self.is_shut_down = False

    def knows(self, name: str) -> bool:
        return name in LSP_METHODS

    def receive(self, name: str, call: Call, params: Any) -> None:
        """A request or notification of LSP's."""
        if name == "exit":
            call.succeed(None)
            self._server.end(0 if self.is_shut_down else 1, why="the client said exit")
            return
        if name == "$/setTrace":
            self._set_trace(params.get("value") if isinstance(params, dict) else None)
            call.succeed(None)
            return
        if name == "window/workDoneProgress/cancel":
            # No work of ours has a token, so this is about work that nobody knows, or that is over.
            logger.debug("ignored a wish to cancel work that is not going on")
            call.succeed(None)
            return
        if name in REQUESTS and not call.is_request:
            logger.warning("ignored %s, which is a request, sent as a notification", name)
            call.succeed(None)
            return
        if name == "initialize" and self._initialized:
            raise out_of_turn("the server is initialized already")
        if name == "workspace/didChangeWorkspaceFolders" and not self._initialized:
            raise out_of_turn("the server is not initialized yet; send initialize first")
        if name == "workspace/executeCommand":
            raise _no_command(params)
        self._prepare(name, params)
        if self._adapter is not None:
            self._hand_over(self._adapter, name, call, params)
            return
        self._waiting = (name, call, params)
        threading.Thread(target=self._load, name="mandrake-sessions-lsp", daemon=True).start()

    @property
    def is_loading(self) -> bool:
        """Whether a message waits until the language server is loaded; those after it wait too, in their order."""
        return self._waiting is not None

    def close(self) -> None:
        """Tell the client nothing more of the log."""
        self._log.end()

    def response(self, message: dict[str, Any]) -> None:
        """An answer to a request: this server sends none."""
        logger.debug("ignored a response to no request: id %r", message.get("id"))

    def _load(self) -> None:
        """On a thread of its own."""
        failure: Exception | None = None
        try:
            import mandrake_sessions.lsp  # noqa: F401
        except Exception as error:
            failure = error
        # The loop may have ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loaded, failure)

    def _loaded(self, failure: Exception | None) -> None:
        """Hand over what has waited."""
        assert self._waiting is not None
        name, call, params = self._waiting
        self._waiting = None
        try:
            if failure is not None:
                raise failure
            from mandrake_sessions.lsp import LanguageAdapter

            self._adapter = LanguageAdapter(self._server.send)
            self._hand_over(self._adapter, name, call, params)
        except Exception as error:
            call.fail(error)
        self._on_loaded()

    def _hand_over(self, adapter: LanguageAdapter, name: str, call: Call, params: dict[str, Any]) -> None:
        adapter.receive(name, call, _without_trace(params))
        self._after(name, params)

    def _prepare(self, name: str, params: Any) -> None:
        """Take from the params what the stores need, before the answer goes out. Raises SessionsError."""
        if not isinstance(params, dict):
            raise InvalidParams("", "must be an object")
        if name == "initialize":
            _check_initialize(params)
            options = params.get("initializationOptions")
            if isinstance(options, dict):
                try:
                    self._server.apply(with_options(self._server.settings, self._given, options))
                except BadSetting as error:
                    raise InvalidParams(error.source, error.reason) from None
                except OSError as error:
                    reason = error.strerror or str(error)
                    raise InvalidParams("initializationOptions.logFile", reason) from None

    def _after(self, name: str, params: dict[str, Any]) -> None:
        """What follows from a message that the language server has taken."""
        if name == "initialize":
            self._initialized = True
            folders = _folders(params)
            self._server.stores.set_folders(folders)
            logger.info("initialized with the workspace folders %s", ", ".join(folders) or "none")
            if process_id := params.get("processId"):
                self._server.watch_parent(process_id)
            # After the answer, before which LSP allows no trace.
            if "trace" in params:
                self._set_trace(params["trace"])
        elif name == "initialized" and self._initialized:
            self._log.begin()
        elif name == "shutdown":
            self.is_shut_down = True
        elif name == "workspace/didChangeWorkspaceFolders":
            event = params.get("event")
            event = event if isinstance(event, dict) else {}
            gone = self._server.stores.change_folders(_uris(event.get("added")), _uris(event.get("removed")))
            self._server.leave_stores(gone)

    def _set_trace(self, level: Any) -> None:
        """A level that nobody knows must cost no client its connection: the trace stays as it is."""
        if isinstance(level, str) and level in LEVELS:
            self._server.trace.set_level(level)
        else:
            logger.warning("ignored a level of trace that is none of %s", ", ".join(LEVELS))


def _no_command(params: Any) -> InvalidParams:
    """There are none: what this server can do are methods."""
    if not isinstance(params, dict):
        return InvalidParams("", "must be an object")
    command = params.get("command")
    if not isinstance(command, str):
        return InvalidParams("command", "must be the name of a command")
    return InvalidParams(
        "command", f"there is no command {shorten(command)!r}, and no other: send the method itself as a request"
    )


def _without_trace(params: dict[str, Any]) -> dict[str, Any]:
    """The trace is ours, and the language server would refuse levels that it does not know."""
    return {name: value for name, value in params.items() if name != "trace"}


def _check_initialize(params: dict[str, Any]) -> None:
    """What cattrs would bend into shape, or refuse without saying what. Raises InvalidParams."""
    if not isinstance(params.get("capabilities"), dict):
        raise InvalidParams("capabilities", "must be an object; {} will do")
    for name, kinds, word in (
        ("rootUri", str, "a URI"),
        ("rootPath", str, "a path"),
        ("workspaceFolders", list, "an array"),
    ):
        if params.get(name) is not None and not isinstance(params[name], kinds):
            raise InvalidParams(name, f"must be {word} or null")
    process_id = params.get("processId")
    if process_id is not None and (not isinstance(process_id, int) or not 0 <= process_id < 2**31):
        raise InvalidParams("processId", "must be the id of a process or null")


def _folders(params: dict[str, Any]) -> list[str]:
    """The workspace folders that ``initialize`` names, by the first of its three ways that is used."""
    folders = _uris(params.get("workspaceFolders"))
    if folders:
        return folders
    if isinstance(root := params.get("rootUri"), str):
        return [root]
    if isinstance(root := params.get("rootPath"), str):
        # A relative one means nothing where the working directory is gone.
        with suppress(PathUnknown):
            return [absolute(root).as_uri()]
    return []


def _uris(folders: Any) -> list[str]:
    if not isinstance(folders, list):
        return []
    return [f["uri"] for f in folders if isinstance(f, dict) and isinstance(f.get("uri"), str)]

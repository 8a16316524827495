"""LSP on this connection: its life cycle.

``initialize`` is answered here (``initialize.py``), and what a message means for the stores happens when it comes. The
language server, which is loaded later (``language_server.py``), hears of the same messages and answers the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.client_log import ClientLog
from mandrake_sessions.connection.initialize import (
    check_folders,
    check_initialize,
    folder_uris,
    initialize_result,
    named_folders,
)
from mandrake_sessions.connection.language_server import LanguageServer
from mandrake_sessions.connection.trace import LEVELS, Trace
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.errors import InvalidParams, did_you_mean, out_of_turn
from mandrake_sessions.quoting import must_be, shorten
from mandrake_sessions.settings import BadSetting, Settings, option_names, unknown_options, with_options
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.outbound import Outbound
from mandrake_sessions.workspaces import path_of_uri

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
# How long a client has to say that it is initialized, before the log is told what it would be told; so many
# messages at once at most.
IGNORED_SECONDS = 1.0
MAX_IGNORED = 10
REQUESTS = frozenset({"initialize", "shutdown", "workspace/executeCommand"})


class Host(Protocol):
    """The server, as far as LSP's messages change it."""

    settings: Settings
    trace: Trace

    @property
    def stores(self) -> OpenStores: ...
    def apply(self, settings: Settings) -> None:
        """Take settings of the client's. Raises OSError."""

    def watch_parent(self, process_id: int) -> None: ...
    def close_stores(self, places: list[StorePlace]) -> None: ...
    def send(self, message: dict[str, Any]) -> None: ...
    def end(self, exit_code: int = 0, *, why: str = ...) -> None: ...


class LanguageClient:
    """The client, as far as it speaks LSP. ``on_heard`` is called when further messages may be decoded."""

    def __init__(self, server: Host, given: frozenset[str], outbound: Outbound, on_heard: Callable[[], None]) -> None:
        self._server = server
        self._given = given
        self._log = ClientLog(outbound)
        self._on_heard = on_heard
        self._language_server = LanguageServer(server.send, self._heard)
        # What is wrong with settings and folders that were ignored, until the client or the log is told.
        self._ignored: list[str] = []
        self._is_initialized = False
        self._exits = False
        self.is_shut_down = False

    def knows(self, name: str) -> bool:
        return name in LSP_METHODS

    def receive(self, name: str, call: Call, params: Any) -> None:
        """A request or notification of LSP's. Raises SessionsError."""
        if name == "exit":
            call.succeed(None)
            self._exits = True
            self._exit_if_answered()
        elif name == "$/setTrace":
            self._set_trace(params.get("value") if isinstance(params, dict) else None)
            call.succeed(None)
        elif name == "window/workDoneProgress/cancel":
            # This server has no work with a token.
            logger.debug("ignored a wish to cancel work that is not going on")
            call.succeed(None)
        elif name in REQUESTS and not call.is_request:
            logger.warning("ignored %s, which is a request, sent as a notification", name)
            call.succeed(None)
        elif name == "initialize":
            self._initialize(call, params)
        elif name == "shutdown":
            _check_object(params)
            self._language_server.ask(name, params, call)
            self.is_shut_down = True
        elif name == "workspace/executeCommand":
            raise _no_command(params)
        else:
            self._notified(name, call, params)

    @property
    def is_full(self) -> bool:
        """Whether decoding must wait until the language server is loaded."""
        return self._language_server.is_full

    @property
    def is_asked(self) -> bool:
        """Whether a request, or ``exit`` behind it, waits until the language server is loaded."""
        return self._language_server.is_asked

    def close(self) -> None:
        """Tell the client nothing more of the log."""
        self._tell_ignored()
        self._log.end()

    def response(self, message: dict[str, Any]) -> None:
        """An answer to a request: this server sends none."""
        logger.debug("ignored a response to no request: id %r", message.get("id"))

    def _initialize(self, call: Call, params: Any) -> None:
        if self._is_initialized:
            raise out_of_turn("the server is initialized already")
        _check_object(params)
        check_initialize(params)
        self._apply(params.get("initializationOptions"))
        call.succeed(initialize_result(params))
        self._is_initialized = True
        folders = named_folders(params)
        self._server.stores.places.set_folders(folders)
        self._ignores(_no_folders(folders))
        logger.info("initialized with the workspace folders %s", ", ".join(folders) or "none")
        if process_id := params.get("processId"):
            self._server.watch_parent(process_id)
        # After the answer, before which LSP allows no trace.
        if "trace" in params:
            self._set_trace(params["trace"])
        self._language_server.initialize(_without_trace(params))
        # A client of LSP says soon that it is initialized, and is told then; for any other this goes to the log.
        asyncio.get_running_loop().call_later(IGNORED_SECONDS, self._tell_ignored)

    def _apply(self, options: Any) -> None:
        """Raises InvalidParams for settings that cannot be."""
        if isinstance(options, dict):
            self._ignores(map(_unknown_option, unknown_options(options)))
            try:
                self._server.apply(with_options(self._server.settings, self._given, options))
            except BadSetting as error:
                raise InvalidParams(error.source, error.reason) from None
            except OSError as error:
                raise InvalidParams("initializationOptions.logFile", error.strerror or str(error)) from None

    def _ignores(self, messages: Iterable[str]) -> None:
        self._ignored += list(islice(messages, MAX_IGNORED))

    def _tell_ignored(self) -> None:
        """A typo in a setting or a folder must not pass in silence."""
        ignored, self._ignored = self._ignored, []
        for message in ignored:
            logger.warning("%s", message)

    def _notified(self, name: str, call: Call, params: Any) -> None:
        """``initialized``, and ``workspace/didChangeWorkspaceFolders``."""
        changes_folders = name == "workspace/didChangeWorkspaceFolders"
        if changes_folders and not self._is_initialized:
            raise out_of_turn("the server is not initialized yet; send initialize first")
        _check_object(params)
        if changes_folders:
            self._change_folders(params.get("event"))
        elif self._is_initialized:
            self._log.begin()
            self._tell_ignored()
        if self._is_initialized:
            self._language_server.tell(name, params, call.weight)
        call.succeed(None)

    def _change_folders(self, event: Any) -> None:
        if not isinstance(event, dict):
            raise InvalidParams("event", must_be("an object", event))
        for name in ("added", "removed"):
            check_folders(event.get(name), f"event.{name}")
        stores = self._server.stores
        added = folder_uris(event["added"])
        stores.places.change_folders(added, folder_uris(event["removed"]))
        self._ignores(_no_folders(added))
        self._tell_ignored()
        self._server.close_stores(stores.without_folder())

    def _heard(self) -> None:
        self._exit_if_answered()
        self._on_heard()

    def _exit_if_answered(self) -> None:
        """An answer to ``shutdown`` may still wait."""
        if self._exits and not self.is_asked:
            self._exits = False
            self._server.end(0 if self.is_shut_down else 1, why="the client said exit")

    def _set_trace(self, level: Any) -> None:
        """An unknown level leaves the trace as it is, since it must cost no client its connection."""
        if isinstance(level, str) and level in LEVELS:
            self._server.trace.set_level(level)
        else:
            logger.warning("ignored a level of trace that is none of %s", ", ".join(LEVELS))


def _unknown_option(name: str) -> str:
    guess = did_you_mean(name, option_names())
    return f"initializationOptions.{shorten(ascii(name)[1:-1])} is no setting, and is ignored{guess}"


def _no_folders(uris: Iterable[str]) -> Iterator[str]:
    """What is wrong with those that are no directories of this machine's file system."""
    for uri in uris:
        if path_of_uri(uri) is None:
            as_uri = f", such as {shorten(Path(uri).as_uri())}" if Path(uri).is_absolute() else ""
            yield f"the workspace folder {shorten(ascii(uri))} is no file: URI{as_uri}, and is ignored"


def _check_object(params: Any) -> None:
    """Raises InvalidParams."""
    if not isinstance(params, dict):
        raise InvalidParams("", "must be an object")


def _no_command(params: Any) -> InvalidParams:
    """There are none: what this server can do are methods."""
    if not isinstance(params, dict):
        return InvalidParams("", "must be an object")
    command = params.get("command")
    if not isinstance(command, str):
        return InvalidParams("command", must_be("the name of a command", command))
    return InvalidParams(
        "command", f"there is no command {shorten(command)!r}, and no other: send the method itself as a request"
    )


def _without_trace(params: dict[str, Any]) -> dict[str, Any]:
    """The trace is ours, and the language server would refuse levels that it does not know."""
    return {name: value for name, value in params.items() if name != "trace"}

"""Gives each call to what carries it out: the server itself, the dispatcher, or LSP."""

from __future__ import annotations

import logging
from typing import Any

from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.dispatcher import Dispatcher
from mandrake_sessions.connection.language import LanguageClient
from mandrake_sessions.handlers import carry_out
from mandrake_sessions.handlers.context import ServiceContext
from mandrake_sessions.protocol.converter import json_value
from mandrake_sessions.protocol.errors import InvalidParams, method_not_found, out_of_turn
from mandrake_sessions.protocol.methods import METHODS, Access
from mandrake_sessions.protocol.store_params import own_params

logger = logging.getLogger(__name__)

CANCEL = "$/cancelRequest"


class Router:
    """The routes of one connection."""

    def __init__(self, service: ServiceContext, dispatcher: Dispatcher, language: LanguageClient) -> None:
        self._service = service
        self._dispatcher = dispatcher
        self._language = language

    def route(self, call: Call, params: Any) -> None:
        """A request or notification. An exception is the answer to the call."""
        name, method = call.name, call.method
        if self._language.is_shut_down and call.is_request:
            call.fail(out_of_turn("the server was shut down; only exit is left"))
        elif method is None:
            self._other(name, call, params)
        elif not isinstance(params, dict):
            call.fail(InvalidParams("", "must be an object"))
        elif method.access is Access.SERVICE:
            call.succeed(json_value(carry_out(self._service, method, own_params(params, names_store=False))))
        else:
            self._dispatcher.submit(call)

    def respond(self, message: dict[str, Any]) -> None:
        """The client answers a request of the language server. A fault in that has no answer."""
        try:
            self._language.response(message)
        except Exception:
            logger.exception("a response could not be handled")

    def _other(self, name: str, call: Call, params: Any) -> None:
        """A method that is not in the table of methods: JSON-RPC's, LSP's, or an unknown one."""
        if name == CANCEL:
            self._dispatcher.cancel(params.get("id") if isinstance(params, dict) else None)
            call.succeed(None)
        elif self._language.knows(name):
            self._language.receive(name, call, params)
        elif call.is_request:
            call.fail(method_not_found(name, METHODS))
        else:
            logger.debug("ignored notification %s", name)
            call.succeed(None)

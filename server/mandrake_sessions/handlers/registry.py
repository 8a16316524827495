"""From a method's name to its handler."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from mandrake_sessions.handlers import (
    requests,
    responses,
    rounds,
    service,
    sessions,
    subscriptions,
    tool_calls,
    transactions,
    turns,
)
from mandrake_sessions.protocol.converter import structure_params
from mandrake_sessions.protocol.methods import METHODS, Method
from mandrake_sessions.protocol.names import snake

Handler = Callable[[Any, Any], Any]

_MODULES = (sessions, rounds, requests, responses, turns, tool_calls, subscriptions, transactions, service)


def _public_functions(module: ModuleType) -> dict[str, Handler]:
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and name[0].islower()
    }


_functions = {name: handler for module in _MODULES for name, handler in _public_functions(module).items()}

# Every declared method with its handler: a missing one fails here, when the program starts.
HANDLERS: dict[str, Handler] = {name: _functions[snake(name)] for name in METHODS}


def carry_out(context: Any, method: Method, params: dict[str, Any]) -> Any:
    """Check the params and run the handler; gives an entity or result, not yet JSON."""
    return HANDLERS[method.name](context, structure_params(params, method.params))

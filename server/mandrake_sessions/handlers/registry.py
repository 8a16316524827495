"""From a method to its handler: a function of the context and the params, which gives the result.

The table declares the types of params and result, and a handler takes them from there: the type checker infers them for
a lambda, and compares them with the annotations of a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mandrake_sessions.handlers.context import ServiceContext, StoreContext, StoresContext, SubscriptionContext
from mandrake_sessions.protocol.converter import structure_params
from mandrake_sessions.protocol.methods import Method, Typed

if TYPE_CHECKING:
    from mandrake_sessions.operations.joining import Joining

P = TypeVar("P")
R = TypeVar("R")

# By the names of their methods. The modules of this package fill it when they are imported.
HANDLERS: dict[str, Callable[[Any, Any], Any]] = {}
# The same for methods that can read all stores at once.
JOININGS: dict[str, Callable[[Any], Joining[Any, Any]]] = {}


def handle(method: Typed[P, R], handler: Callable[[StoreContext, P], R]) -> None:
    """The handler of a method that is about a store."""
    HANDLERS[method.name] = handler


def handle_all(method: Typed[P, R], make: Callable[[P], Joining[Any, Any]]) -> None:
    """How the results of all stores are joined, of a method that takes ``scope: "all"`` too."""
    JOININGS[method.name] = make


def handle_stores(method: Typed[P, R], handler: Callable[[StoresContext, P], R]) -> None:
    """The handler of a method that is about all stores."""
    HANDLERS[method.name] = handler


def handle_unsubscribe(method: Typed[P, R], handler: Callable[[SubscriptionContext, P], R]) -> None:
    """The handler of a method that ends a subscription, whatever store it is of."""
    HANDLERS[method.name] = handler


def handle_service(method: Typed[P, R], handler: Callable[[ServiceContext, P], R]) -> None:
    """The handler of a method that is about the server."""
    HANDLERS[method.name] = handler


def carry_out(context: Any, method: Method, params: dict[str, Any]) -> Any:
    """Check the params and run the handler; gives an entity or result, not yet JSON."""
    return HANDLERS[method.name](context, structure_params(params, method.params, method.store_param_names))


def carry_out_for_all(context: StoresContext, method: Method, params: dict[str, Any]) -> Any:
    """The same of all stores at once."""
    if method.takes_store:
        return context.stores.joined(
            JOININGS[method.name](structure_params(params, method.params, method.store_param_names))
        )
    return carry_out(context, method, params)

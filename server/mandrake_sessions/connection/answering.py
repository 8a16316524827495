"""From a call to its encoded answer: the handler is run with the store that the call means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.lock_wait import own_busy
from mandrake_sessions.connection.subscriptions import NewSubscription
from mandrake_sessions.errors import Busy
from mandrake_sessions.handlers import carry_out
from mandrake_sessions.handlers.context import StoreContext
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.protocol.methods import Access, Method
from mandrake_sessions.protocol.store_params import own_params, store_name
from mandrake_sessions.transport.spool import Encoded

T = TypeVar("T")


def method_of(call: Call) -> Method:
    assert call.method is not None
    return call.method


def access_of(call: Call) -> Access:
    # Asked several times a call, so it asks nobody else.
    assert call.method is not None
    return call.method.access


def answer(call: Call, manager: Conversations, beginning: NewSubscription) -> Encoded:
    """The encoded answer; ``beginning``: for what the call subscribes to. Raises what the handler raises."""
    return answer_in(call, StoreContext(store_name(call.params, method_of(call)), manager, beginning))


def answer_in(call: Call, context: Any) -> Encoded:
    """The same in a context of the caller's."""
    return call.encode_result(carry_out(context, method_of(call), own_params(call.params)))


def attempt(work: Callable[[], T]) -> T | Exception:
    """The result, or the exception. ``WriteNeeded`` is neither, and passes."""
    try:
        return work()
    except Exception as error:
        return error


def as_seen_by(call: Call, error: Exception) -> Exception:
    """A failure that several calls share, as each of them is told."""
    return own_busy(call, error) if isinstance(error, Busy) else error

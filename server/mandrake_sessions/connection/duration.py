"""Which writes may take so long that a thread has to carry them out, told from their params."""

from __future__ import annotations

from typing import Any

from mandrake_sessions.long_integers import LongInteger
from mandrake_sessions.transport.jsonrpc import count_values

# A write of this weight, in bytes of its message, is none of a few milliseconds.
LARGE_MESSAGE = 256 * 1024
# A value in a message, as so many bytes more.
VALUE_BYTES = 4
# A message of fewer bytes is not looked at: nothing in it takes long.
_SMALL_MESSAGE = 64 * 1024
# About 0.1 ms each, most of it for encoding them in the answer.
MANY_TOOL_CALLS = 100
MANY_OPERATIONS = 50

# Values whose weight depends on what they hold, as the decoder makes them.
_WEIGHED = frozenset({str, dict, list, LongInteger})

# What these take depends on how much hangs from what they are about.
_OF_ANY_SIZE = frozenset({"session/delete", "session/fork", "round/delete", "turn/delete"})
# Their answer is the turn as it is, whatever was sent.
_GIVE_A_TURN = frozenset({"turn/update", "turn/create"})


def message_weight(body: bytes) -> int:
    """The bytes of a message, with more for each value in it: 500,000 short arrays take as long as a text of 100 MB."""
    if len(body) < _SMALL_MESSAGE:
        return len(body)
    return len(body) + VALUE_BYTES * count_values(body)


def value_weight(value: Any) -> int:
    """About the same for a decoded message; no more than what says that it is large."""
    weight, layer = 0, [value]
    while layer and weight <= LARGE_MESSAGE:
        found = layer.pop()
        if isinstance(found, str):
            weight += len(found)
        elif isinstance(found, LongInteger):
            weight += len(found.digits)
        elif isinstance(found, dict | list):
            weight += len(found) * (1 + VALUE_BYTES)
            inner = found.values() if isinstance(found, dict) else found
            # The rest weighs nothing more, and most often it is most.
            layer.extend([each for each in inner if type(each) in _WEIGHED and each])
    return weight


def may_take_long(name: str, params: Any, weight: int) -> bool:
    """Whether to carry out a write on a thread; one of ``turn/append`` never is. Params are as they were sent.
    Where this says no, what it is about may be large yet: see ``brief.py``."""
    if name == "turn/append":
        return False
    if weight > LARGE_MESSAGE or name in _OF_ANY_SIZE:
        return True
    if name == "transaction/run":
        return _is_long_transaction(params)
    return name == "turn/create" and _is_long_list(params.get("toolCalls"), MANY_TOOL_CALLS)


def _is_long_transaction(params: Any) -> bool:
    operations = params.get("operations")
    if not isinstance(operations, list):
        return False
    light = all(
        isinstance(operation, dict) and operation.get("method") not in (*_OF_ANY_SIZE, *_GIVE_A_TURN)
        for operation in operations
    )
    return not light or len(operations) > MANY_OPERATIONS


def _is_long_list(given: Any, limit: int) -> bool:
    return isinstance(given, list) and len(given) > limit

"""Which writes may take so long that a thread has to carry them out, told from their params."""

from __future__ import annotations

from typing import Any

# A write of this size, in bytes of its message, is none of a few milliseconds.
LARGE_MESSAGE = 256 * 1024
# About 0.1 ms each, most of it for encoding them in the answer.
MANY_TOOL_CALLS = 100
MANY_OPERATIONS = 50

# What these take depends on how much hangs from what they are about.
_DELETIONS = frozenset({"session/delete", "round/delete", "turn/delete"})
# Their answer is the turn as it is, whatever was sent.
_GIVE_A_TURN = frozenset({"turn/update", "turn/create"})


def may_take_long(name: str, params: Any, size: int) -> bool:
    """Whether to carry out a write on a thread; one of ``turn/append`` never is. Params are as they were sent.
    Where this says no, what it is about may be large yet: see ``brief.py``."""
    if name == "turn/append":
        return False
    if size > LARGE_MESSAGE or name in _DELETIONS:
        return True
    if name == "transaction/run":
        return _is_long_transaction(params)
    return name == "turn/create" and _is_long_list(params.get("toolCalls"), MANY_TOOL_CALLS)


def _is_long_transaction(params: Any) -> bool:
    operations = params.get("operations")
    if not isinstance(operations, list):
        return False
    light = all(
        isinstance(operation, dict) and operation.get("method") not in (*_DELETIONS, *_GIVE_A_TURN)
        for operation in operations
    )
    return not light or len(operations) > MANY_OPERATIONS


def _is_long_list(given: Any, limit: int) -> bool:
    return isinstance(given, list) and len(given) > limit

"""One handler a method: params → one call of the manager → result. Each module holds those of an entity."""

from __future__ import annotations

from mandrake_sessions.handlers import (  # noqa: F401
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
from mandrake_sessions.handlers.registry import HANDLERS, carry_out
from mandrake_sessions.protocol.methods import METHODS

__all__ = ["HANDLERS", "carry_out"]

if missing := METHODS.keys() - HANDLERS.keys():
    raise RuntimeError(f"no handler for {', '.join(sorted(missing))}; add it to the module of its entity in handlers/")

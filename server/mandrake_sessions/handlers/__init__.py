"""One handler a method: params → one call of the manager → result. Each module holds those of an entity."""

from __future__ import annotations

from mandrake_sessions.handlers import (  # noqa: F401
    requests,
    responses,
    rounds,
    service,
    sessions,
    stores,
    subscriptions,
    tool_calls,
    transactions,
    turns,
)
from mandrake_sessions.handlers.registry import HANDLERS, JOININGS, carry_out, carry_out_for_all
from mandrake_sessions.protocol.methods import METHODS

__all__ = ["HANDLERS", "carry_out", "carry_out_for_all"]

_OF_ALL = {name for name, method in METHODS.items() if method.reads_all}
if missing := (METHODS.keys() - HANDLERS.keys()) | (_OF_ALL - JOININGS.keys()):
    raise RuntimeError(f"no handler for {', '.join(sorted(missing))}; add it to the module of its entity in handlers/")

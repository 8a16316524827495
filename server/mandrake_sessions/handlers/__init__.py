"""One function a method: params → one call of the SessionManager → result. They are found by their names."""

from __future__ import annotations

from mandrake_sessions.handlers.registry import HANDLERS, carry_out

__all__ = ["HANDLERS", "carry_out"]

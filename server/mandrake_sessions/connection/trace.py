"""``$/logTrace``: what was received and answered, for a client that asked for it with ``$/setTrace`` or ``initialize``.

A trace names methods, ids, times and, when it is verbose, sizes; never what was said. The wording is the one that
readers of LSP traces know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mandrake_sessions.transport.jsonrpc import Id, encode, encode_value, notification_message
from mandrake_sessions.transport.outbound import Outbound

OFF, MESSAGES, VERBOSE = "off", "messages", "verbose"
# "compact" is no word of LSP's, but one that VS Code's client library sends.
LEVELS = {OFF: OFF, MESSAGES: MESSAGES, "compact": MESSAGES, VERBOSE: VERBOSE}
LOG_TRACE = "$/logTrace"
# Characters of a client's own name or id, in logs and traces.
MAX_SHOWN = 120


class Traced(Protocol):
    """A request or notification, as far as a trace shows it."""

    @property
    def id(self) -> Id: ...
    @property
    def name(self) -> str: ...
    @property
    def is_request(self) -> bool: ...
    @property
    def params(self) -> Any: ...


class Trace:
    """The trace of one connection, off at first. It drops and counts messages while the outbound queue is full."""

    def __init__(self, outbound: Outbound) -> None:
        self.is_on = False
        self._verbose = False
        self._left_out = 0
        self._outbound = outbound

    def set_level(self, level: str) -> None:
        """``level``: one of ``LEVELS``."""
        self.is_on = LEVELS[level] != OFF
        self._verbose = LEVELS[level] == VERBOSE

    def received(self, call: Traced) -> None:
        """A request or notification has come."""
        kind = "request" if call.is_request else "notification"
        self._send(call, f"Received {kind} '{_shown(call)}'.", lambda: f"Params: {len(encode(call.params))} bytes")

    def answered(self, call: Traced, seconds: float, size: int, *, failed: bool) -> None:
        """A request was answered with so many bytes, or a notification carried out."""
        took = f"{seconds * 1000:.1f} ms"
        outcome = "failed" if failed else "succeeded"
        if call.is_request:
            self._send(
                call, f"Sent response '{_shown(call)}', it {outcome} in {took}.", lambda: f"Response: {size} bytes"
            )
        else:
            self._send(call, f"Notification '{_shown(call)}' {outcome} in {took}.")

    def _send(self, call: Traced, message: str, verbose: Callable[[], str] | None = None) -> None:
        if call.name == LOG_TRACE:
            return
        if self._outbound.is_full:
            self._left_out += 1
            return
        if self._left_out:
            message += f" {self._left_out} messages of this trace were left out before it, since they were not read."
            self._left_out = 0
        params = {"message": message}
        if self._verbose and verbose is not None:
            params["verbose"] = verbose()
        self._outbound.send(notification_message(LOG_TRACE, params))


def shown_name(name: str) -> str:
    """A method's name for logs and traces: the client may have invented it, as long as it likes."""
    return ascii(name)[1:-1][:MAX_SHOWN]


def _shown(call: Traced) -> str:
    name = shown_name(call.name) or "a message that names no method"
    return f"{name} - ({encode_value(call.id)[:MAX_SHOWN]})" if call.is_request else name

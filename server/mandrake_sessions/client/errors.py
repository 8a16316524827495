"""The errors between a client and its server.

SessionsError
└── ClientError
    ├── RequestFailed   the server answered with an error
    ├── NotAnswered     no reply came within the client's time limit
    └── ServerEnded     the server process ended before it replied, or could not be started
"""

from __future__ import annotations

from typing import Any

from mandrake_sessions.errors import SessionsError


class ClientError(SessionsError):
    """The root of all errors that a client raises on purpose."""


class RequestFailed(ClientError):
    """The server answered a request with an error.

    ``message`` is the server's. ``code`` and ``kind`` are those of ``docs/protocol.md``, section Errors; programs
    switch on ``kind``. ``retryable``: the same request may succeed later. ``data`` holds the error's facts under their
    wire names, such as ``entity``.
    """

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error['message']}")
        self.method = method
        self.message: str = error["message"]
        self.code: int = error["code"]
        self.data: dict[str, Any] = error.get("data") or {}
        self.kind: str = self.data.get("kind", "")
        self.retryable: bool = self.data.get("retryable", False)


class NotAnswered(ClientError):
    """No reply came within ``seconds``. The client has asked the server to cancel the request; a write may have been
    stored nevertheless."""

    def __init__(self, method: str, seconds: float) -> None:
        super().__init__(f"{method} was not answered within {seconds:g} s")
        self.method = method
        self.seconds = seconds


class ServerEnded(ClientError):
    """The server process ended. A write that had no reply by then may have been stored or not."""

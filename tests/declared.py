"""Every error that a test meets must be one that the table declares for its method: docs/protocol.md lists those."""

from __future__ import annotations

from typing import Any

from mandrake_sessions.protocol.errors_of import OF_MESSAGES, entities_of, kinds_of
from mandrake_sessions.protocol.methods import METHODS


def check(name: str, error: dict[str, Any]) -> None:
    """Raises AssertionError for an error that a client author has not been told of."""
    method, data = METHODS.get(name), error["data"]
    if method is None:
        return
    where = f"{name} is answered with {data}, and protocol/methods.py does not declare that"
    assert data["kind"] in (*kinds_of(method), *OF_MESSAGES), where
    if data["kind"] == "notFound":
        assert data["entity"] in entities_of(method), where
    if data["kind"] == "conflict":
        assert data["reason"] in method.conflict, where

"""What is wrong with a message itself, with the codes of JSON-RPC."""

from __future__ import annotations

from typing import Any

from mandrake_sessions.errors import SessionsError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
# The incident of an error for lack of memory. The log has nothing under it.
NO_INCIDENT = "00000000-0000-0000-0000-000000000000"


class RpcError(SessionsError):
    """A fault of the message itself. ``data`` is what goes beside ``kind`` and ``retryable``."""

    def __init__(self, code: int, kind: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.data = data


def parse_error(reason: str) -> RpcError:
    return RpcError(PARSE_ERROR, "parse", f"not valid JSON: {reason}")


def on_one_line(error: RpcError) -> RpcError:
    """The same, for a line that is a part of a message which was sent on several."""
    return RpcError(error.code, error.kind, f"{error}; send each message on one line", **error.data)


def invalid_request(reason: str) -> RpcError:
    return RpcError(INVALID_REQUEST, "invalidRequest", f"not a JSON-RPC request: {reason}")


def message_too_large(size: int, limit: int, advice: str) -> RpcError:
    return RpcError(
        INVALID_REQUEST, "tooLarge", f"a message of {size} bytes; at most {limit} are read, {advice}", limit=limit
    )


def no_memory() -> RpcError:
    return RpcError(
        INTERNAL_ERROR,
        "internal",
        "the server has no memory for this request; send it again, or less at a time",
        retryable=True,
        incident=NO_INCIDENT,
    )


def too_many_values(limit: int) -> RpcError:
    return RpcError(
        INVALID_REQUEST,
        "tooLarge",
        f"a message of more than {limit} arrays, objects and members of them; send it in pieces, or as a text",
        limit=limit,
    )


def batch_too_large(size: int, limit: int) -> RpcError:
    return RpcError(
        INVALID_REQUEST,
        "tooLarge",
        f"a batch of {size} messages; at most {limit} are taken, none of these was carried out; send several batches",
        limit=limit,
    )

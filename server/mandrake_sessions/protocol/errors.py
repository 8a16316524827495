"""From exceptions to error objects: the only place that knows the codes of this protocol (protocol, section 5)."""

from __future__ import annotations

import errno
import logging
import re
import uuid
from collections.abc import Callable, Collection
from typing import Any

from attrs import frozen

from mandrake_sessions import errors
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.words import in_wire_words, reason_in_wire_words
from mandrake_sessions.quoting import MAX_QUOTED, nearest_name, shorten
from mandrake_sessions.transport.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    RpcError,
)
from mandrake_sessions.value import Value

logger = logging.getLogger(__name__)

REQUEST_CANCELLED = -32800
NOT_FOUND = -32010
CONFLICT = -32011
BUSY = -32012
STORAGE = -32013
WORKSPACE_NOT_FOUND = -32014

# Characters of a message, and of the path of a file; entries of a list in `data`.
MAX_MESSAGE = 1500
MAX_PATH = 4096
MAX_ITEMS = 20
# The path of a file is whole, so that it can be used; so is a command in a reason.
_LIMITS = {"path": MAX_PATH, "reason": MAX_MESSAGE}
_NOTHING_STORED = "; nothing of the transaction was stored"

# What a client may see: code, kind, and when.
ERRORS = (
    (PARSE_ERROR, "parse", "the message is not valid JSON"),
    (INVALID_REQUEST, "invalidRequest", "the message is not a JSON-RPC 2.0 message, or came after `shutdown`"),
    (INVALID_REQUEST, "tooLarge", "the message, a text, metadata, a batch or a transaction is beyond its limit"),
    (METHOD_NOT_FOUND, "methodNotFound", "there is no such `method`; `server/info` names them all"),
    (INVALID_PARAMS, "invalidParams", "`path` says where, `reason` what is wrong"),
    (INTERNAL_ERROR, "internal", "a fault of the server: `incident` stands in its log beside the traceback"),
    (REQUEST_CANCELLED, "cancelled", "`$/cancelRequest`, or the server had to end"),
    (NOT_FOUND, "notFound", "no `entity` with that `id`"),
    (
        CONFLICT,
        "conflict",
        "`reason`: idInUse, externalIdInUse, turnEnded, chunkGap, chunkDiffers, endTime, tooManySubscriptions; "
        "`expected`, `actual`",
    ),
    (BUSY, "busy", "another process held the lock: `waitedMs`, `holder`; retryable"),
    (STORAGE, "storage", "the file: `reason`, `path`; with `entity` and `id` it is about that entity alone"),
    (
        WORKSPACE_NOT_FOUND,
        "workspaceNotFound",
        "`workspace` is not a folder of this client, or there is no such directory",
    ),
)


class InvalidParams(errors.SessionsError):
    """``path`` (wire names, below ``params``) is not what the method takes."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason


class OperationFailed(errors.SessionsError):
    """One operation of a transaction failed; ``operation`` counts from 0."""

    def __init__(self, operation: int, error: Exception) -> None:
        super().__init__(str(error))
        self.operation = operation
        self.error = error


def out_of_turn(reason: str) -> RpcError:
    """A request that is in order, at a time when it is not."""
    return RpcError(INVALID_REQUEST, "invalidRequest", reason)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """``; did you mean 'limit'?`` where a known name is near, else nothing."""
    near = nearest_name(name, known, cutoff=0.7)
    return "" if near is None else f"; did you mean {near!r}?"


def method_not_found(method: str, known: Collection[str]) -> RpcError:
    """``known``: the names of the methods that there are."""
    entity, _, verb = method.partition("/")
    verbs = [name.partition("/")[2] for name in known if name.startswith(f"{entity}/")]
    if verbs and nearest_name(verb, verbs, cutoff=0.7) is None:
        # What is near as a whole has no more than the entity's name in common with it.
        guess = f" There are {', '.join(f'{entity}/{each}' for each in verbs)}."
    else:
        guess = did_you_mean(method, known).replace("; did", " Did")
    return RpcError(
        METHOD_NOT_FOUND,
        "methodNotFound",
        f"there is no method {shorten(ascii(method))}.{guess} `methods` in the result of server/info names "
        "all methods, docs/protocol.md describes them",
        method=method,
    )


def error_object(error: BaseException) -> dict[str, Any]:
    """The ``error`` member for an exception: a code, a message, and data that always has ``kind`` and ``retryable``.

    An exception that nobody foresaw becomes ``internal``: its traceback goes to the log, under the incident's id.
    Whatever the error quotes, the object takes a few kilobytes at the most.
    """
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        # Whoever needs a file may meet that, at any moment.
        error = errors.StorageFailure(
            errors.StorageReason.OPEN, f"{error.strerror}; raise the limit of open files (ulimit -n)", ""
        )
    for kind, describe in _DESCRIPTIONS.items():
        if isinstance(error, kind):
            found = describe(error)
            return {
                "code": found.code,
                "message": shorten(found.message or in_wire_words(error), MAX_MESSAGE),
                "data": {"kind": found.kind, "retryable": found.retryable, **_shortened(found.data)},
            }
    return _internal(error)


def _shortened(data: dict[str, Any]) -> dict[str, Any]:
    """What clients and others gave, as much of it as helps."""
    return {name: _short(value, _LIMITS.get(name, MAX_QUOTED)) for name, value in data.items()}


def _short(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return shorten(value, limit)
    if isinstance(value, list | tuple):
        return [_short(item, limit) for item in value[:MAX_ITEMS]]
    # An integer of a message may have thousands of digits.
    return value if not isinstance(value, int) or abs(value) < 2**64 else shorten(str(value), limit)


@frozen(eq=False, repr=False)
class _Description(Value):
    code: int
    kind: str
    data: dict[str, Any]
    retryable: bool = False
    message: str | None = None


def _params_path(path: str) -> str:
    return shorten(f"params.{path}") if path else "params"


def _invalid(error: errors.InvalidValue) -> _Description:
    path = _params_path(camel(error.field))
    reason = reason_in_wire_words(error)
    data = {"path": path, "reason": reason}
    if isinstance(error, errors.TooLarge):
        return _Description(INVALID_REQUEST, "tooLarge", data, message=f"{path}: {reason}")
    return _Description(INVALID_PARAMS, "invalidParams", data, message=f"{path}: {reason}")


def _invalid_params(error: InvalidParams) -> _Description:
    path = _params_path(error.path)
    data: dict[str, Any] = {"path": path, "reason": error.reason}
    message = f"{path}: {error.reason}"
    if operation := re.match(r"operations\[(\d+)\]", error.path):
        data["operation"] = int(operation[1])
        message += _NOTHING_STORED
    return _Description(INVALID_PARAMS, "invalidParams", data, message=message)


def _conflict(error: errors.Conflict) -> _Description:
    known = {"expected": error.expected, "actual": error.actual, "candidates": error.candidates}
    data = {name: value for name, value in known.items() if value is not None}
    return _Description(CONFLICT, "conflict", {"reason": error.reason, **data})


def _busy(error: errors.Busy) -> _Description:
    holder = {} if error.holder is None else {"holder": error.holder}
    return _Description(BUSY, "busy", {"waitedMs": error.waited_ms, **holder}, retryable=True)


def _operation_failed(error: OperationFailed) -> _Description:
    inner = error_object(error.error)
    data = inner["data"] | {"operation": error.operation}
    place = f"operations[{error.operation}]"
    message = f"{place}: {inner['message']}"
    # The path of params begins the message; other errors have that of a file.
    if isinstance(error.error, InvalidParams | errors.InvalidValue):
        data["path"] = f"params.{place}.{data['path']}"
        message = f"params.{place}.{inner['message']}"
    return _Description(inner["code"], data.pop("kind"), data, data.pop("retryable"), message + _NOTHING_STORED)


_DESCRIPTIONS: dict[type[Exception], Callable[[Any], _Description]] = {
    OperationFailed: _operation_failed,
    RpcError: lambda error: _Description(error.code, error.kind, error.data),
    InvalidParams: _invalid_params,
    errors.InvalidValue: _invalid,
    errors.NotFound: lambda error: _Description(
        NOT_FOUND, "notFound", {"entity": camel(error.entity), "id": error.entity_id}
    ),
    errors.Conflict: _conflict,
    errors.Cancelled: lambda _: _Description(REQUEST_CANCELLED, "cancelled", {}),
    errors.Busy: _busy,
    errors.StoreMoved: lambda error: _Description(
        STORAGE, "storage", {"reason": error.reason.value, "path": error.path}, retryable=True
    ),
    errors.Unreadable: lambda error: _Description(
        STORAGE,
        "storage",
        {"reason": error.reason.value, "path": error.path, "entity": error.entity, "id": error.entity_id},
    ),
    errors.StorageFailure: lambda error: _Description(
        STORAGE, "storage", {"reason": error.reason.value, "path": error.path}
    ),
    errors.WorkspaceNotFound: lambda error: _Description(
        WORKSPACE_NOT_FOUND, "workspaceNotFound", {"workspace": error.workspace}
    ),
    errors.NotOpen: lambda _: _Description(
        STORAGE,
        "storage",
        {"reason": errors.StorageReason.OPEN.value, "path": ""},
        retryable=True,
        message="the store was closed just now; send the request again",
    ),
}


def _internal(error: BaseException) -> dict[str, Any]:
    incident = str(uuid.uuid4())
    logger.error("incident %s", incident, exc_info=error)
    # What an exception says may quote what was sent.
    logger.debug("incident %s: %s", incident, error)
    what = "an internal error"
    if isinstance(error, MemoryError):
        what = "the server has not enough memory for this; send less at a time"
    return {
        "code": INTERNAL_ERROR,
        "message": f"{what}; its traceback stands in the server's log under {incident}",
        "data": {"kind": "internal", "retryable": False, "incident": incident},
    }

"""What stands in ``error.data``, by kind. ``errors.py`` makes it.

(No ``from __future__ import annotations`` here: with it Python does not see which keys are ``Required``.)
"""

from typing import Any, Literal, Required, TypedDict

from mandrake_sessions.errors import ConflictReason, StorageReason

ErrorKind = Literal[
    "parse",
    "invalidRequest",
    "tooLarge",
    "methodNotFound",
    "invalidParams",
    "internal",
    "cancelled",
    "notFound",
    "conflict",
    "busy",
    "storage",
    "workspaceNotFound",
]
"""What went wrong: the word that clients switch on.

parse: the message is not valid JSON, or has a number beyond a double's range. Mend the message.
invalidRequest: the message is no JSON-RPC 2.0 message, is nested too deep, or came after `shutdown`. Mend the message.
tooLarge: the message, a text, metadata, a batch, a transaction or the answer is beyond its limit. Send less at a time.
methodNotFound: there is no such method; `server/info` names all. Look for a misspelling, or for an older server.
invalidParams: a param is missing, unknown, of another type or out of its bounds; `path` says where. Mend the params.
internal: a fault of the server; `incident` stands in its log beside the traceback. Report it; what was asked may or may
not be done, so send it again only if it is safe to.
cancelled: `$/cancelRequest` ended it, or the server had to end. Nothing of it is stored.
notFound: there is no such entity in this store. It was deleted, or is in another store.
conflict: it contradicts what is stored; `reason` says how. Nothing of it is stored.
busy: another process held the write lock for the whole time budget. Nothing is stored; send it again.
storage: the file is at fault, not the request; `reason` says how. A person has to look, unless `retryable` is true.
workspaceNotFound: `workspace` is not a folder of this client, or its directory does not exist.
"""


class ErrorData(TypedDict, total=False):
    """What every `error.data` has."""

    kind: Required[ErrorKind]
    """What went wrong."""
    retryable: Required[bool]
    """Whether the same request may succeed if it is sent again, unchanged, a little later."""
    operation: int
    """In an error of `transaction/run`: which operation failed, from 0. Default: none."""


class ParseErrorData(ErrorData, total=False):
    """Data of `parse`."""


class InvalidRequestErrorData(ErrorData, total=False):
    """Data of `invalidRequest`."""


class TooLargeErrorData(ErrorData, total=False):
    """Data of `tooLarge`: a message has ``limit``, a field ``path`` and ``reason``."""

    limit: int
    """The limit, in bytes or in numbers. Default: none."""
    path: str
    """Where in the request the value stands. Default: none."""
    reason: str
    """What is wrong with it, in words. Default: none."""


class MethodNotFoundErrorData(ErrorData, total=False):
    """Data of `methodNotFound`."""

    method: Required[str]
    """The name that was sent; a long one is cut."""


class InvalidParamsErrorData(ErrorData, total=False):
    """Data of `invalidParams`."""

    path: Required[str]
    """Where the fault is, such as `params.toolCalls[0].id`."""
    reason: Required[str]
    """What is wrong there, in words for people."""


class InternalErrorData(ErrorData, total=False):
    """Data of `internal`."""

    incident: Required[str]
    """The id under which the server's log has the traceback."""


class CancelledErrorData(ErrorData, total=False):
    """Data of `cancelled`."""


class NotFoundErrorData(ErrorData, total=False):
    """Data of `notFound`."""

    entity: Required[str]
    """What there is none of: a word of the entities, or `subscription`."""
    id: Required[str]
    """The id, or the other name, that was sent."""


class ConflictErrorData(ErrorData, total=False):
    """Data of `conflict`."""

    reason: Required[ConflictReason]
    """What contradicts it."""
    expected: Any
    """What would have been right, where there is such. Default: none."""
    actual: Any
    """What there is, or what was sent. Default: none."""
    candidates: list[str]
    """The ids of what an ambiguous name may mean. Default: none."""


class BusyErrorData(ErrorData, total=False):
    """Data of `busy`, which is always retryable."""

    waited_ms: Required[int]
    """Milliseconds from the arrival of the request."""
    holder: str
    """Who held the lock, where that is known. Default: none."""


class StorageErrorData(ErrorData, total=False):
    """Data of `storage`."""

    reason: Required[StorageReason]
    """Why the store cannot do it."""
    path: Required[str]
    """The file; empty where none is meant."""
    entity: str
    """With `corrupt`: the one entity that cannot be read; the rest of the store is not affected. Default: none."""
    id: str
    """Its id. Default: none."""


class WorkspaceNotFoundErrorData(ErrorData, total=False):
    """Data of `workspaceNotFound`."""

    workspace: Required[str]
    """What was sent, or the directory that is missing."""


DATA_OF: dict[str, Any] = {
    "parse": ParseErrorData,
    "invalidRequest": InvalidRequestErrorData,
    "tooLarge": TooLargeErrorData,
    "methodNotFound": MethodNotFoundErrorData,
    "invalidParams": InvalidParamsErrorData,
    "internal": InternalErrorData,
    "cancelled": CancelledErrorData,
    "notFound": NotFoundErrorData,
    "conflict": ConflictErrorData,
    "busy": BusyErrorData,
    "storage": StorageErrorData,
    "workspaceNotFound": WorkspaceNotFoundErrorData,
}

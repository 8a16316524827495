"""The one table of methods. Dispatch, the check of params, ``docs/protocol.md`` and the JSON Schema come from it."""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import frozen

from mandrake_sessions import fields, model
from mandrake_sessions.protocol import params, results

PROTOCOL_VERSION = 2


class Access(Enum):
    """What a method does to the store, which decides how it is carried out."""

    READ = "a short read"
    LONG_READ = "a read that may take long: from a snapshot taken in its turn, beside what follows"
    WRITE = "a write"
    APPEND = "a write of streamed text"
    FOLLOW = "a read that begins a subscription"
    LEAVE = "the end of a subscription"
    SERVICE = "about the server itself; never waits behind others"

    @property
    def writes(self) -> bool:
        return self in (Access.WRITE, Access.APPEND)


@frozen
class Method:
    """A method as it is declared. ``params`` is a TypedDict, ``result`` a type of ``model`` or ``results``."""

    name: str
    params: Any
    result: Any
    access: Access
    summary: str

    @property
    def takes_store(self) -> bool:
        """Whether it also takes ``scope`` and ``workspace``."""
        return self.access is not Access.SERVICE

    @property
    def is_paged(self) -> bool:
        """Whether a client reads it a page at a time."""
        return "cursor" in self.params.__annotations__


@frozen
class Notification:
    """A message that the server sends by itself."""

    name: str
    params: Any
    summary: str


def _table(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


READ, LONG_READ, WRITE, APPEND = Access.READ, Access.LONG_READ, Access.WRITE, Access.APPEND

METHODS = _table(
    Method("session/create", fields.NewSession, model.Session, WRITE, "Create a session."),
    Method("session/get", params.SessionGet, model.Session, READ, "One session, by either of its names."),
    Method("session/list", params.SessionList, model.SessionPage, LONG_READ, "Sessions, last changed first."),
    Method("session/update", params.SessionChange, model.Session, WRITE, "Change, archive or bring back a session."),
    Method("session/delete", params.SessionId, model.Deleted, WRITE, "Delete a session and all in it."),
    Method("session/history", params.SessionHistory, model.History, LONG_READ, "A conversation, a page at a time."),
    Method("round/create", params.RoundCreate, model.RoundDetail, WRITE, "Create a round with request and response."),
    Method("round/get", params.RoundId, model.RoundDetail, READ, "One round."),
    Method("round/update", params.RoundChange, model.RoundDetail, WRITE, "Replace a round's metadata."),
    Method("round/list", params.RoundList, model.RoundPage, LONG_READ, "The rounds of a session, by index."),
    Method("round/delete", params.RoundDelete, model.Deleted, WRITE, "Delete a round, or it and all later ones."),
    Method("request/get", params.RequestId, model.Request, READ, "One request."),
    Method("request/update", params.RequestChange, model.Request, WRITE, "Change a request."),
    Method("response/get", params.ResponseId, model.Response, READ, "One response, without its turns."),
    Method("response/update", params.ResponseChange, model.Response, WRITE, "Set the status of a response."),
    Method(
        "response/status",
        params.ResponseStatusGet,
        model.ResponseProgress,
        LONG_READ,
        "A response, its turns, and whether one of them streams.",
    ),
    Method("turn/create", params.TurnCreate, model.Turn, WRITE, "Begin to stream a turn, or store a whole one."),
    Method("turn/append", fields.TurnPiece, model.Appended, APPEND, "Store the next piece of a turn's text."),
    Method("turn/update", params.TurnChange, model.Turn, WRITE, "Change or end a turn."),
    Method("turn/get", params.TurnGet, model.Turn, LONG_READ, "One turn."),
    Method("turn/delete", params.TurnId, model.Deleted, WRITE, "Delete a turn."),
    Method("turn/list", params.TurnList, model.TurnPage, LONG_READ, "The turns of a response, by index."),
    Method("turn/latest", params.TurnLatest, model.Turn | None, LONG_READ, "The turn of the highest index, or null."),
    Method("toolCall/upsert", params.ToolCallUpsert, model.ToolCall, WRITE, "Store or change a tool call."),
    Method("toolCall/delete", params.ToolCallId, model.ToolCallDeleted, WRITE, "Delete a tool call."),
    Method(
        "turn/subscribe",
        params.TurnSubscribe,
        results.TurnSubscription,
        Access.FOLLOW,
        "Follow a turn, a response, a session or the store; `turn/updated` follows.",
    ),
    Method("turn/unsubscribe", params.SubscriptionId, results.Nothing, Access.LEAVE, "End a subscription to turns."),
    Method(
        "session/subscribe",
        params.SessionSubscribe,
        results.SessionSubscription,
        Access.FOLLOW,
        "Follow a session, or the sessions of the store; `session/updated` follows.",
    ),
    Method(
        "session/unsubscribe", params.SubscriptionId, results.Nothing, Access.LEAVE, "End a subscription to sessions."
    ),
    Method(
        "transaction/run",
        params.TransactionRun,
        results.TransactionResults,
        WRITE,
        "Several writes in one BEGIN IMMEDIATE: all or nothing.",
    ),
    Method("server/health", params.NoParams, results.Health, Access.SERVICE, "The status of each store."),
    Method(
        "server/info", params.NoParams, results.Info, Access.SERVICE, "The server: versions, limits, methods, counts."
    ),
)

NOTIFICATIONS = (
    Notification("turn/updated", results.TurnUpdated, "A committed change to a turn, whoever made it."),
    Notification("session/updated", results.SessionUpdated, "A committed change to a session, whoever made it."),
    Notification("subscription/ended", results.SubscriptionEnded, "A subscription sends nothing more."),
    Notification("turn/rejected", results.TurnRejected, "An append that was sent as a notification and failed."),
    Notification("server/healthChanged", results.Health, "The status of a store changed."),
)

# What may stand in transaction/run: each write, but not another transaction.
OPERATIONS = frozenset(
    method.name for method in METHODS.values() if method.access.writes and method.name != "transaction/run"
)

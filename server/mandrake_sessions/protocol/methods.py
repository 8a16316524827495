"""The one table of methods: each with the types of its params and its result, which stand nowhere else.

From it come dispatch, the check of params, the types of the handlers, ``docs/protocol.md``, the JSON Schema and the
functions of the client.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, Literal, TypeVar

from attrs import frozen

from mandrake_sessions import fields, model
from mandrake_sessions.errors import ConflictReason
from mandrake_sessions.protocol import params, results
from mandrake_sessions.value import Value

PROTOCOL_VERSION = 2

# What `notFound` may be about, in the words of the wire.
Entity = Literal["session", "round", "request", "response", "turn", "toolCall", "subscription", "store"]

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")


class Access(Enum):
    """What a method does to the store, which decides how it is carried out."""

    READ = "a short read"
    LONG_READ = "a read that may take long: from a snapshot taken in its turn, beside what follows"
    WRITE = "a write"
    WRITE_IN_STEPS = "a write in several short transactions, on a thread"
    APPEND = "a write of streamed text"
    FOLLOW = "a read that begins a subscription"
    UNSUBSCRIBE = "the end of a subscription"
    STORES = "a read about all stores of the user, beside what follows"
    SERVICE = "about the server itself; never waits behind others"

    def __init__(self, _: str) -> None:
        self.writes = self.name in ("WRITE", "WRITE_IN_STEPS", "APPEND")


@frozen(eq=False, repr=False)
class Method(Value):
    """A method as it is declared. ``params`` is a TypedDict, ``result`` a type of ``model`` or ``results``.
    ``not_found``, ``conflict``: what its errors of these kinds may be about; errors of other kinds depend on its
    ``access`` alone (``errors_of.py``). ``reads_all``: whether it can read all stores at once, which gives the last
    type of ``result``. ``protocol/details.py`` says more of what it does."""

    name: str
    params: Any
    result: Any
    access: Access
    summary: str
    not_found: tuple[Entity, ...] = ()
    conflict: tuple[ConflictReason, ...] = ()
    reads_all: bool = False

    @property
    def takes_store(self) -> bool:
        """Whether it also takes ``scope`` and ``workspace``."""
        return self.access not in (Access.SERVICE, Access.STORES)

    @property
    def reads(self) -> bool:
        """Whether it also takes ``store``: it reads, and that is all."""
        return self.access in (Access.READ, Access.LONG_READ)

    @property
    def store_params(self) -> type[params.AnyStoreParams] | None:
        """The params that say which store is meant; None where none is."""
        if not self.takes_store:
            return None
        if self.reads_all:
            return params.AllStoreParams
        return params.ReadStoreParams if self.reads else params.StoreParams

    @property
    def store_param_names(self) -> tuple[str, ...]:
        """The names of those params."""
        return () if self.store_params is None else tuple(self.store_params.__annotations__)

    @property
    def is_paged(self) -> bool:
        """Whether a client reads it a page at a time."""
        return "cursor" in self.params.__annotations__


class Typed(Method, Generic[P, R]):
    """A method whose params and result the type checker knows, so that it checks the handler against them."""


@frozen(eq=False, repr=False)
class NotificationType(Value):
    """A message that the server sends by itself."""

    name: str
    params: Any
    summary: str


METHODS: dict[str, Method] = {}


def _method(
    name: str,
    params: type[P],
    result: type[R],
    access: Access,
    summary: str,
    *,
    not_found: tuple[Entity, ...],
    conflict: tuple[ConflictReason, ...] = (),
) -> Typed[P, R]:
    """Declare a method, and put it into the table."""
    method: Typed[P, R] = Typed(name, params, result, access, summary, not_found, conflict)
    METHODS[name] = method
    return method


def _method_or_null(
    name: str, params: type[P], result: type[R], access: Access, summary: str, *, not_found: tuple[Entity, ...]
) -> Typed[P, R | None]:
    """One whose result may be null."""
    method: Typed[P, R | None] = Typed(name, params, result | None, access, summary, not_found)
    METHODS[name] = method
    return method


def _method_of_all(
    name: str,
    params: type[P],
    result: type[R],
    of_all: type[Any],
    access: Access,
    summary: str,
    *,
    not_found: tuple[Entity, ...],
) -> Typed[P, R]:
    """One that also takes ``scope: "all"``. ``of_all``: its result then."""
    method: Typed[P, R] = Typed(name, params, result | of_all, access, summary, not_found, reads_all=True)
    METHODS[name] = method
    return method


def _of_writes(errors: Callable[[Method], tuple[T, ...]]) -> tuple[T, ...]:
    """What any write that is declared so far may answer: a transaction may hold each of them."""
    return tuple({each: None for method in METHODS.values() if method.access.writes for each in errors(method)})


READ, LONG_READ, WRITE, APPEND = Access.READ, Access.LONG_READ, Access.WRITE, Access.APPEND

SESSION_CREATE = _method(
    "session/create",
    fields.NewSession,
    model.Session,
    WRITE,
    "Create a session.",
    not_found=("session",),
    conflict=("idInUse", "externalIdInUse"),
)
SESSION_GET = _method(
    "session/get",
    params.SessionGet,
    model.Session,
    READ,
    "One session, by either of its names.",
    not_found=("session",),
    conflict=("ambiguous",),
)
SESSION_LIST = _method_of_all(
    "session/list",
    params.SessionList,
    model.SessionPage,
    model.AllSessions,
    LONG_READ,
    "Sessions, the latest first.",
    not_found=(),
)
SESSION_UPDATE = _method(
    "session/update",
    params.SessionChange,
    model.Session,
    WRITE,
    "Change, archive or bring back a session.",
    not_found=("session",),
    conflict=("externalIdInUse",),
)
SESSION_DELETE = _method(
    "session/delete", params.SessionId, model.Deleted, WRITE, "Delete a session and all in it.", not_found=("session",)
)
SESSION_HISTORY = _method(
    "session/history",
    params.SessionHistory,
    model.History,
    LONG_READ,
    "A conversation, a page at a time.",
    not_found=("session",),
)
SESSION_FORK = _method(
    "session/fork",
    params.SessionFork,
    model.Session,
    Access.WRITE_IN_STEPS,
    "Copy a session, or its beginning, as a session of its own.",
    not_found=("session", "round"),
    conflict=("idInUse",),
)
SESSION_USAGE = _method_of_all(
    "session/usage",
    params.SessionUsage,
    results.UsageReport,
    results.AllUsage,
    LONG_READ,
    "What was used: tokens and costs, rounds, turns and tool calls.",
    not_found=("session",),
)
SESSION_SEARCH = _method_of_all(
    "session/search",
    params.SessionSearch,
    model.SearchPage,
    model.AllHits,
    LONG_READ,
    "What was said about something, best first.",
    not_found=("session",),
)
SESSION_EXPORT = _method(
    "session/export",
    params.SessionExport,
    model.Export,
    LONG_READ,
    "A session as one document.",
    not_found=("session",),
)
STORE_LIST = _method(
    "store/list",
    params.NoParams,
    results.StoreList,
    Access.STORES,
    "The stores that this user has used.",
    not_found=(),
)
ROUND_CREATE = _method(
    "round/create",
    params.RoundCreate,
    model.RoundDetail,
    WRITE,
    "Create a round with request and response.",
    not_found=("session",),
    conflict=("idInUse",),
)
ROUND_GET = _method("round/get", params.RoundId, model.RoundDetail, READ, "One round.", not_found=("round",))
ROUND_UPDATE = _method(
    "round/update", params.RoundChange, model.RoundDetail, WRITE, "Replace a round's metadata.", not_found=("round",)
)
ROUND_LIST = _method(
    "round/list",
    params.RoundList,
    model.RoundPage,
    LONG_READ,
    "The rounds of a session, by index.",
    not_found=("session",),
)
ROUND_DELETE = _method(
    "round/delete",
    params.RoundDelete,
    model.Deleted,
    WRITE,
    "Delete a round, or it and all later ones.",
    not_found=("round",),
)
REQUEST_GET = _method("request/get", params.RequestId, model.Request, READ, "One request.", not_found=("request",))
REQUEST_UPDATE = _method(
    "request/update", params.RequestChange, model.Request, WRITE, "Change a request.", not_found=("request",)
)
RESPONSE_GET = _method(
    "response/get", params.ResponseId, model.Response, READ, "One response, without its turns.", not_found=("response",)
)
RESPONSE_UPDATE = _method(
    "response/update",
    params.ResponseChange,
    model.Response,
    WRITE,
    "Set the status of a response.",
    not_found=("response",),
    conflict=("endTime",),
)
RESPONSE_STATUS = _method(
    "response/status",
    params.ResponseStatusGet,
    model.ResponseProgress,
    LONG_READ,
    "A response, its turns, and whether one of them streams.",
    not_found=("response",),
)
TURN_CREATE = _method(
    "turn/create",
    params.TurnCreate,
    model.Turn,
    WRITE,
    "Begin to stream a turn, or store a whole one.",
    not_found=("response",),
    conflict=("idInUse", "endTime"),
)
TURN_APPEND = _method(
    "turn/append",
    fields.TurnPiece,
    model.Appended,
    APPEND,
    "Store the next piece of a turn's text.",
    not_found=("turn",),
    conflict=("chunkGap", "chunkDiffers", "turnEnded"),
)
TURN_UPDATE = _method(
    "turn/update",
    params.TurnChange,
    model.Turn,
    WRITE,
    "Change or end a turn.",
    not_found=("turn",),
    conflict=("turnEnded", "endTime"),
)
TURN_GET = _method("turn/get", params.TurnGet, model.Turn, LONG_READ, "One turn.", not_found=("turn",))
TURN_DELETE = _method("turn/delete", params.TurnId, model.Deleted, WRITE, "Delete a turn.", not_found=("turn",))
TURN_LIST = _method(
    "turn/list",
    params.TurnList,
    model.TurnPage,
    LONG_READ,
    "The turns of a response, by index.",
    not_found=("response",),
)
TURN_LATEST = _method_or_null(
    "turn/latest",
    params.TurnLatest,
    model.Turn,
    LONG_READ,
    "The turn of the highest index, with its `rawResponse`, or null.",
    not_found=("response",),
)
TOOL_CALL_UPSERT = _method(
    "toolCall/upsert", params.ToolCallUpsert, model.ToolCall, WRITE, "Store or change a tool call.", not_found=("turn",)
)
TOOL_CALL_DELETE = _method(
    "toolCall/delete",
    params.ToolCallId,
    model.ToolCallDeleted,
    WRITE,
    "Delete a tool call.",
    not_found=("turn", "toolCall"),
)
TURN_SUBSCRIBE = _method(
    "turn/subscribe",
    params.TurnSubscribe,
    results.TurnSubscription,
    Access.FOLLOW,
    "Follow a turn, a response, a session or the store; `turn/updated` follows.",
    not_found=("turn", "response", "session"),
    conflict=("tooManySubscriptions",),
)
TURN_UNSUBSCRIBE = _method(
    "turn/unsubscribe",
    params.SubscriptionId,
    results.Nothing,
    Access.UNSUBSCRIBE,
    "End a subscription to turns.",
    not_found=("subscription",),
)
SESSION_SUBSCRIBE = _method(
    "session/subscribe",
    params.SessionSubscribe,
    results.SessionSubscription,
    Access.FOLLOW,
    "Follow a session, or the sessions of the store; `session/updated` follows.",
    not_found=("session",),
    conflict=("tooManySubscriptions",),
)
SESSION_UNSUBSCRIBE = _method(
    "session/unsubscribe",
    params.SubscriptionId,
    results.Nothing,
    Access.UNSUBSCRIBE,
    "End a subscription to sessions.",
    not_found=("subscription",),
)
TRANSACTION_RUN = _method(
    "transaction/run",
    params.TransactionRun,
    results.TransactionResults,
    WRITE,
    "Several writes in one BEGIN IMMEDIATE: all or nothing.",
    not_found=_of_writes(lambda method: method.not_found),
    conflict=_of_writes(lambda method: method.conflict),
)
RPC_DISCOVER = _method(
    "rpc.discover",
    params.NoParams,
    model.JsonObject,
    Access.SERVICE,
    "This protocol as an OpenRPC document.",
    not_found=(),
)
SERVER_HEALTH = _method(
    "server/health", params.NoParams, results.Health, Access.SERVICE, "The status of each store.", not_found=()
)
SERVER_INFO = _method(
    "server/info",
    params.NoParams,
    results.Info,
    Access.SERVICE,
    "The server: versions, limits, methods, counts.",
    not_found=(),
)

NOTIFICATIONS = (
    NotificationType("turn/updated", results.TurnUpdated, "A committed change to a turn, whoever made it."),
    NotificationType("session/updated", results.SessionUpdated, "A committed change to a session, whoever made it."),
    NotificationType("subscription/ended", results.SubscriptionEnded, "A subscription sends nothing more."),
    NotificationType("turn/rejected", results.TurnRejected, "An append that was sent as a notification and failed."),
    NotificationType("server/healthChanged", results.Health, "The status of a store changed."),
)

# What may stand in transaction/run: each write, but not another transaction.
OPERATIONS = frozenset(
    method.name for method in METHODS.values() if method.access.writes and method.name != "transaction/run"
)

"""Results that are no entity of the store, and the notifications."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from mandrake_sessions.model import (
    CurrencyTotal,
    Request,
    Response,
    Round,
    ScopeName,
    Session,
    ToolCall,
    Turn,
    TurnStatus,
    UnavailableStore,
    UsageGroup,
)
from mandrake_sessions.value import Value

HealthStatus = Literal["ok", "degraded", "down"]
"""How a store is.

ok: it can be read and written.
degraded: it can be read; writing fails (`full`, `readOnly`, `io`), or one entity cannot be read. A write that succeeds
ends it. A lock that another process holds is no fault of the store: `busyRetries` counts how often it was in the way.
down: it can be neither read nor written (`corrupt`, `schemaTooNew`, `open` …).
"""

TurnUpdatedKind = Literal[
    "created",
    "appended",
    "updated",
    "toolCallUpdated",
    "toolCallDeleted",
    "deleted",
    "roundDeleted",
    "sessionDeleted",
]
"""What happened to a turn, and which of the last fields a notification has.

created: the turn is new; `turn` is the turn as it was then.
appended: text came; `firstChunk`, `lastChunk`, `content`, `rawResponse`, `currentTokens`, `outputTokens`.
updated: fields of it differ; `changes`.
toolCallUpdated: a tool call of it is new or differs; `toolCall` and `changes`.
toolCallDeleted: a tool call of it is gone; `toolCallId` and `changes`.
deleted: the turn is gone.
roundDeleted: a round in range is gone with all its turns, also where it had none; `responseId`, `turnId`, `index` and
`status` are null.
sessionDeleted: the same for a session; `roundId` is null too.
"""

SessionUpdatedKind = Literal[
    "created",
    "updated",
    "deleted",
    "roundCreated",
    "roundUpdated",
    "roundDeleted",
    "requestUpdated",
    "responseUpdated",
]
"""What happened to a session, and which of the last fields a notification has beside `session`.

created: the session is new.
updated: its fields, or its `updatedAt` or `state`, moved for a reason that has no word of its own, such as a new turn;
neighbouring ones are joined.
deleted: the session is gone; there is no `session`.
roundCreated: it has a new round; `roundId`, `round`, `request`, `response`.
roundUpdated: the metadata of a round differ; `roundId`, `round`.
roundDeleted: a round is gone; `roundId`.
requestUpdated: a request differs; `roundId`, `request`.
responseUpdated: a response differs; `roundId`, `response`.
"""

EndReason = Literal["pruned", "deleted", "closed"]
"""Why a subscription ended.

pruned: the client read so slowly that the store no longer keeps what comes next. Subscribe again and read the state.
deleted: what it was about is gone; the change that says so came before.
closed: the store was closed, since its folder was removed or the server ends.
"""


@frozen(eq=False, repr=False)
class TurnSubscription(Value):
    """``turns``: the state at ``seq``, of a turn or a response whole, of a session or the store the turns that
    stream then; none where the subscription goes on from ``since``. ``store_id``
    is null while the store is not there yet: its first change is sent when it is made."""

    subscription_id: str
    """The name of the subscription in its notifications, and for `turn/unsubscribe`."""
    store_id: str | None
    seq: int
    """The position where it begins: the first notification is the first change after it."""
    reset: bool
    """Whether a ``since`` was given and could not be honoured, so that ``turns`` hold the state instead."""
    turns: list[Turn]
    """The state at ``seq``: of a turn or a response those turns, else the turns that stream then. Empty where the
    subscription goes on from ``since``."""


@frozen(eq=False, repr=False)
class SessionSubscription(Value):
    """``sessions``: the state at ``seq``, of the store the 50 sessions that changed last; none where the
    subscription goes on from ``since``. ``store_id``
    is null while the store is not there yet: its first change is sent when it is made."""

    subscription_id: str
    """The name of the subscription in its notifications, and for `session/unsubscribe`."""
    store_id: str | None
    seq: int
    """The position where it begins: the first notification is the first change after it."""
    reset: bool
    """Whether a ``since`` was given and could not be honoured, so that ``sessions`` hold the state instead."""
    sessions: list[Session]
    """The state at ``seq``: the session, or of a store the 50 that changed last. Empty where the subscription goes on
    from ``since``."""


@frozen(eq=False, repr=False)
class UsageReport(Value):
    """What was used: with ``group_by`` the ``groups`` alone, else the other fields, of all that is counted."""

    totals: list[CurrencyTotal] | None = None
    rounds: int | None = None
    turns: int | None = None
    tool_calls: int | None = None
    streamed_ms: int | None = None
    groups: list[UsageGroup] | None = None
    """The groups, by ``key`` in ascending order of its characters; null comes first."""


@frozen(eq=False, repr=False)
class AllUsage(UsageReport):
    """The answer with ``scope: "all"``: what was used in every store, added up."""

    unavailable: list[UnavailableStore] = field(factory=list)
    """The stores that could not be read, and are not in the sums."""


@frozen(eq=False, repr=False)
class Nothing(Value):
    """An empty object."""


@frozen(eq=False, repr=False)
class TransactionResults(Value):
    """The result of each operation, in order."""

    results: list[Any]
    """What each operation would have been answered by itself, in order."""


@frozen(eq=False, repr=False)
class StoreHealth(Value):
    """One store that is or was open. ``status``: ok, degraded or down; times in milliseconds; sizes in bytes."""

    scope: ScopeName
    """Whether it is a workspace's store or the user's own."""
    workspace: str | None
    """The workspace's directory; null for the user's own store, and for a file of `--database` without one."""
    path: str
    """The file."""
    store_id: str | None
    open: bool
    """Whether this server has it open."""
    status: HealthStatus
    """How the store is."""
    schema_version: int | None
    """The version of the file's schema; null while it is not open."""
    ref_count: int
    """How many users the open file has in this process."""
    last_check_at: int | None
    """When the store was last asked."""
    last_check_ms: float | None
    """How many milliseconds its answer took."""
    wal_bytes: int | None
    """The size of the file's -wal."""
    db_bytes: int | None
    """The size of the file."""
    free_bytes: int | None
    """The room that is left on its file system."""
    reconnects: int
    """How often the file was opened again because it was replaced, moved or deleted."""
    busy_retries: int
    """How often a write had to try again because another process held the lock."""
    last_error: str | None
    """What is wrong with it; null where nothing is."""
    warnings: list[str]
    """What a person should know, each a sentence."""


@frozen(eq=False, repr=False)
class Health(Value):
    """``status`` is the worst of the stores'."""

    status: HealthStatus
    """The worst of the stores', `ok` without any."""
    stores: list[StoreHealth]
    """Each store that this server has met."""


@frozen(eq=False, repr=False)
class StoreInfo(Value):
    """The name and place of one store; ``store_id`` is null while it is not there, or cannot be opened."""

    scope: ScopeName
    """Whether it is a workspace's store or the user's own."""
    workspace: str | None
    """The workspace's directory; null for the user's own store, and for a file of `--database` without one."""
    path: str
    """The file."""
    store_id: str | None


@frozen(eq=False, repr=False)
class ListedStore(Value):
    """A store that this user has used. ``available``: its file is there, and belongs to this user; one that is gone is
    listed for 90 days."""

    store_id: str
    """The name of the store's history; give it as ``store`` to the methods that read."""
    scope: ScopeName
    """Whether it is a workspace's store or the user's own."""
    workspace: str | None
    """The workspace's directory; null for the user's own store, and for a file of `--database` without one."""
    path: str
    """The file."""
    last_used_at: int
    """When this user last used it, to about ten minutes: servers note it when they open the store, and then every ten
    minutes at most."""
    available: bool
    """Whether the file is there and belongs to this user."""


@frozen(eq=False, repr=False)
class StoreList(Value):
    """The stores that this user has used, last used first."""

    stores: list[ListedStore]
    """The stores, last used first."""


@frozen(eq=False, repr=False)
class Limits(Value):
    """What a message and its parts, and a connection, may have at most: bytes, levels, values, digits, rows, counts."""

    max_message_bytes: int
    """Bytes of a message."""
    max_text_bytes: int
    """Bytes of each text of a turn, in UTF-8."""
    max_metadata_bytes: int
    """Bytes of a metadata object, as JSON in UTF-8."""
    max_depth: int
    """Levels of objects and arrays in a message."""
    max_values: int
    """Values in a message."""
    max_integer_digits: int
    """Digits of an integer."""
    max_limit: int
    """Rows of a page."""
    max_subscriptions: int
    """Subscriptions of a connection."""
    max_operations: int
    """Operations of a transaction."""
    max_batch: int
    """Messages of a JSON-RPC batch."""
    max_pending: int
    """Requests that wait for their answers; the server reads on when there are fewer."""
    max_pending_bytes: int
    """Bytes of such requests."""


@frozen(eq=False, repr=False)
class MethodStatistics(Value):
    """How often a method was called and failed, and its milliseconds from arrival to answer: of all, of the longest."""

    count: int
    """How often it was called."""
    errors: int
    """How often it was answered with an error."""
    total_ms: float
    """Milliseconds from arrival to answer, of all calls together."""
    max_ms: float
    """Milliseconds of the longest call."""


@frozen(eq=False, repr=False)
class Info(Value):
    """What answers: its versions, process and stores. ``methods``: the names of those that it has. ``calls``: those
    that this client has called, by name, LSP's as well; unknown ones are counted together as ``unknown``."""

    name: str
    """`mandrake-sessions`."""
    version: str
    """The release."""
    protocol_version: int
    """The version of this protocol: 2."""
    sqlite_version: str
    """The version of SQLite."""
    python_version: str
    """The version of Python."""
    pid: int
    """The server's process id."""
    workspace: str | None
    """The directory of the workspace whose store is the default."""
    stores: list[StoreInfo]
    """The default store, and every other that this server has opened or failed to open."""
    limits: Limits
    """What messages may have at most."""
    methods: list[str]
    """The names of all methods of this page."""
    calls: dict[str, MethodStatistics]
    """What this client has called, by name, LSP's methods as well; unknown ones are counted together as `unknown`."""


@frozen(eq=False, repr=False)
class TurnUpdated(Value):
    """A committed change to a turn. Which of the last fields come depends on ``kind`` (created: ``turn``; appended:
    ``first_chunk`` to ``output_tokens``; updated: ``changes``; toolCallUpdated: ``tool_call`` and ``changes``;
    toolCallDeleted: ``tool_call_id`` and ``changes``). Other kinds: deleted (the turn), roundDeleted, sessionDeleted;
    in these the ids below what was deleted, ``index`` and ``status`` are null."""

    subscription_id: str
    """The subscription that it is sent for."""
    seq: int
    """The position of the change in its store; of joined appends, of the last."""
    kind: TurnUpdatedKind
    """What happened."""
    session_id: str
    """The session of the turn, or the one that was deleted."""
    round_id: str | None
    """The round of the turn, or the one that was deleted."""
    response_id: str | None
    """The response of the turn."""
    turn_id: str | None
    """The turn."""
    index: int | None
    """The turn's place in its response."""
    status: TurnStatus | None
    """The turn's status after the change."""
    turn: Turn | None = None
    """`created`: the turn, as it was at that ``seq``."""
    first_chunk: int | None = None
    """`appended`: the ordinal of the first piece."""
    last_chunk: int | None = None
    """`appended`: the ordinal of the last piece; ``chunk_count`` is one more."""
    content: str | None = None
    """`appended`: the new text alone."""
    raw_response: str | None = None
    """`appended`, with ``include_raw``: the new part alone."""
    current_tokens: int | None = None
    """`appended`: the count after it."""
    output_tokens: int | None = None
    """`appended`: the count after it."""
    changes: dict[str, Any] | None = None
    """`updated` and the two of tool calls: every field of the turn that differs, with its new value."""
    tool_call: ToolCall | None = None
    """`toolCallUpdated`: the whole call, which takes the place of the one with its id or goes to the end."""
    tool_call_id: str | None = None
    """`toolCallDeleted`: the call that went."""


@frozen(eq=False, repr=False)
class SessionUpdated(Value):
    """A committed change to a session, or to a round, request or response of it. ``kind``: created, updated, deleted,
    roundCreated (with ``round``, ``request`` and ``response``), roundUpdated, roundDeleted, requestUpdated,
    responseUpdated; those about a round have its ``round_id``. ``session`` is missing where it was deleted."""

    subscription_id: str
    """The subscription that it is sent for."""
    seq: int
    """The position of the change in its store."""
    kind: SessionUpdatedKind
    """What happened."""
    session_id: str
    """The session."""
    round_id: str | None = None
    """The round, for the kinds that are about one."""
    session: Session | None = None
    """The session as it is now, but with a ``seq`` that is not above that of this change; missing where it is gone."""
    round: Round | None = None
    """`roundCreated`, `roundUpdated`: the round as it is now."""
    request: Request | None = None
    """`roundCreated`, `requestUpdated`: the request as it is now."""
    response: Response | None = None
    """`roundCreated`, `responseUpdated`: the response as it is now, without turns."""


@frozen(eq=False, repr=False)
class SubscriptionEnded(Value):
    """The subscription sends nothing more. ``reason``: pruned, deleted or closed."""

    subscription_id: str
    """The subscription."""
    seq: int
    """Its position: all changes up to this one were sent."""
    reason: EndReason
    """Why it ended."""


@frozen(eq=False, repr=False)
class TurnRejected(Value):
    """An append that was sent as a notification and failed."""

    turn_id: str | None
    """The ``turn_id`` that was sent, if it was a string; a long one is cut."""
    chunk: int | None
    """The ``chunk`` that was sent, if it was an integer."""
    error: dict[str, Any]
    """The error that a request would have got."""

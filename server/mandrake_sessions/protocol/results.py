"""Results that are no entity of the store, and the notifications.

Nobody compares them, and one ``__repr__`` serves them all: methods generated for each class would slow the start.
"""

from __future__ import annotations

from typing import Any

from attrs import fields, frozen

from mandrake_sessions.model import Request, Response, Round, Session, ToolCall, Turn


@frozen(eq=False, repr=False)
class Printable:
    """Prints its fields, as attrs would."""

    def __repr__(self) -> str:
        values = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(type(self)))
        return f"{type(self).__name__}({values})"


@frozen(eq=False, repr=False)
class TurnSubscription(Printable):
    """``turns``: the state at ``seq``, of a turn or a response whole, of a session or the store the turns that
    stream then; none where the subscription goes on from ``since``. ``store_id``
    is null while the store is not there yet: its first change is sent when it is made."""

    subscription_id: str
    store_id: str | None
    seq: int
    reset: bool
    turns: list[Turn]


@frozen(eq=False, repr=False)
class SessionSubscription(Printable):
    """``sessions``: the state at ``seq``, of the store the 50 sessions that changed last; none where the
    subscription goes on from ``since``. ``store_id``
    is null while the store is not there yet: its first change is sent when it is made."""

    subscription_id: str
    store_id: str | None
    seq: int
    reset: bool
    sessions: list[Session]


@frozen(eq=False, repr=False)
class Nothing(Printable):
    """An empty object."""


@frozen(eq=False, repr=False)
class TransactionResults(Printable):
    """The result of each operation, in order."""

    results: list[Any]


@frozen(eq=False, repr=False)
class StoreHealth(Printable):
    """One store that is or was open. ``status``: ok, degraded or down; times in milliseconds; sizes in bytes."""

    scope: str
    workspace: str | None
    path: str
    store_id: str | None
    open: bool
    status: str
    schema_version: int | None
    ref_count: int
    last_check_at: int | None
    last_check_ms: float | None
    wal_bytes: int | None
    db_bytes: int | None
    free_bytes: int | None
    reconnects: int
    busy_retries: int
    last_error: str | None
    warnings: list[str]


@frozen(eq=False, repr=False)
class Health(Printable):
    """``status`` is the worst of the stores'."""

    status: str
    stores: list[StoreHealth]


@frozen(eq=False, repr=False)
class StoreInfo(Printable):
    """The name and place of one store; ``store_id`` is null while it is not there yet."""

    scope: str
    workspace: str | None
    path: str
    store_id: str | None


@frozen(eq=False, repr=False)
class ListedStore(Printable):
    """A store that this user has used. ``available``: its file is there, and belongs to this user; one that is gone is
    listed for 90 days."""

    store_id: str
    scope: str
    workspace: str | None
    path: str
    last_used_at: int
    available: bool


@frozen(eq=False, repr=False)
class StoreList(Printable):
    """The stores that this user has used, last used first."""

    stores: list[ListedStore]


@frozen(eq=False, repr=False)
class Limits(Printable):
    """What a message and its parts, and a connection, may have at most: bytes, levels, values, digits, rows, counts."""

    max_message_bytes: int
    max_text_bytes: int
    max_metadata_bytes: int
    max_depth: int
    max_values: int
    max_integer_digits: int
    max_limit: int
    max_subscriptions: int
    max_operations: int
    max_batch: int
    max_pending: int
    max_pending_bytes: int


@frozen(eq=False, repr=False)
class MethodStatistics(Printable):
    """How often a method was called and failed, and its milliseconds from arrival to answer: of all, of the longest."""

    count: int
    errors: int
    total_ms: float
    max_ms: float


@frozen(eq=False, repr=False)
class Info(Printable):
    """What answers: its versions, process and stores. ``methods``: the names of those that it has. ``calls``: those
    that this client has called, by name, LSP's as well; unknown ones are counted together as ``unknown``."""

    name: str
    version: str
    protocol_version: int
    sqlite_version: str
    python_version: str
    pid: int
    workspace: str | None
    stores: list[StoreInfo]
    limits: Limits
    methods: list[str]
    calls: dict[str, MethodStatistics]


@frozen(eq=False, repr=False)
class TurnUpdated(Printable):
    """A committed change to a turn. Which of the last fields come depends on ``kind`` (created: ``turn``; appended:
    ``first_chunk`` to ``output_tokens``; updated: ``changes``; toolCallUpdated: ``tool_call`` and ``changes``;
    toolCallDeleted: ``tool_call_id`` and ``changes``). Other kinds: deleted (the turn), roundDeleted, sessionDeleted;
    in these the ids below what was deleted, ``index`` and ``status`` are null."""

    subscription_id: str
    seq: int
    kind: str
    session_id: str
    round_id: str | None
    response_id: str | None
    turn_id: str | None
    index: int | None
    status: str | None
    turn: Turn | None = None
    first_chunk: int | None = None
    last_chunk: int | None = None
    content: str | None = None
    raw_response: str | None = None
    current_tokens: int | None = None
    output_tokens: int | None = None
    changes: dict[str, Any] | None = None
    tool_call: ToolCall | None = None
    tool_call_id: str | None = None


@frozen(eq=False, repr=False)
class SessionUpdated(Printable):
    """A committed change to a session, or to a round, request or response of it. ``kind``: created, updated, deleted,
    roundCreated (with ``round``, ``request`` and ``response``), roundUpdated, roundDeleted, requestUpdated,
    responseUpdated; those about a round have its ``round_id``. ``session`` is missing where it was deleted."""

    subscription_id: str
    seq: int
    kind: str
    session_id: str
    round_id: str | None = None
    session: Session | None = None
    round: Round | None = None
    request: Request | None = None
    response: Response | None = None


@frozen(eq=False, repr=False)
class SubscriptionEnded(Printable):
    """The subscription sends nothing more. ``reason``: pruned, deleted or closed."""

    subscription_id: str
    seq: int
    reason: str


@frozen(eq=False, repr=False)
class TurnRejected(Printable):
    """An append that was sent as a notification and failed."""

    turn_id: str | None
    chunk: int | None
    error: dict[str, Any]

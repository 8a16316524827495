"""The params of each method, beside those in ``fields.py``; and the two that every store method takes as well. The text
below each says what it means, and its default.

(No ``from __future__ import annotations`` here: with it Python does not see which keys are ``Required``.)
"""

from typing import Any, Literal, Required, TypedDict

from mandrake_sessions.fields import (
    NewFork,
    NewRound,
    NewTurn,
    RequestUpdate,
    ResponseUpdate,
    SearchWanted,
    SessionsWanted,
    SessionUpdate,
    ToolCallUpdate,
    TurnUpdate,
    UsageWanted,
)
from mandrake_sessions.model import ExportFormat, GroupBy, JsonObject, Order, ScopeName, Sort

AnyScopeName = Literal["workspace", "system", "all"]
"""Which stores are meant.

workspace: the store of a workspace, `<workspace>/.ws/db.sqlite`.
system: the user's own store, `~/.mandrake/db.sqlite`.
all: every store of `store/list` that can be read.
"""


class StoreParams(TypedDict, total=False):
    """Which store is meant."""

    scope: ScopeName
    """Whether the store of a workspace is meant, or the user's own. Default: ``"workspace"``."""
    workspace: str
    """The URI of one of the client's folders (`file:///path/to/folder`, not a path). Default: the first folder."""


class ReadStoreParams(TypedDict, total=False):
    """The same for a method that reads."""

    scope: ScopeName
    """Whether the store of a workspace is meant, or the user's own. Default: without ``store`` that of a workspace."""
    workspace: str
    """The URI of one of the client's folders (`file:///path/to/folder`, not a path). Default: without ``store`` the
    first folder."""
    store: str
    """The ``store_id`` of one of `store/list`, in place of ``scope`` and ``workspace``. Default: none."""


class AllStoreParams(TypedDict, total=False):
    """The same for a method that can read all stores at once."""

    scope: AnyScopeName
    """Whether the store of a workspace is meant, the user's own, or every store of `store/list` that can be read.
    Default: without ``store`` that of a workspace."""
    workspace: str
    """The URI of one of the client's folders (`file:///path/to/folder`, not a path). Default: without ``store`` the
    first folder."""
    store: str
    """The ``store_id`` of one of `store/list`, in place of ``scope`` and ``workspace``. Default: none."""


AnyStoreParams = StoreParams | ReadStoreParams | AllStoreParams


class NoParams(TypedDict):
    pass


class Page(TypedDict, total=False):
    limit: int
    """How many rows the page has at most, from 1 to 1000. Default: ``50``."""
    cursor: str | None
    """The ``next_cursor`` of the page before. Default: ``None``, the first page."""


class TextChoice(TypedDict, total=False):
    include_text: bool
    """Whether turns have their texts, ``content`` and ``raw_response``. Default: ``True``."""


class RawChoice(TextChoice, total=False):
    include_raw: bool
    """Whether turns have ``raw_response``. Default: ``False``."""


class SessionId(TypedDict):
    session_id: str
    """The session."""


class SessionGet(TypedDict, total=False):
    session_id: str
    """The session's id; give this or ``external_id``. Default: none."""
    external_id: str
    """The name that another program has for the session. Default: none."""
    agent: str | None
    """The program that has that name for it; ``None`` means the sessions of none. Default: whichever has it, if it is
    one alone."""


class SessionList(Page, SessionsWanted, total=False):
    sort: Sort
    """What comes first: what changed last (by ``seq``), or what was active last (by ``active_at``). Default:
    ``"changed"``."""


class SessionChange(SessionUpdate, total=False):
    session_id: Required[str]
    """The session."""


class SessionFork(NewFork, total=False):
    session_id: Required[str]
    """The session that is copied."""


class SessionHistory(Page, RawChoice, total=False):
    session_id: Required[str]
    """The session."""
    order: Order
    """Whether the oldest round comes first (`asc`) or the latest (`desc`). Default: ``"asc"``."""


class SessionUsage(UsageWanted, total=False):
    timezone: str | None
    """The time zone whose days are meant, a name of the IANA database such as `Europe/Berlin`. Default: ``None``,
    `UTC`."""
    group_by: GroupBy | None
    """What makes a group: a day of ``timezone``, a model, or a session, an agent or a directory of sessions. Default:
    ``None``, one sum of all."""


class SessionExport(TypedDict, total=False):
    session_id: Required[str]
    """The session."""
    format: Required[ExportFormat]
    """`markdown` and `html` for people, `jsonl` without any loss, `atif` for tools that read agents' trajectories."""
    redact: bool
    """Whether secrets and the names of home directories are replaced. Default: depends on ``format``:
    ``False`` for `jsonl`, else ``True``."""


class SessionSearch(Page, SearchWanted, total=False):
    query: Required[str]
    """What is looked for; any text. Words in any case, with accents or without; phrases in quotes; ``word*`` for all
    words that begin so; parts of words of three letters or more."""


class RoundCreate(NewRound, total=False):
    session_id: Required[str]
    """The session that the round is added to."""


class RoundId(TypedDict):
    round_id: str
    """The round."""


class RoundChange(TypedDict):
    round_id: str
    """The round."""
    metadata: JsonObject
    """An object of the client's own, in place of the one that the round has."""


class RoundList(Page, total=False):
    session_id: Required[str]
    """The session."""


class RoundDelete(TypedDict, total=False):
    round_id: Required[str]
    """The round."""
    following: bool
    """Whether all later rounds of the session are deleted too. Default: ``False``."""


class RequestId(TypedDict):
    request_id: str
    """The request."""


class RequestChange(RequestUpdate, total=False):
    request_id: Required[str]
    """The request."""


class ResponseId(TypedDict):
    response_id: str
    """The response."""


class ResponseChange(ResponseUpdate, total=False):
    response_id: Required[str]
    """The response."""


class ResponseStatusGet(RawChoice, total=False):
    response_id: Required[str]
    """The response."""


class TurnCreate(NewTurn, TextChoice, total=False):
    response_id: Required[str]
    """The response that the turn is added to."""


class TurnChange(TurnUpdate, TextChoice, total=False):
    turn_id: Required[str]
    """The turn."""


class TurnGet(TextChoice, total=False):
    turn_id: Required[str]
    """The turn."""


class TurnId(TypedDict):
    turn_id: str
    """The turn."""


class TurnList(Page, RawChoice, total=False):
    response_id: Required[str]
    """The response."""


class TurnLatest(TextChoice, total=False):
    response_id: Required[str]
    """The response."""


class ToolCallUpsert(TypedDict):
    turn_id: str
    """The turn that the call belongs to."""
    tool_call: ToolCallUpdate
    """The call; a field that is left out is kept, or has the default of `ToolCallFields` in a new call."""


class ToolCallId(TypedDict):
    turn_id: str
    """The turn."""
    tool_call_id: str
    """The client's id of the call."""


class Since(TypedDict, total=False):
    since: int | None
    """The `seq` to go on from; the changes above it are sent. Default: ``None``, from now on, with the state as it
    is."""
    store_id: str | None
    """The ``store_id`` that ``since`` is of; another store sends its whole state. Default: ``None``, any store."""


class TurnSubscribe(Since, RawChoice, total=False):
    turn_id: str
    """Follow this turn alone. Default: none; without all three, the whole store."""
    response_id: str
    """Follow the turns of this response. Default: none."""
    session_id: str
    """Follow the turns of this session. Default: none."""


class SessionSubscribe(Since, total=False):
    session_id: str
    """Follow this session alone. Default: none: all sessions of the store."""


class SubscriptionId(TypedDict):
    subscription_id: str
    """The subscription."""


class Operation(TypedDict, total=False):
    """One write of a transaction, as it would be sent by itself."""

    method: Required[str]
    """A method that writes, but not `transaction/run`."""
    params: dict[str, Any]
    """The params of the method. Default: ``{}``."""


class TransactionRun(TypedDict):
    operations: list[Operation]
    """The writes, in their order."""

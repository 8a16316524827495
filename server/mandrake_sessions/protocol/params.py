"""The params of each method, beside those in ``fields.py``; and the two that every store method takes as well.

(No ``from __future__ import annotations`` here: with it Python does not see which keys are ``Required``.)
"""

from typing import Any, Literal, Required, TypedDict

from mandrake_sessions.fields import (
    NewRound,
    NewTurn,
    RequestUpdate,
    ResponseUpdate,
    SessionUpdate,
    ToolCallFields,
    TurnUpdate,
)
from mandrake_sessions.model import JsonObject, Order

ScopeName = Literal["workspace", "system"]


class StoreParams(TypedDict, total=False):
    """Which store is meant: that of the workspace (of one of the client's folders, by its URI) or the user's own."""

    scope: ScopeName
    workspace: str


class NoParams(TypedDict):
    pass


class Page(TypedDict, total=False):
    limit: int
    cursor: str | None


class TextChoice(TypedDict, total=False):
    """``include_text: false`` leaves the texts of turns out."""

    include_text: bool


class RawChoice(TextChoice, total=False):
    """``include_raw: true`` adds ``rawResponse`` to turns."""

    include_raw: bool


class SessionId(TypedDict):
    session_id: str


class SessionGet(TypedDict, total=False):
    session_id: str
    external_id: str


class SessionList(Page, total=False):
    archived: bool | None
    query: str | None
    parent_id: str | None
    streaming: bool | None


class SessionChange(SessionUpdate, total=False):
    session_id: Required[str]


class SessionHistory(Page, RawChoice, total=False):
    session_id: Required[str]
    order: Order


class RoundCreate(NewRound, total=False):
    session_id: Required[str]


class RoundId(TypedDict):
    round_id: str


class RoundChange(TypedDict):
    round_id: str
    metadata: JsonObject


class RoundList(Page, total=False):
    session_id: Required[str]


class RoundDelete(TypedDict, total=False):
    round_id: Required[str]
    following: bool


class RequestId(TypedDict):
    request_id: str


class RequestChange(RequestUpdate, total=False):
    request_id: Required[str]


class ResponseId(TypedDict):
    response_id: str


class ResponseChange(ResponseUpdate, total=False):
    response_id: Required[str]


class ResponseStatusGet(RawChoice, total=False):
    response_id: Required[str]


class TurnCreate(NewTurn, TextChoice, total=False):
    response_id: Required[str]


class TurnChange(TurnUpdate, TextChoice, total=False):
    turn_id: Required[str]


class TurnGet(TextChoice, total=False):
    turn_id: Required[str]


class TurnId(TypedDict):
    turn_id: str


class TurnList(Page, RawChoice, total=False):
    response_id: Required[str]


class TurnLatest(TextChoice, total=False):
    response_id: Required[str]


class ToolCallUpsert(TypedDict):
    turn_id: str
    tool_call: ToolCallFields


class ToolCallId(TypedDict):
    turn_id: str
    tool_call_id: str


class Since(TypedDict, total=False):
    """``since``: a ``seq`` to go on from; ``store_id``: of which history."""

    since: int | None
    store_id: str | None


class TurnSubscribe(Since, RawChoice, total=False):
    turn_id: str
    response_id: str
    session_id: str


class SessionSubscribe(Since, total=False):
    session_id: str


class SubscriptionId(TypedDict):
    subscription_id: str


class Operation(TypedDict, total=False):
    """One write of a transaction, as it would be sent by itself."""

    method: Required[str]
    params: dict[str, Any]


class TransactionRun(TypedDict):
    operations: list[Operation]

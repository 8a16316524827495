"""What a caller may give to make or change an entity, as typed dictionaries.

A field that is left out is kept (or takes its default, which is named here), ``None`` clears it. The manager takes
them as keyword arguments, the wire as ``params``; both from here.

(No ``from __future__ import annotations`` here: with it Python does not see which keys are ``Required``.)
"""

from typing import Required, TypedDict

from mandrake_sessions.model import Json, JsonObject, ResponseStatus, ToolCallStatus, TurnStatus


class SessionFields(TypedDict, total=False):
    """``external_id``: another program's name for the session, unique in the store."""

    external_id: str | None
    title: str | None
    description: str | None
    metadata: JsonObject


class NewSession(SessionFields, total=False):
    """``id``: any UUID, so that the call can be sent again."""

    id: str


class SessionUpdate(SessionFields, total=False):
    archived: bool


class NewRound(TypedDict, total=False):
    """``content``: the text of the request; ``blocks``: the request as the client had it, a JSON array."""

    content: Required[str]
    blocks: list[Json] | None
    metadata: JsonObject
    id: str
    request_id: str
    response_id: str


class RequestUpdate(TypedDict, total=False):
    content: str
    blocks: list[Json] | None


class ResponseUpdate(TypedDict, total=False):
    status: Required[ResponseStatus]
    stop_reason: str | None


class ToolCallFields(TypedDict, total=False):
    """Defaults: ``status`` pending, ``arguments`` and ``metadata`` ``{}``, all else ``None``."""

    id: Required[str]
    title: str | None
    kind: str | None
    server_name: str | None
    method_name: str | None
    arguments: Json
    response: Json
    content: Json
    locations: Json
    status: ToolCallStatus
    start_time: int | None
    end_time: int | None
    metadata: JsonObject


class TurnFields(TypedDict, total=False):
    """Defaults: ``kind`` message, texts empty, counts and costs 0, ``status`` streaming, all else ``None``."""

    kind: str
    content: str
    raw_response: str
    status: TurnStatus
    model: str | None
    metadata: JsonObject
    current_tokens: int
    expected_tokens: int | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    input_cost: float
    output_cost: float


class NewTurn(TurnFields, total=False):
    """``detached``: the turn belongs to no process, and waits for its update when its writer has gone."""

    id: str
    tool_calls: list[ToolCallFields]
    detached: bool


class TurnUpdate(TurnFields, total=False):
    error: str | None
    stream_end_time: int | None


class Piece(TypedDict, total=False):
    """What one append adds: at least one text. ``chunk``: its ordinal in the turn, for sending it again safely."""

    content: str
    raw_response: str
    chunk: int
    current_tokens: int
    output_tokens: int


class TurnPiece(Piece, total=False):
    """A piece with the turn that it belongs to."""

    turn_id: Required[str]

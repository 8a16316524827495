"""What a caller may give to make or change an entity, as typed dictionaries.

The manager takes them as keyword arguments, the wire as ``params``; both from here. The text below a field says what it
means and, after ``Default:``, what it is where it is left out; docs/protocol.md takes it from here. ``None`` clears a
field that may be ``None``.

(No ``from __future__ import annotations`` here: with it Python does not see which keys are ``Required``.)
"""

from collections.abc import Mapping
from typing import Final, Required, TypedDict

from mandrake_sessions.model import (
    Json,
    JsonObject,
    Origin,
    Relation,
    ResponseStatus,
    SearchRole,
    SessionState,
    ToolCallStatus,
    TurnStatus,
)

# The metadata of a turn whose text is no Markdown, or of a round whose request is none.
PLAIN: Final[Mapping[str, Json]] = {"mediaType": "text/plain"}


class SessionFields(TypedDict, total=False):
    external_id: str | None
    """Another program's name for the session, unique per ``agent``; sessions without an agent
    form one group. Default: ``None``."""
    agent: str | None
    """The program whose session it is, such as `claude-code` or `codex`. Default: ``None``."""
    source: str | None
    """How the session came here, such as `acp` or `import:codex`. Default: ``None``, a client made it."""
    cwd: str | None
    """The absolute directory that the session is about, kept as it is given: nothing resolves `..` or links.
    Default: ``None``."""
    relation: Relation | None
    """What the session is to its parent. Default: ``None``."""
    title: str | None
    """What a list shows for the session. Default: ``None``."""
    description: str | None
    """A longer text about the session. Default: ``None``."""
    metadata: JsonObject
    """An object of the client's own, which is replaced whole. Default: ``{}``."""


class NewSession(SessionFields, total=False):
    id: str
    """The session's id, so that the call can be sent again. Default: a new UUID."""
    parent_id: str | None
    """The session that it came from, which has to be there. Default: ``None``."""
    parent_tool_call_id: str | None
    """The tool call of the parent that started it, for a subagent. Default: ``None``."""
    created_at: int
    """When it began, at most a day ahead of the clock. Default: now."""


class SessionUpdate(SessionFields, total=False):
    """A field that is left out is kept."""

    archived: bool
    """Whether the session is put away: `session/list` leaves it out then."""


class NewFork(TypedDict, total=False):
    through_round_id: str | None
    """The last round that is copied, of that session. Default: ``None``, all of them."""
    title: str | None
    """What a list shows for the copy. Default: the title of the session that is copied."""
    id: str
    """The copy's id, so that the call can be sent again. Default: a new UUID."""


class SessionsWanted(TypedDict, total=False):
    """Which sessions a list holds. All that is given must hold."""

    archived: bool | None
    """Whether the sessions are archived; ``None`` means both kinds. Default: ``False``."""
    query: str | None
    """A text that the title, the description or the preview contains, in any case. Default: ``None``, all sessions."""
    parent_id: str | None
    """The session that they came from. Default: ``None``, all sessions."""
    streaming: bool | None
    """Whether a turn of theirs streams now. Default: ``None``, both kinds."""
    state: SessionState | None
    """How they stand. Default: ``None``, all sessions."""
    agent: str | None
    """The program whose sessions they are. Default: ``None``, all sessions."""
    source: str | None
    """How they came here. Default: ``None``, all sessions."""
    cwd: str | None
    """The directory that they are about: that one and all below. Paths are compared as texts, but for slashes at the
    end of this one. Default: ``None``, all sessions."""
    active_since: int | None
    """The earliest ``active_at``, in milliseconds since the epoch. Default: ``None``, no bound."""
    active_until: int | None
    """The ``active_at`` before which they lie; that moment itself is left out. Default: ``None``, no bound."""


class UsageWanted(TypedDict, total=False):
    """What is counted. All that is given must hold."""

    session_id: str | None
    """The session whose turns count; those of its forks and subagents are theirs. Default: ``None``, all sessions."""
    agent: str | None
    """The program whose sessions count. Default: ``None``, all sessions."""
    cwd: str | None
    """The directory whose sessions count: that one and all below. Default: ``None``, all sessions."""
    since: int | None
    """The earliest time that counts, in milliseconds since the epoch. Default: ``None``, no bound."""
    until: int | None
    """The time before which it lies; that moment itself does not count. Default: ``None``, no bound."""


class SearchWanted(TypedDict, total=False):
    """Which texts are searched. All that is given must hold."""

    session_id: str | None
    """The session that they are in. Default: ``None``, all sessions."""
    agent: str | None
    """The program whose sessions are searched. Default: ``None``, all sessions."""
    cwd: str | None
    """The directory that the sessions are about: that one and all below. Default: ``None``, all sessions."""
    role: SearchRole | None
    """Whose words they are. Default: ``None``, all of them."""
    since: int | None
    """The earliest ``at``, in milliseconds since the epoch. Default: ``None``, no bound."""
    until: int | None
    """The ``at`` before which they lie; that moment itself is left out. Default: ``None``, no bound."""
    archived: bool | None
    """Whether the sessions are archived; ``None`` means both kinds. Default: ``False``."""


class NewRound(TypedDict, total=False):
    content: Required[str]
    """The text of the request."""
    blocks: list[Json] | None
    """The request as the client had it, where it is more than text. Default: ``None``."""
    metadata: JsonObject
    """An object of the client's own, of the round. Default: ``{}``."""
    origin: Origin
    """Who asked for the round; `agent` for one that nobody asked for. Give that one ``""`` as its ``content``; any text
    is taken. Default: ``"user"``."""
    id: str
    """The round's id, so that the call can be sent again. Default: a new UUID."""
    request_id: str
    """The id of the request. Default: a new UUID."""
    response_id: str
    """The id of the response. Default: a new UUID."""
    created_at: int
    """When the round began, at most a day ahead of the clock. Default: now."""


class RequestUpdate(TypedDict, total=False):
    """A field that is left out is kept."""

    content: str
    """The text of the request."""
    blocks: list[Json] | None
    """The request as the client had it, where it is more than text."""


class UsageFields(TypedDict, total=False):
    """What an agent said of a whole response. A field that is ``None`` is counted from the turns."""

    input_tokens: int | None
    """The tokens that were billed for the input. Default: ``None``."""
    output_tokens: int | None
    """The tokens that were billed for the output. Default: ``None``."""
    thought_tokens: int | None
    """The tokens of the model's thoughts. Default: ``None``."""
    cache_read_tokens: int | None
    """The tokens that the provider read from its cache. Default: ``None``."""
    cache_write_tokens: int | None
    """The tokens that the provider wrote to its cache. Default: ``None``."""
    context_used: int | None
    """The tokens in the model's context at the end. Default: ``None``."""
    context_size: int | None
    """The tokens that the model's context can hold. Default: ``None``."""
    cost: float | None
    """What the response cost, from 0 and below 10⁶ of ``currency``. Default: ``None``."""
    currency: str | None
    """The currency of ``cost``, an ISO 4217 code. Default: ``None``, that of the last turn, or `USD`."""


class ResponseUpdate(TypedDict, total=False):
    """A field that is left out is kept."""

    status: ResponseStatus
    """How the response stands; one that is neither `open` nor `requires_action` has an ``end_time``."""
    stop_reason: str | None
    """Why the agent stopped, in its own words."""
    usage: UsageFields | None
    """What the agent said of the whole response; it is replaced whole."""
    end_time: int | None
    """When the response ended, at most a day ahead of the clock. Default: now, if it ends with this update."""


class ToolCallFields(TypedDict, total=False):
    """A tool call that a turn begins with."""

    id: Required[str]
    """The client's id of the call, unique in its turn."""
    title: str | None
    """What a reader sees of the call. Default: ``None``."""
    kind: str | None
    """What the tool does, in the client's words, such as `read`. Default: ``None``."""
    server_name: str | None
    """The server that offers the tool. Default: ``None``."""
    method_name: str | None
    """The tool's name there. Default: ``None``."""
    arguments: Json
    """What the tool was given. Default: ``{}``."""
    response: Json
    """What the tool answered. Default: ``None``."""
    content: Json
    """What the tool has to show, in the client's form. Default: ``None``."""
    locations: Json
    """The files and lines that the call is about, in the client's form. Default: ``None``."""
    status: ToolCallStatus
    """How the call stands. Default: ``"pending"``."""
    start_time: int | None
    """When the call began. Default: ``None``."""
    end_time: int | None
    """When the call ended. Default: ``None``."""
    metadata: JsonObject
    """An object of the client's own. Default: ``{}``."""


class ToolCallUpdate(ToolCallFields, total=False):
    """A tool call of a turn, new or changed. In a new one a field that is left out has the default of
    `ToolCallFields`. A field that is left out is kept."""


class TurnFields(TypedDict, total=False):
    kind: str
    """What the turn is: `message`, `thought`, `plan`, `tool_output`, or another word of the client's. Default:
    ``"message"``."""
    tool_call_id: str | None
    """The tool call of the same response whose output the turn is; it need not be there yet. Default: ``None``."""
    content: str
    """The text of the turn. Default: ``""``."""
    raw_response: str
    """What the agent sent, as it came. Default: ``""``."""
    status: TurnStatus
    """How the turn stands; one that leaves `streaming` gets its ``stream_end_time``, and its text is final. Default:
    ``"streaming"``."""
    model: str | None
    """The model that wrote the turn. Default: ``None``."""
    metadata: JsonObject
    """An object of the client's own, which is replaced whole. Default: ``{}``."""
    current_tokens: int
    """The tokens that have streamed so far. Default: ``0``."""
    expected_tokens: int | None
    """The tokens that the agent expects in the end. Default: ``None``."""
    input_tokens: int
    """The tokens that were billed for the input. Default: ``0``."""
    output_tokens: int
    """The tokens that were billed for the output. Default: ``0``."""
    thought_tokens: int | None
    """The tokens of the model's thoughts. Default: ``None``."""
    cache_read_tokens: int | None
    """The tokens that the provider read from its cache. Default: ``None``."""
    cache_write_tokens: int | None
    """The tokens that the provider wrote to its cache. Default: ``None``."""
    input_cost: float
    """What the input cost, from 0 and below 10⁶ of ``currency``; finer than 10⁻⁹ is rounded. Default: ``0.0``."""
    output_cost: float
    """What the output cost, in the same way. Default: ``0.0``."""
    cost: float | None
    """What the turn cost as a whole, where the parts are not known. Default: ``None``."""
    currency: str
    """The currency of the costs, an ISO 4217 code. Default: ``"USD"``."""


class NewTurn(TurnFields, total=False):
    id: str
    """The turn's id, so that the call can be sent again. Default: a new UUID."""
    tool_calls: list[ToolCallFields]
    """The tool calls that the turn begins with. Default: ``[]``."""
    created_at: int
    """When the turn was made, at most a day ahead of the clock. Default: now."""
    stream_start_time: int
    """When its stream began, at most a day ahead of the clock. Default: that of ``created_at``."""
    stream_end_time: int | None
    """When its stream ended, for a turn that is made ended. Default: that of ``stream_start_time``."""
    detached: bool
    """Whether the turn belongs to no process, so that it stays `streaming` when its writer is gone; no result says it
    again. Default: ``False``."""


class TurnUpdate(TurnFields, total=False):
    """A field that is left out is kept."""

    error: str | None
    """What went wrong, for a turn that ends in an error."""
    stream_end_time: int | None
    """When the turn ended, at most a day ahead of the clock. Default: now, if it ends with this update."""


class Piece(TypedDict, total=False):
    """What one append adds: at least one text."""

    content: str
    """The next text of the turn; a piece has this, ``raw_response`` or both. Default: none."""
    raw_response: str
    """The next part of what the agent sent, as it came. Default: none."""
    chunk: int
    """The ordinal of the piece in its turn, from 0, so that the call can be sent again. Default: the next one."""
    current_tokens: int
    """The tokens that have streamed so far. Default: the last count."""
    output_tokens: int
    """The tokens that were billed for the output. Default: the last count."""


class TurnPiece(Piece, total=False):
    """A piece with the turn that it belongs to."""

    turn_id: Required[str]
    """The turn that the piece belongs to."""

"""What a reader says of a conversation, in the order in which it happened.

``id`` is always the source's own name for a thing, unique in its conversation; the same source gives the same names
each time it is read. ``at`` is a time in milliseconds since the epoch, None where the source has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

Json = Any


@frozen
class Position:
    """A place where reading can go on later. ``offset``: the bytes that were read, of what is inside a compressed file.
    ``state``: what the reader has to know there, as a small JSON object."""

    offset: int = 0
    state: Mapping[str, Json] = field(factory=dict)


@frozen
class SessionSaid:
    """Something about the conversation as a whole. What is None is not said; what is said later replaces what was said
    before. ``parent``: the external id of the conversation that it came from. ``is_kept_empty``: whether it is
    brought in although nothing was said in it."""

    cwd: str | None = None
    title: str | None = None
    description: str | None = None
    at: int | None = None
    parent: str | None = None
    relation: Literal["fork", "subagent", "continuation"] | None = None
    parent_tool_call: str | None = None
    metadata: Mapping[str, Json] = field(factory=dict)
    is_kept_empty: bool = False


@frozen
class Requested:
    """A round begins. ``blocks``: the request as the source has it, where it is more than text. ``shared_id``: a name
    that a copy of the request in another conversation has too."""

    id: str
    text: str
    at: int | None
    origin: Literal["user", "agent", "system"] = "user"
    blocks: list[Json] | None = None
    shared_id: str | None = None


@frozen
class Said:
    """A part of a model's reply: a turn of the round. ``reply``: the reply that it is part of. ``kind``: ``message``,
    ``thought`` or another word of turns. ``more``: other fields of the turn, by their names in ``fields.NewTurn``."""

    id: str
    reply: str
    kind: str
    text: str
    at: int | None
    model: str | None = None
    error: str | None = None
    is_cut_off: bool = False
    metadata: Mapping[str, Json] = field(factory=dict)
    more: Mapping[str, Json] = field(factory=dict)


@frozen
class Called:
    """The model calls a tool. ``id``: that of the call."""

    id: str
    reply: str
    name: str
    arguments: Json
    at: int | None
    server: str | None = None
    model: str | None = None


@frozen
class Answered:
    """A tool has answered, or was not let run. ``content``: what it showed beside text."""

    call: str
    response: Json
    at: int | None
    is_failed: bool = False
    content: Json = None
    metadata: Mapping[str, Json] = field(factory=dict)


@frozen
class Used:
    """What a reply used; of several for one reply the last counts."""

    reply: str
    input_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost: float | None = None


@frozen
class Compacted:
    """The program replaced what the model sees of the conversation by a summary. ``reply``: the one that wrote it."""

    id: str
    summary: str
    at: int | None
    reply: str | None = None
    metadata: Mapping[str, Json] = field(factory=dict)


@frozen
class Ended:
    """The round has ended. ``reason``: why, in the source's words. ``is_cut_off``: within what was said last."""

    status: Literal["completed", "interrupted", "error"]
    at: int | None
    reason: str | None = None
    is_cut_off: bool = False


@frozen
class Left:
    """The conversation goes on before these rounds, by the ids of their requests: they are another branch from now on.
    ``at_request``: the request that the new branch begins with, or another name for it."""

    requests: tuple[str, ...]
    at_request: str


@frozen
class Spawned:
    """A tool call has started another conversation."""

    call: str
    external_id: str


@frozen
class Broken:
    """A part of the source that cannot be read; the rest goes on. ``line``: counted from 1; 0 where it has no
    lines. ``is_left_out``: whether nothing of it is brought in."""

    line: int
    offset: int
    reason: str
    is_left_out: bool = True


@frozen
class Paused:
    """The source has no more for now. What follows is read once it has grown."""


@frozen
class Rewritten:
    """What was read before is not as it was then. Nothing of it is deleted."""

    reason: str


@frozen
class Mark:
    """All that was said until now lies before ``position``, and all that follows lies after it."""

    position: Position


@frozen
class Verbatim:
    """An entity of a store like this one, with its ids, by the names of its fields; a session first. ``round``: with
    the fields of its request; ``turn``: with its tool calls; ``response``: after its turns."""

    kind: Literal["session", "round", "turn", "response"]
    fields: Mapping[str, Json]


_OfOthers = SessionSaid | Requested | Said | Called | Answered | Used | Compacted | Ended | Left | Spawned
Event = _OfOthers | Broken | Rewritten | Mark | Paused | Verbatim

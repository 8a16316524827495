"""What the messages of a conversation mean for the store, in the order in which they passed.

``session``: the agent's own id of a session. ``round`` and ``turn``: the ids that these have in the store, given here,
so that an event that is carried out again changes nothing. ``at``: milliseconds since the epoch, when the message
passed. Texts may hold what the store does not take, such as lone surrogates; values may be nested too deep.

Events are plain JSON values inside, so that those that wait can be written to a file (``to_json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import asdict, field, frozen

Json = Any


@frozen
class Began:
    """A session is known from now on: new, loaded, resumed, forked or started by another one. It is stored with its
    first round, or at once with ``is_kept``. ``agent``: the word for the program (``importing/agents.py``).
    ``parent``: the agent's id of the session that it came from."""

    session: str
    agent: str
    at: int
    cwd: str | None = None
    relation: Literal["fork", "subagent", "continuation"] | None = None
    parent: str | None = None
    parent_tool_call: str | None = None
    is_kept: bool = False
    metadata: Mapping[str, Json] = field(factory=dict)


@frozen
class Described:
    """Something about the session as a whole. What is None is not said. ``metadata``: members that are set; one whose
    value is None goes."""

    session: str
    title: str | None = None
    metadata: Mapping[str, Json] = field(factory=dict)


@frozen
class Asked:
    """A round begins. ``blocks``: the request as the client sent it, None where it is one text."""

    session: str
    round: str
    text: str
    at: int
    blocks: list[Json] | None = None
    origin: Literal["user", "agent", "system"] = "user"
    metadata: Mapping[str, Json] = field(factory=dict)


@frozen
class Requested:
    """The request of a round is this, as a whole: it came in pieces."""

    session: str
    round: str
    text: str
    blocks: list[Json] | None = None


@frozen
class Said:
    """The next text of a turn; the first makes it, with ``kind`` and ``metadata``. It streams until another event
    completes it."""

    session: str
    round: str
    turn: str
    kind: str
    text: str
    at: int
    metadata: Mapping[str, Json] = field(factory=dict)


@frozen
class Put:
    """A turn is this, as a whole; it is made or replaced, and ``is_ended`` with it."""

    session: str
    round: str
    turn: str
    kind: str
    text: str
    at: int
    metadata: Mapping[str, Json] = field(factory=dict)
    is_ended: bool = True


@frozen
class Completed:
    """Nothing more is said in a turn."""

    session: str
    round: str
    turn: str
    at: int
    status: Literal["completed", "cancelled", "error", "interrupted"] = "completed"
    error: str | None = None


@frozen
class Called:
    """A tool call of a turn, new or changed. ``fields``: those of ``fields.ToolCallFields`` that are known, ``id``
    among them; one that is left out is kept. The first event of a turn makes it, of kind ``tool_calls``."""

    session: str
    round: str
    turn: str
    fields: Mapping[str, Json]
    at: int


@frozen
class Stood:
    """The response of a round waits for somebody (``requires_action``), or for nobody any more (``open``)."""

    session: str
    round: str
    status: Literal["open", "requires_action"]
    at: int


@frozen
class Used:
    """What the agent has said of the whole response until now: members of ``fields.UsageFields``; those that are left
    out are kept. ``totals``: such members for the whole session, where only the store may know what they were before
    the round began: it has them as the session's metadata ``totals``, or cannot know either
    (``usage.own_share``). ``turn``: the
    one turn that ``usage`` is of; then it is no part of what is said of the whole response."""

    session: str
    round: str
    usage: Mapping[str, Json]
    totals: Mapping[str, Json] = field(factory=dict)
    turn: str | None = None


@frozen
class Ended:
    """The response of a round has ended, and the turns of it that still stream with it. ``error``: why, for a turn."""

    session: str
    round: str
    at: int
    status: Literal["completed", "cancelled", "error", "interrupted"] = "completed"
    stop_reason: str | None = None
    error: str | None = None
    metadata: Mapping[str, Json] = field(factory=dict)


Event = Began | Described | Asked | Requested | Said | Put | Completed | Called | Stood | Used | Ended
_KINDS: Final = {
    kind.__name__: kind
    for kind in (Began, Described, Asked, Requested, Said, Put, Completed, Called, Stood, Used, Ended)
}  # fmt: skip


def to_json(event: Event) -> Json:
    """A value that ``from_json`` makes the event of."""
    return [type(event).__name__, asdict(event, recurse=False)]


def from_json(value: Json) -> Event:
    """Raises KeyError, TypeError or ValueError: it is no event's."""
    name, fields = value
    event: Event = _KINDS[name](**fields)
    return event

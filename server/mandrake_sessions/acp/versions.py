"""What differs between the versions of the protocol, by the number that both sides have agreed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from mandrake_sessions.acp.members import Object
from mandrake_sessions.acp.talk import Talk
from mandrake_sessions.acp.talks import Talks


@frozen
class Answered:
    """An answer to a request: its result, or its error. Both are objects, or empty."""

    result: Object
    error: Object
    is_error: bool
    at: int


Answer = Callable[[Answered], None]
Update = Callable[[Talks, Talk, Object, int], None]


@frozen
class Version:
    """``updates``: by kind. ``prompt``: what a prompt begins, and what its answer means. ``asked_about``: the tool
    call of a permission request, or what stands for it; it has no ``toolCallId`` where there is no call."""

    updates: Mapping[str, Update]
    prompt: Callable[[Talk, Object, int], Answer]
    asked_about: Callable[[Object], Object]
    null_clears: bool

"""The one place where the messages of both directions pass: what they mean is emitted as events.

Nothing here reads, writes or waits. What has no form that is known is left out, and counted.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Literal

from attrs import define, field

from mandrake_sessions.acp import agent_calls, client_calls
from mandrake_sessions.acp.events import Event
from mandrake_sessions.acp.members import Json, Object, object_of, text_of
from mandrake_sessions.acp.talk import Talk
from mandrake_sessions.acp.talks import Talks
from mandrake_sessions.acp.versions import Answer, Answered
from mandrake_sessions.importing.agents import agent_word
from mandrake_sessions.nesting import is_text_deeper_than

Direction = Literal["client", "agent"]

logger = logging.getLogger(__name__)

_DECODER: Final = json.JSONDecoder(parse_constant=lambda _: None)
_MAX_DEPTH: Final = 400
# Requests of a side that are not answered yet.
_MAX_ASKED: Final = 10_000


@define(eq=False)
class Conversation:
    """``program``: what the agent is called until it says so itself."""

    _emit: Callable[[Event], None]
    program: str = "acp"
    _talks: Talks = field(init=False)
    # By the side that has asked, and its own id.
    _asked: dict[Direction, OrderedDict[str, Answer]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._talks = Talks(self._emit, agent_word(self.program) or "acp")
        self._asked = {"client": OrderedDict(), "agent": OrderedDict()}

    @property
    def skipped(self) -> int:
        """How many lines and messages were left out, whole or in part."""
        return self._talks.skipped

    def take(self, direction: Direction, line: bytes, at: int) -> None:
        """A line from one side, which passed ``at`` that many milliseconds since the epoch. Never raises for what it
        holds."""
        value = _parsed(line)
        for message in value if isinstance(value, list) else [value]:
            if not isinstance(message, dict):
                if line.strip():
                    self._talks.skip()
                continue
            try:
                self._take(direction, message, len(line), at)
            except Exception as error:
                # Nothing that passes may stop the recording of what follows. What it says is no matter for a log.
                self._talks.skip()
                details = error if logger.isEnabledFor(logging.DEBUG) else None
                what = "a message of an ACP conversation was left out: %s"
                logger.log(logging.ERROR, what, type(error).__name__, exc_info=details)

    def lose(self, size: int) -> None:
        """So many bytes, of both sides, did not come."""
        for talk in self._talks:
            talk.lose(size)

    def end(self, at: int, how: str | None, *, is_clean: bool = False) -> None:
        """Nothing more comes; ``how``: why, for those who read what was cut off. ``is_clean``: the agent has ended by
        itself, so what it said by itself is whole: version 1 has no other end for that."""
        for talk in list(self._talks):
            if is_clean:
                talk.settle(at)
            talk.stop(at, "interrupted", how or "the agent's process has ended")
            talk.rest()
        self._asked = {"client": OrderedDict(), "agent": OrderedDict()}
        if self.skipped:
            logger.info("%d lines or messages of the conversation have no known form and are left out", self.skipped)

    def _take(self, direction: Direction, message: Object, size: int, at: int) -> None:
        method = text_of(message, "method")
        if method is not None:
            params = object_of(message, "params")
            if direction == "client":
                call = client_calls.CALLS.get(method)
                answer = call(self._talks, params, at) if call is not None else None
            else:
                answer = self._of_agent(method, params, size, at)
            if answer is not None and "id" in message:
                self._await(direction, message["id"], answer)
        elif "id" in message and ("result" in message or "error" in message):
            asked = self._asked["agent" if direction == "client" else "client"].pop(_key(message["id"]), None)
            if asked is not None:
                is_error = message.get("error") is not None
                asked(Answered(object_of(message, "result"), object_of(message, "error"), is_error, at))
        else:
            self._talks.skip()

    def _of_agent(self, method: str, params: Object, size: int, at: int) -> Answer | None:
        call = agent_calls.CALLS.get(method)
        if call is None:
            return None
        session = text_of(params, "sessionId")
        if session is None:
            self._talks.skip()
            return None
        talk = self._talks.get(session)
        if talk is not None and (talk.is_known or method == "session/update"):
            # What is said of one that is about to be known is a replay; what is asked for it is not.
            return call(self._talks, talk, params, at)
        held = _HeldAnswer()

        def take(talk: Talk) -> None:
            held.tell(call(self._talks, talk, params, at))

        self._talks.hold(session, size, take)
        return held.hear

    def _await(self, direction: Direction, name: Json, answer: Answer) -> None:
        asked = self._asked[direction]
        asked[_key(name)] = answer
        asked.move_to_end(_key(name))
        if len(asked) > _MAX_ASKED:
            asked.popitem(last=False)


@define(eq=False)
class _HeldAnswer:
    """The answer to a request that waits until its session is known."""

    _answer: Answer | None = None
    _answered: Answered | None = None
    _is_told: bool = False

    def hear(self, answered: Answered) -> None:
        self._answered = answered
        self._join()

    def tell(self, answer: Answer | None) -> None:
        self._answer, self._is_told = answer, True
        self._join()

    def _join(self) -> None:
        if self._is_told and self._answer is not None and self._answered is not None:
            self._answer(self._answered)


def _parsed(line: bytes) -> Json:
    """The value of a line; None where it has none, or one that is nested too deep."""
    try:
        text = line.decode("utf-8-sig")
        value: Any = _DECODER.decode(text)
    except (ValueError, RecursionError, MemoryError):
        return None
    return None if is_text_deeper_than(text, value, _MAX_DEPTH) else value


def _key(name: Json) -> str:
    """An id of any kind. 1 and 1.0 are one number."""
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return json.dumps(name, sort_keys=True)

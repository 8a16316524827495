"""All sessions of an agent's process, who speaks in them, and what comes for a session before it is known."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from attrs import define, field

from mandrake_sessions.acp.events import Began
from mandrake_sessions.acp.members import Json, Object, count_of, list_of, object_of, text_of
from mandrake_sessions.acp.rounds import Emit
from mandrake_sessions.acp.secret_members import without_secrets
from mandrake_sessions.acp.talk import Talk
from mandrake_sessions.acp.totals import Totals
from mandrake_sessions.importing.agents import agent_word

# Sessions that are followed at a time, and messages that wait for theirs to be known, with their bytes.
_TALKS: Final = 1000
_HELD: Final = 1000
_HELD_BYTES: Final = 16 * 1024 * 1024
# Agents that answer `session/load` before they have replayed.
_REPLAY_LATE: Final = frozenset({"gemini-cli"})


@define(eq=False)
class Held:
    session: str
    size: int
    take: Callable[[Talk], None]


@define(eq=False)
class Talks:
    """``agent``: the word for it. ``about``: what each session's metadata says of both sides. ``skipped``: messages
    that were left out, whole or in part, because they had no form that is known."""

    emit: Emit
    agent: str
    version: int = 1
    about: Object = field(factory=dict)
    client: Object = field(factory=dict)
    skipped: int = 0
    _all: OrderedDict[str, Talk] = field(factory=OrderedDict)
    _titles: OrderedDict[str, str] = field(factory=OrderedDict)
    _held: deque[Held] = field(factory=deque)
    _held_bytes: int = 0

    def __iter__(self) -> Iterator[Talk]:
        return iter(self._all.values())

    def agree(self, result: Object) -> None:
        """What the agent has answered to `initialize`."""
        self.version = count_of(result, "protocolVersion") or 1
        info = object_of(result, "agentInfo") or object_of(result, "info")
        name = text_of(info, "name") or text_of(info, "title")
        if name is not None and (word := agent_word(name)):
            self.agent = word
        self.about = {"protocolVersion": self.version}
        for member, each in (("clientInfo", self.client), ("agentInfo", info)):
            if each:
                self.about[member] = without_secrets(each)

    def get(self, session: str) -> Talk | None:
        """One that is known, or about to be."""
        return self._all.get(session)

    def begin(
        self,
        session: str,
        at: int,
        *,
        cwd: str | None = None,
        parent: str | None = None,
        relation: Literal["fork", "subagent"] | None = None,
        parent_tool_call: str | None = None,
    ) -> Talk:
        """The session is known from now on. What was held for it is what it begins with."""
        talk = self._make(session)
        talk.cwd = talk.cwd or cwd
        if not talk.is_known:
            talk.is_known = True
            metadata: Mapping[str, Json] = {**self.about, **talk.told}
            relation = relation if parent is not None else None
            self.emit(Began(session, self.agent, at, talk.cwd, relation, parent, parent_tool_call, False, metadata))
            title, talk.title = talk.title or self._titles.pop(session, None), None
            talk.describe(title)
        return talk

    def list(self, session: str, title: str) -> None:
        """The agent lists a session under a title, which is kept for one that may become known later."""
        if (talk := self._all.get(session)) is not None:
            talk.describe(title)
            return
        self._titles[session] = title
        if len(self._titles) > _TALKS:
            self._titles.popitem(last=False)

    def inherit(self, talk: Talk, parent: Talk | None) -> None:
        """The totals of a fork may go on from its parent's."""
        known = dict(parent.totals.known) if parent is not None else {}
        talk.totals = Totals(known, is_from_zero=False, is_inherited=True)

    def await_load(self, session: str) -> Talk:
        """What comes for the session until the answer is a replay."""
        talk = self._make(session)
        talk.loads += 1
        if not talk.is_known and not talk.past and not talk.running:
            talk.totals.is_from_zero = False
        return talk

    def loaded(self, talk: Talk, at: int, cwd: str | None) -> None:
        talk.loads = max(0, talk.loads - 1)
        self.begin(talk.name, at, cwd=cwd)
        self.release(talk)
        talk.replays_on = self.agent in _REPLAY_LATE and not talk.running

    def not_loaded(self, talk: Talk) -> None:
        talk.loads = max(0, talk.loads - 1)
        if not talk.is_known and not talk.loads:
            self.forget(talk.name)

    def forget(self, session: str) -> None:
        self._all.pop(session, None)

    def hold(self, session: str, size: int, take: Callable[[Talk], None]) -> None:
        """A message for a session that is not known yet. The oldest go where there are too many."""
        self._held.append(Held(session, size, take))
        self._held_bytes += size
        while len(self._held) > _HELD or self._held_bytes > _HELD_BYTES:
            self._held_bytes -= self._held.popleft().size
            self.skipped += 1

    def release(self, talk: Talk) -> None:
        """What was held for a session comes now."""
        mine = [held for held in self._held if held.session == talk.name]
        self._held = deque(held for held in self._held if held.session != talk.name)
        self._held_bytes = sum(held.size for held in self._held)
        for held in mine:
            held.take(talk)

    def skip(self) -> None:
        self.skipped += 1

    def _make(self, session: str) -> Talk:
        talk = self._all.get(session)
        if talk is None:
            talk = self._all[session] = Talk(session, self.agent, self.emit)
            if len(self._all) > _TALKS:
                oldest = next((each for each in self if not each.running and each is not talk), None)
                if oldest is not None:
                    self.forget(oldest.name)
        self._all.move_to_end(session)
        return talk


def choices(result: Object) -> dict[str, Any]:
    """The mode, the model and the configuration options that are chosen in a session."""
    options = {
        name: without_secrets({name: option["currentValue"]})[name]
        for option in list_of(result, "configOptions")
        if (name := text_of(option, "id") or text_of(option, "configId")) is not None and "currentValue" in option
    }
    chosen = {
        "mode": text_of(object_of(result, "modes"), "currentModeId"),
        "model": text_of(object_of(result, "models"), "currentModelId"),
        "configOptions": options or None,
    }
    return {name: value for name, value in chosen.items() if value is not None}

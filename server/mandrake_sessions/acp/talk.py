"""One session of the agent as the recorder follows it: its rounds, and to which of them a message belongs."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import define, field

from mandrake_sessions.acp.blocks import (
    blocks_worth_keeping,
    is_text,
    kept_block,
    text_of_block,
    text_of_blocks,
)
from mandrake_sessions.acp.calls import Call
from mandrake_sessions.acp.events import Asked, Described, Requested
from mandrake_sessions.acp.members import Json, Object
from mandrake_sessions.acp.rounds import Emit, Round, Status
from mandrake_sessions.acp.terminals import Terminal
from mandrake_sessions.acp.totals import Totals

# What comes so soon after the end of a round, and names nothing, was on its way when the round ended.
_LATE_MS: Final = 1000
_PAST_ROUNDS: Final = 8
_CALLS: Final = 256
_TERMINALS: Final = 32
# Characters of a request that comes in pieces, and of one that is compared with what the agent repeats.
_MAX_PIECES: Final = 256 * 1024
_MAX_ECHO: Final = 64 * 1024


@define(eq=False)
class Talk:
    """``is_known``: the store was told of it. ``loads``: how many answers are awaited that are preceded by a replay.
    ``replays_on``: the agent replays after the answer too, until the next prompt. ``parent``: the session that has
    begun this one, with which it is replayed. ``gap``: why it is not known whether what runs has ended."""

    name: str
    agent: str
    emit: Emit
    totals: Totals = field(factory=Totals)
    parent: Talk | None = None
    cwd: str | None = None
    is_known: bool = False
    loads: int = 0
    replays_on: bool = False
    title: str | None = None
    gap: str | None = None
    told: Object = field(factory=dict)
    running: list[Round] = field(factory=list)
    past: deque[Round] = field(factory=lambda: deque(maxlen=_PAST_ROUNDS))
    terminals: OrderedDict[str, Terminal] = field(factory=OrderedDict)
    _calls: OrderedDict[str, tuple[Round, Call]] = field(factory=OrderedDict)

    @property
    def is_replaying(self) -> bool:
        return self.loads > 0 or self.replays_on or (self.parent is not None and self.parent.is_replaying)

    def ask(self, blocks: list[Json], at: int) -> Round:
        """A prompt: it waits where another one runs, and what nobody asked for is over."""
        self.replays_on = False
        if self.gap is not None:
            # The answers to what ran may be among what was lost. What comes now is said of this prompt.
            self.stop(at, "interrupted", None)
        for each in list(self.running):
            if each.is_in_pieces or each.origin == "agent":
                self.end(each, at)
        return self._begin(text_of_blocks(blocks), at, blocks=blocks_worth_keeping(blocks))

    def lose(self, size: int) -> None:
        """So many bytes of the conversation did not come, of this session or of others."""
        if self.running:
            self.gap = f"{size} bytes of the conversation were not recorded, so nobody knows how this ended"

    def heard_of(self, blocks: list[Json], at: int, name: str | None) -> Round:
        """A request that nobody sent through us; what runs is over."""
        for each in list(self.running):
            if each.is_in_pieces or each.origin == "agent":
                self.end(each, at)
        made = self._begin(text_of_blocks(blocks), at, blocks=blocks_worth_keeping(blocks))
        made.is_in_pieces = made.is_inserted = True
        made.message_id, made.blocks = name, list(blocks)
        return made

    def hear_more(self, round_: Round, blocks: list[Json], *, is_whole: bool = False) -> None:
        """The request of a round that comes in pieces."""
        made = [*([] if is_whole else round_.blocks), *blocks]
        text = text_of_blocks(made)
        if len(text) > _MAX_PIECES and not is_whole:
            return
        round_.blocks = _joined(made)
        self.emit(Requested(self.name, round_.id, text, blocks_worth_keeping(round_.blocks)))

    def end(self, round_: Round, at: int, status: Status = "completed", **how: Any) -> None:
        """See ``Round.end``. The next one that waits is at work then."""
        if round_.has_ended:
            return
        round_.end(at, status, **how)
        self.running = [each for each in self.running if each is not round_]
        self.past.append(round_)
        if self.running:
            self.totals.begin(self.running[0])
        else:
            self.gap = None
        self._tell_totals()

    def current(self, at: int) -> Round:
        """The round that is at work: the oldest that is not answered, or one that nobody asked for."""
        return self.running[0] if self.running else self._begin("", at, origin="agent")

    def latest(self) -> Round | None:
        """The round that is at work, or the one that was at work last."""
        return self.running[0] if self.running else self.past[-1] if self.past else None

    def of_turn(self, kind: str, name: str | None, at: int) -> Round:
        """The round to which something belongs that the agent says. Something known goes to where it is known from."""
        if name is not None:
            for each in [*self.running, *reversed(self.past)]:
                if each.has_turn(kind, name):
                    return each
        return self._late(name is None, at) or self.current(at)

    def of_call(self, name: str, at: int, *, is_new: bool, parent: str | None = None) -> tuple[Round, Call]:
        """A call and its round. ``is_new``: it is announced, so that it is another one if a new round runs."""
        known = self.known_call(name)
        if known is not None and not (is_new and known[0].has_ended and self.running):
            return known
        above = self.known_call(parent) if not self.running else None
        made = (above[0] if above is not None else self._late(False, at) or self.current(at), Call(name))
        self._calls[name] = made
        if len(self._calls) > _CALLS:
            self._forget_call()
        return made

    def known_call(self, name: str | None) -> tuple[Round, Call] | None:
        if name is None:
            return None
        for each in self.running:
            if name in each.calls:
                return each, each.calls[name]
        return self._calls.get(name)

    def terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            self.terminals[name] = Terminal()
            if len(self.terminals) > _TERMINALS:
                self.terminals.popitem(last=False)
        return self.terminals[name]

    def show_terminal(self, terminal: Terminal, at: int) -> None:
        """Tell the calls that have it how it stands, if that is worth it."""
        if not terminal.is_worth_showing():
            return
        for round_ in [*self.running, *self.past]:
            for call in round_.calls.values():
                if any(each is terminal for each in call.terminals.values()):
                    round_.call(call, call.output(), at)

    def say(self, kind: str, block: Json, name: str | None, at: int, parent: str | None = None) -> None:
        """A piece of what the agent says. One that is no text is a turn of its own, with the block. ``parent``: the
        call of a subagent that says it."""
        if self.is_replaying:
            return
        metadata: Object = {} if name is None else {"messageId": name}
        if parent is not None:
            metadata["parentToolCallId"] = parent
            name = f"{parent} {name or ''}"
        round_ = self.of_turn(kind, name, at)
        if is_text(block):
            if text := text_of_block(block):
                round_.say(kind, text, at, name, metadata)
        elif text := text_of_block(block):
            round_.show(kind, text, at, {**metadata, "blocks": [kept_block(block)]})

    def describe(self, title: str | None = None, **metadata: Json) -> None:
        """What is new about the session as a whole."""
        new = {name: value for name, value in metadata.items() if value is not None and self.told.get(name) != value}
        if title is None or not title.strip() or title == self.title:
            title = None
        if not self.is_known or not (new or title):
            self.told |= new
            self.title = title or self.title
            return
        self.told |= new
        self.title = title or self.title
        self.emit(Described(self.name, title, new))

    def use(self, usage: Mapping[str, Any], totals: Mapping[str, Any]) -> None:
        """What the agent says of the use of the round that is at work, or was. ``totals``: of the whole session."""
        round_ = self.latest()
        if round_ is not None and not self.is_replaying:
            own, unknown = self.totals.split(round_, totals)
            round_.use({**usage, **own}, unknown)
        if totals:
            self.totals.see(totals)
            if not self.running:
                self._tell_totals()

    def stop(self, at: int, status: Status, how: str | None) -> None:
        """Every round that runs ends."""
        how, self.gap = self.gap or how, None
        for each in list(self.running):
            self.end(each, at, status, error=how)

    def settle(self, at: int) -> None:
        """Rounds that nobody has sent, and whose calls have ended, are whole."""
        for each in list(self.running):
            is_unsent = each.origin == "agent" or each.is_in_pieces
            if is_unsent and all(call.is_done for call in each.calls.values()):
                self.end(each, at, "completed")

    def rest(self) -> None:
        """What came late is whole, since something new begins or nothing more comes."""
        for each in self.past:
            each.close()

    def _begin(
        self,
        text: str,
        at: int,
        *,
        blocks: list[Json] | None = None,
        origin: Literal["user", "agent"] = "user",
    ) -> Round:
        self.rest()
        made = Round(self.name, self.emit, at, text[:_MAX_ECHO], origin)
        self.running.append(made)
        if self.running[0] is made:
            self.totals.begin(made)
        self.emit(Asked(self.name, made.id, text, at, blocks, origin))
        return made

    def _late(self, is_nameless: bool, at: int) -> Round | None:
        """The round that has just ended, if what comes now was on its way then."""
        last = self.past[-1] if self.past else None
        if self.running or last is None or last.ended_at is None or at - last.ended_at > _LATE_MS:
            return None
        return last if is_nameless or last.status == "cancelled" else None

    def _forget_call(self) -> None:
        """The oldest, of a round that has ended if there is any."""
        oldest = next((name for name, (each, _) in self._calls.items() if each.has_ended), next(iter(self._calls)))
        del self._calls[oldest]

    def _tell_totals(self) -> None:
        if self.totals.known:
            self.describe(totals=dict(self.totals.known))


def _joined(blocks: list[Json]) -> list[Json]:
    """Blocks of which pieces of one text are one again."""
    made: list[Json] = []
    for block in blocks:
        if made and is_text(block) and is_text(made[-1]):
            made[-1] = {"type": "text", "text": text_of_block(made[-1]) + text_of_block(block)}
        else:
            made.append(block)
    return made

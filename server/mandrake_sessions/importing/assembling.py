"""Events put together: rounds with their turns, and turns with their tool calls and what they used.

The turns of a round are held until the round is complete, since a tool answers after its call and what a reply used is
known at its end. Of a long round only the last turn is held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from attrs import define, field

from mandrake_sessions.importing.events import (
    Answered,
    Broken,
    Called,
    Compacted,
    Ended,
    Event,
    Left,
    Mark,
    Paused,
    Position,
    Requested,
    Rewritten,
    Said,
    SessionSaid,
    Spawned,
    Used,
    Verbatim,
)

# So many bytes of turns, about, are held.
HELD_BYTES: Final = 1024 * 1024
# So many calls that were not answered yet are remembered once their turns are written.
OPEN_CALLS: Final = 10_000
_COUNTS: Final = ("input_tokens", "output_tokens", "thought_tokens", "cache_read_tokens", "cache_write_tokens", "cost")

# Of values that are only made safe where they are not nested deeper.
_MAX_DEPTH: Final = 100
# Of a number: a store takes 50,000 digits.
_MAX_BITS: Final = 100_000

Fields = dict[str, Any]


class Sink(Protocol):
    """Where rounds and turns go. ``fields`` are those of the create calls, texts and values not checked yet."""

    def say(self, said: SessionSaid) -> None: ...
    def add_round(self, requested: Requested, at: int | None) -> Any:
        """A new round, to which turns are added."""

    def add_turn(self, of: Any, name: str, fields: Fields) -> Any:
        """An ended turn, to which ``change_call`` refers. ``name``: the source's own."""

    def change_call(self, turn: Any, call: Fields) -> None: ...
    def drop_turn(self, of: Any, name: str) -> None:
        """A turn of an earlier reading has no place any more."""

    def end_round(self, of: Any, fields: Fields) -> None: ...
    def leave(self, left: Left) -> None:
        """Raises Branched: what follows is given to another assembler."""

    def spawn(self, spawned: Spawned) -> None: ...
    def report(self, noticed: Broken | Rewritten) -> None: ...
    def verbatim(self, entity: Verbatim) -> None: ...
    def mark(self, position: Position) -> None:
        """All before the position was given."""


class Branched(Exception):
    """The conversation goes on at an earlier place: what was read until now has to be there first."""

    def __init__(self, left: Left) -> None:
        super().__init__(left)
        self.left = left


@define
class _Turn:
    name: str
    reply: str
    fields: Fields
    calls: dict[str, Fields] = field(factory=dict)
    size: int = 0
    # What was written of it, and what the sink gave for it.
    shown: Fields | None = None
    written: Any = None
    # Whether it may have changed since.
    is_changed: bool = True
    used: tuple[Used, ...] = ()


@define
class _Round:
    of: Any
    at: int | None
    status: str | None = None
    reason: str | None = None
    end: int | None = None
    turns: int = 0
    open_calls: int = 0
    # What was written of how it stands.
    shown: Fields | None = None


class Assembler:
    """``take`` each event, then ``finish``; ``pause`` in between, where what is held is to be seen by now."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._round: _Round | None = None
        self._held: list[_Turn] = []
        self._held_bytes = 0
        self._used: dict[str, Used] = {}
        # The turns that have the calls of replies without a turn of their own.
        self._hosts: dict[str, _Turn] = {}
        # The turns of calls that were written without an answer.
        self._written: dict[str, Any] = {}
        self._at: int | None = None
        # Whether it ended with a round that may go on.
        self.is_open = False
        self._take = {
            SessionSaid: self._say,
            Requested: self._begin,
            Said: self._add_said,
            Called: self._add_call,
            Answered: self._answer,
            Used: self._use,
            Compacted: self._compact,
            Ended: self._end,
            Left: sink.leave,
            Spawned: sink.spawn,
            Broken: sink.report,
            Rewritten: sink.report,
            Mark: self._mark,
            Verbatim: sink.verbatim,
            Paused: lambda _: None,
        }

    def take(self, event: Event) -> None:
        self._take[type(event)](event)  # type: ignore[operator]

    def finish(self, *, is_growing: bool = False, is_left: bool | None = None) -> None:
        """The source has no more. ``is_growing``: for now, so a round of which it does not say that it has ended goes
        on. ``is_left``: for so long that a call without an answer, or a request, will get none; None where nobody
        knows."""
        self._close(is_followed=False, is_growing=is_growing, is_left=is_left)

    def pause(self) -> None:
        """Write what is held, as it is by now. It is held on, since it may still change."""
        round_ = self._round
        if round_ is None:
            return
        # A reply is counted on its last turn, which may be another one than the last time.
        used: dict[int, list[Used]] = {}
        for reply, each in self._used.items():
            if (turn := self._turn_of(reply)) is not None:
                used.setdefault(id(turn), []).append(each)
        for turn in self._held:
            counted = tuple(used.get(id(turn), ()))
            if turn.is_changed or counted != turn.used:
                self._show(round_, turn, counted)
        self._show_end(round_, round_.status or "open")

    def _turn_of(self, reply: str) -> _Turn | None:
        """Where what a reply used is counted: on its last turn, or on that which has its calls, if it is held."""
        own = next((turn for turn in reversed(self._held) if turn.reply == reply), None)
        if own is not None:
            return own
        host = self._hosts.get(reply)
        return host if any(turn is host for turn in self._held) else None

    def _show(self, round_: _Round, turn: _Turn, used: tuple[Used, ...] = ()) -> None:
        """Write a turn as it is, unless that is written."""
        fields = {**turn.fields, "tool_calls": [dict(call) for call in turn.calls.values()]}
        for each in used:
            _count(fields, each)
        turn.is_changed, turn.used = False, used
        if fields != turn.shown:
            turn.shown = fields
            turn.written = self._sink.add_turn(round_.of, turn.name, dict(fields))

    def _show_end(self, round_: _Round, status: str) -> None:
        fields: Fields = {"status": status}
        if status != "open":
            fields["end_time"] = round_.end if round_.end is not None else self._at
        if round_.reason is not None:
            fields["stop_reason"] = round_.reason
        if fields != round_.shown:
            round_.shown = fields
            self._sink.end_round(round_.of, dict(fields))

    def _say(self, said: SessionSaid) -> None:
        self._moment(said.at)
        self._sink.say(said)

    def _mark(self, mark: Mark) -> None:
        self._close(is_followed=True)
        self._sink.mark(mark.position)

    def _begin(self, requested: Requested) -> None:
        self._close(is_followed=True)
        at = self._moment(requested.at)
        self._round = _Round(self._sink.add_round(requested, at), at)

    def _open(self, name: str) -> _Round:
        """The round that runs, or one that nobody asked for."""
        if self._round is None:
            requested = Requested(f"before {name}", "", self._at, "agent")
            self._round = _Round(self._sink.add_round(requested, self._at), self._at)
        return self._round

    def _add_said(self, said: Said) -> None:
        at = self._moment(said.at)
        self._open(said.id).turns += 1
        fields: Fields = {"kind": said.kind, "content": said.text, "at": at, "model": said.model}
        fields["status"] = "interrupted" if said.is_cut_off else "completed" if said.error is None else "error"
        if said.is_cut_off:
            _mend_cut_off(self._held, said.reply)
        if said.error is not None:
            fields["error"] = said.error
        fields.update(said.more)
        if said.metadata:
            fields["metadata"] = dict(said.metadata)
        self._hold(_Turn(said.id, said.reply, fields, size=len(said.text)))

    def _hold(self, turn: _Turn) -> None:
        if self._held_bytes > HELD_BYTES:
            self._flush(1)
        self._held.append(turn)
        self._held_bytes += turn.size

    def _add_call(self, called: Called) -> None:
        at = self._moment(called.at)
        round_ = self._open(called.id)
        if not self._held:
            # A reply that is a call alone, and nothing said before.
            round_.turns += 1
            fields = {"kind": "message", "content": "", "at": at, "model": called.model, "status": "completed"}
            self._hold(_Turn(f"of {called.id}", called.reply, fields))
        turn = self._held[-1]
        if called.id in turn.calls:
            return
        self._hosts[called.reply] = turn
        call: Fields = {"id": called.id, "method_name": called.name, "arguments": called.arguments, "status": "pending"}
        if called.server is not None:
            call["server_name"] = called.server
        if at is not None:
            call["start_time"] = at
        turn.calls[called.id] = call
        turn.is_changed = True
        round_.open_calls += 1
        size = len(called.arguments) if isinstance(called.arguments, str) else 200
        turn.size += size
        self._held_bytes += size

    def _answer(self, answered: Answered) -> None:
        at = self._moment(answered.at)
        moved: Fields = {"response": answered.response, "status": "failed" if answered.is_failed else "completed"}
        if answered.content is not None:
            moved["content"] = answered.content
        if answered.metadata:
            moved["metadata"] = dict(answered.metadata)
        if at is not None:
            moved["end_time"] = at
        for turn in reversed(self._held):
            if (call := turn.calls.get(answered.call)) is not None:
                if call["status"] == "pending" and self._round is not None:
                    self._round.open_calls -= 1
                call.update(moved)
                turn.is_changed = True
                size = len(answered.response) if isinstance(answered.response, str) else 200
                turn.size += size
                self._held_bytes += size
                return
        if (written := self._written.pop(answered.call, None)) is not None:
            if self._round is not None and self._round.open_calls:
                self._round.open_calls -= 1
            self._sink.change_call(written, {"id": answered.call, **moved})

    def _use(self, used: Used) -> None:
        self._used[used.reply] = used

    def _compact(self, compacted: Compacted) -> None:
        """A round of its own, which nobody asked for; the round that runs goes on."""
        at = self._moment(compacted.at)
        of = self._sink.add_round(Requested(compacted.id, "", at, "system"), at)
        fields: Fields = {
            "kind": "compaction", "content": compacted.summary, "at": at, "status": "completed",
            "metadata": dict(compacted.metadata),
        }  # fmt: skip
        if compacted.reply is not None and (used := self._used.pop(compacted.reply, None)) is not None:
            _count(fields, used)
        self._sink.add_turn(of, f"summary {compacted.id}", fields)
        self._sink.end_round(of, {"status": "completed", "end_time": at})

    def _end(self, ended: Ended) -> None:
        at = self._moment(ended.at)
        if self._round is None:
            return
        self._round.status, self._round.reason, self._round.end = ended.status, ended.reason, at
        if ended.is_cut_off and self._held and not self._held[-1].calls:
            self._held[-1].fields["status"] = "interrupted"
            self._held[-1].is_changed = True

    def _close(self, *, is_followed: bool, is_growing: bool = False, is_left: bool | None = None) -> None:
        """Write the round that runs. ``is_followed``: by another one, so that nothing more comes to it."""
        round_, self._round = self._round, None
        if round_ is None:
            return
        self._settle_usage(round_)
        if is_followed or is_left or round_.status is not None:
            for turn in self._held:
                for call in turn.calls.values():
                    if call["status"] == "pending":
                        call["status"] = "failed"
        open_calls = round_.open_calls
        self._flush_into(round_, 0)
        status = round_.status
        if status is None:
            self.is_open = is_growing and not open_calls
            if is_left is False and not is_followed:
                self.is_open = is_growing or open_calls > 0 or round_.turns == 0
            is_answered = round_.turns > 0 and (is_followed or not (open_calls or is_growing))
            status = "completed" if is_answered else "interrupted" if is_followed or is_left else "open"
        self._show_end(round_, status)
        self._hosts.clear()
        if is_followed:
            self._used.clear()

    def _settle_usage(self, round_: _Round) -> None:
        for reply, used in self._used.items():
            turn = self._turn_of(reply)
            if turn is not None:
                # It may have been counted alone when it had said nothing yet.
                self._sink.drop_turn(round_.of, f"of {reply}")
            turn = turn or (self._held[-1] if self._held else None)
            if turn is None:
                if not any(getattr(used, name) for name in _COUNTS):
                    continue
                fields = {"kind": "message", "content": "", "at": self._at, "status": "completed"}
                turn = _Turn(f"of {reply}", reply, fields)
                self._held.append(turn)
                round_.turns += 1
            _count(turn.fields, used)
        self._used = {}

    def _flush(self, keep: int) -> None:
        """Write held turns but for the last ones, with what their replies have used until now."""
        if self._round is not None:
            last = self._held[-1].reply if self._held else None
            latest = self._used.pop(last, None) if last is not None else None
            self._settle_usage(self._round)
            if latest is not None and last is not None:
                self._used[last] = latest
            self._flush_into(self._round, keep)

    def _flush_into(self, round_: _Round, keep: int) -> None:
        count = len(self._held) - keep
        for turn in self._held[:count]:
            self._show(round_, turn)
            for name, call in turn.calls.items():
                if call["status"] == "pending" and len(self._written) < OPEN_CALLS:
                    self._written[name] = turn.written
        self._held = self._held[count:]
        self._held_bytes = sum(turn.size for turn in self._held)

    def _moment(self, at: int | None) -> int | None:
        """The time, or that of what came before."""
        if at is not None:
            self._at = at
        return self._at


def _mend_cut_off(held: list[_Turn], reply: str) -> None:
    """Only the last turn of a reply was cut off."""
    for turn in held:
        if turn.reply == reply and turn.fields["status"] == "interrupted":
            turn.fields["status"] = "completed"
            turn.is_changed = True


def _count(fields: Fields, used: Used) -> None:
    """Add what a reply used to a turn."""
    for name in _COUNTS:
        if (count := getattr(used, name)) is not None:
            fields[name] = (fields.get(name) or 0) + count


def safe_text(text: str) -> str:
    """A text without lone surrogates, which some programs write where they have cut a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def safe_value(value: Any) -> Any:
    """A value that breaks a rule, as a text that breaks none."""
    if isinstance(value, str):
        return safe_text(value)
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return "(nested too deep)"


def cleaned(value: Any, depth: int = 0) -> Any:
    """The same with whole characters in all texts; what is nested too deep is told as a text."""
    if isinstance(value, str):
        return safe_text(value)
    if depth > _MAX_DEPTH:
        return safe_value(value) if isinstance(value, Mapping | list) else value
    if isinstance(value, Mapping):
        return {safe_text(str(name)): cleaned(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item, depth + 1) for item in value]
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return "(too long a number)"
    return value

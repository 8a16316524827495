"""The rounds of a transcript of Claude Code: where each begins in the tree of records, and which are another branch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mandrake_sessions.importing.events import Compacted, Event, Left, Mark, Position, Requested
from mandrake_sessions.importing.lines import Line, each_line
from mandrake_sessions.importing.readers.claude_branches import Between, Branches, Request
from mandrake_sessions.importing.readers.claude_doubled import Doubled, told
from mandrake_sessions.importing.readers.claude_queue import Queue
from mandrake_sessions.importing.readers.claude_session import ClaudeSession, Record, uuid_of
from mandrake_sessions.importing.readers.claude_turning import Turn, Turning
from mandrake_sessions.importing.reading import Source
from mandrake_sessions.importing.values import moment_of, text_of

# More than half of a file: what the program sends to the model and notes for itself. The lines need not be decoded.
SKIPPED = re.compile(
    rb'\{"type":"(?!user"|assistant"|system"|attachment"|custom-title"|summary"|cost-state"|queue-operation")[\w-]+"'
    rb'|\{"parentUuid":(?:null|"[\w-]*"),"isSidechain":(?:true|false),(?:"agentId":"[\w-]*",)?'
    rb'"attachment":\{"type":"(?!queued_command")[\w-]+"'
)
_OF_THE_WHOLE: Final = ("custom-title", "summary", "cost-state")


class ClaudeRounds(ClaudeSession):
    """What is remembered of a file, and where its rounds begin."""

    def __init__(self, source: Source, position: Position) -> None:
        super().__init__(position.state)
        self.source = source
        self.begins_at = position
        state = position.state
        self.branches = Branches(state)
        self.queue = Queue(state)
        self.between = Between(state)
        self.turning = Turning(state)
        self._doubled = Doubled(state)
        # The records of a branch that was left which were read again until now.
        self._read_again: set[int] = set()
        # Where the round that is read begins.
        self.here = Mark(position)
        # Whether a branch is read that was left.
        self._is_again = False
        # The record of a reply that was said again, with which a round begins.
        self._said_again = text_of(state.get("saidAgain"))
        # A command that was typed, until it is seen whether the model answers it; and where its line begins.
        self.command: tuple[Record, str, int] | None = None

    def handled(self, line: Line) -> Iterator[Event] | None:
        """The events of a record; None of one that has none."""
        raise NotImplementedError

    def settle_command(self, *, is_answered: bool) -> Iterator[Event]:
        """A command was typed. One that the model answers is a request, any other is not counted as one."""
        raise NotImplementedError

    def branch(self, record: Record, start: int) -> Iterator[Event]:
        """A round begins here: after the last one, after an earlier one, or in a branch that was left."""
        self.here = here = Mark(Position(start, self.state()))
        yield here
        request = Request(self.between.followed(text_of(record.get("parentUuid"))), uuid_of(record, start), start)
        # What a position was remembered for needs no second look.
        if not self._is_again and start != self.begins_at.offset:
            yield from self._go_back(request)
        self.turning.begin(request)
        self._doubled.begin(request.name, start)
        if gone := self.branches.begin(request):
            yield Left(gone, request.name)

    def is_doubled(self, name: str, line: Line) -> bool:
        """Whether a record was read before, from an earlier line. Raises OSError, SourceUnreadable."""
        if self._is_again:
            count = len(self._read_again)
            self._read_again.add(told(line))
            return len(self._read_again) == count
        return self._doubled.is_again(self.source.path, name, line)

    def _go_back(self, request: Request) -> Iterator[Event]:
        """Where a request follows what is not the end of the branch, that is another one from now on."""
        path, found, turn = self.source.path, None, None
        if not self.turning.has(request.parent):
            found = self.branches.left_with(path, request.parent)
        if found is not None:
            gone, again = self.branches.go_back(path, *found, request.start)
            if gone:
                yield Left(gone, request.name)
            yield from self._again(again)
        elif request.parent is not None and self.turning.may_be_back(path, request):
            turn = self.turning.turn(path, self.branches, request.parent, request.start)
        if turn is not None:
            yield from self._turn_to(turn, request.name, request.start)
        if found is not None or turn is not None:
            yield from self.settle_command(is_answered=False)
            self.here = Mark(Position(request.start, self.state()))
            yield self.here

    def _turn_to(self, turn: Turn, name: str, end: int) -> Iterator[Event]:
        yield Left(turn.gone, name)
        if turn.again is not None:
            yield from self._again([(turn.again, end)])

    def say_again(self, record: Record, reply: str, start: int) -> Iterator[Event]:
        """Where a reply follows what another one follows already, that is another branch from now on. What is said
        again is a round of its own: what is read again before it was counted in the other branch."""
        name, parent = uuid_of(record, start), self.between.followed(text_of(record.get("parentUuid")))
        if not (start == self.begins_at.offset and name == self._said_again):
            path = self.source.path
            may_be = self.command is None and self.turning.may_be_again(path, reply, parent, start)
            if not may_be or self._is_again or parent is None:
                return
            turn = self.turning.turn(path, self.branches, parent, start)
            if turn is None:
                return
            yield self.here
            yield from self._turn_to(turn, name, start)
            yield from self.settle_command(is_answered=False)
            self.turning.take(name, reply, start)
            self.turning.may_be_again(path, reply, parent, start)
            self._said_again = name
            self.branches.add(_again_name(name))
        self.here = Mark(Position(start, self.state()))
        yield self.here
        yield Requested(_again_name(name), "", moment_of(record.get("timestamp")), "system")

    def _again(self, ranges: list[tuple[int, int]]) -> Iterator[Event]:
        """The rounds of a branch that was left, which is gone on in."""
        self._is_again = True
        self._read_again.clear()
        for start, end in ranges:
            for line in each_line(self.source.path, start, SKIPPED):
                if line.start >= end if isinstance(line, Line) else line.offset >= end:
                    break
                # What is said of the conversation as a whole was told.
                is_whole = isinstance(line, Line) and line.object.get("type") in _OF_THE_WHOLE
                if isinstance(line, Line) and not is_whole and (handled := self.handled(line)) is not None:
                    yield from handled
        self._is_again = False

    def state(self) -> dict[str, Any]:
        parts = (self.branches, self.between, self.queue, self.turning)
        own = {"introduced": self.is_introduced, "saidAgain": self._said_again}
        return own | {name: it for part in parts for name, it in part.state().items()}

    def compacted(self, record: Record, summary: str) -> Compacted:
        made = super().compacted(record, summary)
        self.branches.add(made.id)
        return made


def _again_name(record: str) -> str:
    return f"again {record}"

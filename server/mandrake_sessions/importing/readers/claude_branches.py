"""The branches of a transcript of Claude Code: where somebody went back, and where to go on in one that was left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple

from attrs import frozen

from mandrake_sessions.importing.lines import opened, skip
from mandrake_sessions.importing.readers.claude_tree import Range, joined

# So many places to go back to are remembered: each position holds them.
_REMEMBERED: Final = 2000
_LEFT: Final = 20
# So many of the program's own records are remembered by a position.
_BETWEEN: Final = 50
_PIECE: Final = 1024 * 1024
_NAMED: Final = 200
# Before a value stand its name, a colon and some space, in so many bytes.
_SPACE: Final = 40


class Request(NamedTuple):
    """``parent``: the record that it follows. ``start``: where its line begins. ``also``: the rounds after it that
    nobody has asked for with a record of its own."""

    parent: str | None
    name: str
    start: int
    also: Sequence[str] = ()

    @property
    def rounds(self) -> tuple[str, ...]:
        return self.name, *self.also


@frozen
class LeftBranch:
    """The requests of a branch that was left, and where its lines end."""

    requests: list[Request]
    end: int


class Branches:
    """The requests of the branch that is read, by what each follows, the latest last."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._requests: dict[str | None, Request] = {each[0]: Request(*each) for each in state.get("starts", [])}
        self._left = [
            LeftBranch([Request(*request) for request in requests], end) for requests, end in state.get("left", [])
        ]
        # Where the lines of a round end: those of another branch may follow, before it is gone on with.
        self._ends: dict[int, int] = dict(state.get("ends", []))
        known = [*self._requests.values(), *(request for branch in self._left for request in branch.requests)]
        # Where the last round of the file begins that was read until now.
        self._latest = max((request.start for request in known), default=-1)

    def state(self) -> dict[str, Any]:
        return {
            "starts": list(self._requests.values()),
            "left": [(each.requests, each.end) for each in self._left],
            "ends": list(self._ends.items()),
        }

    @property
    def requests(self) -> list[Request]:
        """Those of the branch that is read."""
        return list(self._requests.values())

    def compacted(self) -> None:
        """Another request without a parent begins no branch now."""
        self._requests.pop(None, None)

    def begin(self, request: Request) -> tuple[str, ...]:
        """A request begins. Gives those that are another branch from now on: where an earlier one follows the same
        record, somebody went back before that."""
        if self._latest < request.start:
            self._end_latest(request.start)
        gone = self._cut(request.parent, request.start)
        self._requests[request.parent] = request
        if len(self._requests) > _REMEMBERED:
            del self._requests[next(iter(self._requests))]
        return gone

    def add(self, name: str) -> None:
        """A round that goes with the last request."""
        if self._requests:
            parent, last = next(reversed(self._requests.items()))
            if name not in last.also:
                self._requests[parent] = last._replace(also=[*last.also, name])

    def _cut(self, parent: str | None, end: int) -> tuple[str, ...]:
        return self.leave_from(list(self._requests).index(parent), end) if parent in self._requests else ()

    def leave_from(self, index: int, end: int) -> tuple[str, ...]:
        """The rounds from a request on are a branch that was left, which can be gone on in. ``end``: of its lines."""
        if gone := self._drop_from(index):
            self._left = [*self._left[1 - _LEFT :], LeftBranch(gone[-_REMEMBERED // 10 :], end)]
        return _rounds(gone)

    def forget_from(self, index: int) -> tuple[str, ...]:
        """The same where the first of them is left in its middle, so that nobody can go on in the lines as they are."""
        gone = self._drop_from(index)
        self._left = [each for each in self._left if each.requests[0].start < gone[0].start]
        return _rounds(gone)

    def _drop_from(self, index: int) -> list[Request]:
        requests = self.requests
        self._requests = {each.parent: each for each in requests[:index]}
        return requests[index:]

    def is_in_left(self, start: int) -> bool:
        """Whether a line is one of a branch that was left."""
        return any(begin <= start < end for each in self._left for begin, end in self._lines(each))

    def left_with(self, path: str, record: str | None) -> tuple[LeftBranch, int] | None:
        """The branch that was left in which a record is, and where that stands. Raises OSError, SourceUnreadable."""
        if record is None or record in self._requests:
            return None
        for branch in reversed(self._left):
            for start, end in joined(self._lines(branch)):
                if (place := place_of(path, record, start, end)) is not None:
                    return branch, place
        return None

    def go_back(self, path: str, branch: LeftBranch, place: int, start: int) -> tuple[tuple[str, ...], list[Range]]:
        """Go on after a place in a branch that was left. Gives the requests that are another branch from now on, and
        the lines of those that are the branch again: it may have begun in another one that was left. Raises OSError,
        SourceUnreadable."""
        again: list[Range] = []
        found: tuple[LeftBranch, int] | None = (branch, place)
        while found is not None:
            again = [*self._take_back(*found), *again]
            parent = found[0].requests[0].parent
            found = self.left_with(path, parent)
        return self._cut(parent, start), again

    def _take_back(self, branch: LeftBranch, place: int) -> list[Range]:
        """The lines of a branch up to a place. What follows them stays a branch that was left."""
        lines = joined(each for each in self._lines(branch) if each[0] <= place)
        rest = [request for request in branch.requests if request.start > place]
        at = self._left.index(branch)
        self._left[at : at + 1] = [LeftBranch(rest, branch.end)] if rest else []
        return lines

    def _lines(self, branch: LeftBranch) -> Iterator[Range]:
        """Those of other branches may stand between them."""
        starts = [request.start for request in branch.requests]
        for start, following in zip(starts, [*starts[1:], branch.end], strict=True):
            # Of a state that an earlier version has remembered the ends are not known.
            yield start, min(self._ends.get(start, following), following)

    def _end_latest(self, start: int) -> None:
        """Another round begins than any that was read until now."""
        if self._latest >= 0:
            self._ends[self._latest] = start
            if len(self._ends) > _REMEMBERED:
                del self._ends[next(iter(self._ends))]
        self._latest = start


class Between:
    """The records that the program put between others, each with the one that it follows."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._parents: dict[str, str | None] = dict(state.get("between", {}))

    def state(self) -> dict[str, Any]:
        return {"between": dict(list(self._parents.items())[-_BETWEEN:])}

    def take(self, record: str | None, parent: str | None) -> None:
        if record is not None:
            self._parents[record] = parent
            if len(self._parents) > _REMEMBERED:
                del self._parents[next(iter(self._parents))]

    def followed(self, record: str | None) -> str | None:
        """What a request follows in truth: another request may follow that too."""
        seen: set[str | None] = set()
        while record in self._parents and record not in seen:
            seen.add(record)
            record = self._parents[record]
        return record


def _rounds(requests: Sequence[Request]) -> tuple[str, ...]:
    return tuple(name for each in requests for name in each.rounds)


def place_of(path: str, record: str, start: int, end: int) -> int | None:
    """Where the record of that name stands, between two bytes. Raises OSError, SourceUnreadable."""
    wanted = json.dumps(record).encode()
    with closing(opened(path)) as file:
        skip(file, start)
        held = b""
        while start < end and (piece := file.read(min(_PIECE, end - start))):
            held += piece
            if (found := _named_in(held, wanted)) is not None:
                return start + len(piece) - len(held) + found
            start += len(piece)
            held = held[-_NAMED:]
    return None


def _named_in(piece: bytes, wanted: bytes) -> int | None:
    """Where these bytes stand as the ``uuid`` of an object. A pattern of each would have to be compiled first."""
    at = piece.find(wanted)
    while at >= 0:
        name, colon, space = piece[max(0, at - _SPACE) : at].rpartition(b":")
        if colon and not space.strip() and name.rstrip().endswith(b'"uuid"'):
            return at
        at = piece.find(wanted, at + 1)
    return None

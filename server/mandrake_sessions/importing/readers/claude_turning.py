"""Where somebody went back into the middle of a round of Claude Code: to an answer of the model, or of a tool.

The lines of the round that the conversation has left are remembered, so that they are not read again as parts of it.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from attrs import frozen

from mandrake_sessions.importing.readers.claude_branches import Branches, Request, place_of
from mandrake_sessions.importing.readers.claude_tree import Range, tree_to

# So many records of a round are remembered, the last ones.
_REMEMBERED: Final = 10_000
# In so many rounds is looked for the one in which a record that was gone back to is.
_LOOKED_AT: Final = 50


class _Seen(NamedTuple):
    """A record of the round that is read. ``reply``: see ``reply_of``."""

    reply: str | None
    start: int


@frozen
class Turn:
    """Somebody went back. ``gone``: the rounds that are another branch from now on; ``again``: where the first round
    begins that is read again, without what was left; None where only whole rounds were left."""

    gone: tuple[str, ...]
    again: int | None


class Turning:
    """``state``: as an earlier reading left it."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._left_out: list[Range] = [(start, end) for start, end in state.get("leftOut", [])]
        self._seen: dict[str, _Seen] = {}
        # The first reply that follows a record.
        self._follows: dict[str, str] = {}

    def state(self) -> dict[str, Any]:
        return {"leftOut": list(self._left_out)}

    def is_left(self, start: int) -> bool:
        """Whether the line that begins there belongs to another branch."""
        if not self._left_out:
            return False
        place = bisect(self._left_out, start, key=lambda left: left[0]) - 1
        return place >= 0 and start < self._left_out[place][1]

    def take(self, name: str, reply: str | None, start: int) -> None:
        """A record of the round."""
        self._seen[name] = _Seen(reply, start)
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def has(self, name: str | None) -> bool:
        return name in self._seen

    def begin(self, request: Request) -> None:
        """A round begins. It may be told of late, when records of it were read already."""
        self._seen = {name: seen for name, seen in self._seen.items() if seen.start >= request.start}
        self._seen[request.name] = _Seen(None, request.start)
        self._follows.clear()

    def may_be_back(self, path: str, request: Request) -> bool:
        """Whether a request may follow another record than the last ones of the branch. Raises OSError,
        SourceUnreadable."""
        before = [name for name, seen in self._seen.items() if seen.start < request.start]
        if request.parent is None or not before:
            return False
        there = self._seen.get(request.parent)
        if there is None:
            return not self._is_between(path, request.parent, request.start)
        for name in reversed(before):
            if name == request.parent:
                break
            if self._seen[name].reply not in (None, there.reply):
                return True
        return False

    def may_be_again(self, path: str, reply: str, parent: str | None, start: int) -> bool:
        """Whether a reply may follow what another one follows, or what an earlier round has. Raises OSError,
        SourceUnreadable."""
        if parent is None:
            return False
        if self._follows.setdefault(parent, reply) != reply:
            return True
        return parent not in self._seen and not self._is_between(path, parent, start)

    def _is_between(self, path: str, record: str, start: int) -> bool:
        """Whether a record that is not decoded, since the program puts it between others, follows what was read last
        before a line."""
        last = next((seen.start for seen in reversed(self._seen.values()) if seen.start < start), None)
        # A compressed file would be read from its start each time.
        return last is None or path.endswith(".zst") or place_of(path, record, last, start) is not None

    def turn(self, path: str, branches: Branches, record: str, end: int) -> Turn | None:
        """What is left where the line that begins at ``end`` follows a record of an earlier place. None where nothing
        is. Raises OSError, SourceUnreadable."""
        requests = branches.requests
        place = place_of(path, record, requests[0].start, end) if requests else None
        if place is None:
            return None
        indexes = [index for index, request in enumerate(requests) if request.start <= place]
        for index in reversed(indexes[-_LOOKED_AT:]):
            first = requests[index]
            tree = tree_to(path, first.start, end, record)
            if first.name not in tree.path:
                continue
            following = requests[index + 1].start if index + 1 < len(requests) else end
            said = [start for start in tree.said if start < following and self._is_shown(start, branches)]
            if said or not all(self._is_shown(start, branches) for start in tree.path.values()):
                self._left_out = [left for left in self._left_out if left[0] < first.start] + tree.left
                return Turn(branches.forget_from(index), first.start)
            gone = branches.leave_from(index + 1, end)
            return Turn(gone, None) if gone else None
        return None

    def _is_shown(self, start: int, branches: Branches) -> bool:
        return not (self.is_left(start) or branches.is_in_left(start))

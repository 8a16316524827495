"""Records that stand in a transcript of Claude Code more than once, as in a file that was appended to itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mandrake_sessions.importing.lines import Line, each_line
from mandrake_sessions.importing.values import text_of

# So many requests are remembered, and so many records of this reading, the last ones.
_REQUESTS: Final = 2000
_RECORDS: Final = 10_000


class Doubled:
    """Until a record is met again, the last ones alone are remembered. From then on, all are: by a number each, since
    there may be a million. ``state``: as an earlier reading left it."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        requests = [*state.get("starts", []), *(each for branch, _ in state.get("left", []) for each in branch)]
        self._requests: dict[str, int] = {each[1]: each[2] for each in requests}
        self._records: dict[str, int] = {}
        self._met: set[int] | None = None

    def begin(self, name: str, start: int) -> None:
        """A request, in the line that begins there."""
        self._requests.setdefault(name, start)
        if len(self._requests) > _REQUESTS:
            del self._requests[next(iter(self._requests))]

    def is_again(self, path: str, name: str, start: int) -> bool:
        """Whether a record was met before, in an earlier line. Raises OSError, SourceUnreadable."""
        if self._met is None:
            before = self._requests.get(name, self._records.get(name))
            if before is not None and before < start:
                self._met = _named_before(path, start)
                return True
            self._records[name] = start
            if len(self._records) > _RECORDS:
                del self._records[next(iter(self._records))]
            return False
        if hash(name) in self._met:
            return True
        self._met.add(hash(name))
        return False


def _named_before(path: str, end: int) -> set[int]:
    """The records before a line."""
    met: set[int] = set()
    for line in each_line(path):
        if (line.start if isinstance(line, Line) else line.offset) >= end:
            break
        if isinstance(line, Line) and (name := text_of(line.object.get("uuid"))) is not None:
            met.add(hash(name))
    return met

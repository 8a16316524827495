"""Records that stand in a transcript of Claude Code more than once, as in a file that was appended to itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mandrake_sessions.importing.lines import Line, each_line
from mandrake_sessions.importing.values import text_of

# So many requests are remembered, and so many records of this reading, the last ones.
_REQUESTS: Final = 2000
_RECORDS: Final = 10_000
# After so many different records of one name, names prove nothing in this file.
_OTHERS: Final = 100


class Doubled:
    """Until a record is met again, the last ones alone are remembered. From then on, all are: by a number each, since
    there may be a million. ``state``: as an earlier reading left it."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        requests = [*state.get("starts", []), *(each for branch, _ in state.get("left", []) for each in branch)]
        self._requests: dict[str, int] = {each[1]: each[2] for each in requests}
        self._records: dict[str, int] = {}
        self._met: set[int] | None = None
        self._others = 0

    def begin(self, name: str, start: int) -> None:
        """A request, in the line that begins there."""
        self._requests.setdefault(name, start)
        if len(self._requests) > _REQUESTS:
            del self._requests[next(iter(self._requests))]

    def is_again(self, path: str, name: str, line: Line) -> bool:
        """Whether a record was met before, in an earlier line that says the same. One that says something else under
        the same name is another record. Raises OSError, SourceUnreadable."""
        if self._met is not None:
            said = told(line)
            if said in self._met:
                return True
            self._met.add(said)
            return False
        before = self._requests.get(name, self._records.get(name))
        if before is not None and before < line.start and self._others < _OTHERS:
            if _object_at(path, before) == line.object:
                self._met = _told_before(path, line.start)
                return True
            self._others += 1
        self._records[name] = line.start
        if len(self._records) > _RECORDS:
            del self._records[next(iter(self._records))]
        return False


def told(line: Line) -> int:
    """A number for all that a record says."""
    return hash(json.dumps(line.object))


def _object_at(path: str, start: int) -> object:
    found = next(iter(each_line(path, start)), None)
    return found.object if isinstance(found, Line) else None


def _told_before(path: str, end: int) -> set[int]:
    """The records before a line."""
    found: set[int] = set()
    for line in each_line(path):
        if (line.start if isinstance(line, Line) else line.offset) >= end:
            break
        if isinstance(line, Line) and text_of(line.object.get("uuid")) is not None:
            found.add(told(line))
    return found

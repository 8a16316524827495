"""aider's ``.aider.chat.history.md``: each start of the program in it is a conversation."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.importing.events import Event, Position, SessionSaid
from mandrake_sessions.importing.lines import SourceUnreadable, opened
from mandrake_sessions.importing.readers.aider_talk import AiderTalk, TextLine
from mandrake_sessions.importing.reading import Source, file_facts, files_below

_NAME: Final = ".aider.chat.history.md"
_START: Final = re.compile(rb"# aider chat started at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s*$")
# A longer line is read as several.
_MAX_LINE: Final = 1024 * 1024
# The program writes a reply at once. What is older than this is written whole.
_SETTLED_SECONDS: Final = 60


@frozen
class _Section:
    """What was written from one start of the program to the next."""

    name: str
    began: int | None
    start: int
    end: int
    is_last: bool


class Aider:
    """Tried with files of 0.86.2."""

    name = "aider"
    agent = "aider"

    def __init__(self) -> None:
        self._sections: dict[tuple[str, int, int], list[_Section]] = {}

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        """The files lie in the directories of projects: only those that can be found without a search."""
        named = environment.get("AIDER_CHAT_HISTORY_FILE")
        places = [os.path.join(home, _NAME), os.path.join(os.curdir, _NAME)]  # noqa: PTH118
        found = dict.fromkeys(os.path.realpath(path) for path in (*places, *((named,) if named else ())))
        for path in found:
            yield from self._in_file(path)

    def sources_at(self, path: str) -> Iterator[Source]:
        if os.path.isdir(path):  # noqa: PTH112
            for entry in files_below(path, (_NAME,)):
                yield from self._in_file(entry.path)
        elif path.endswith(".md"):
            yield from self._in_file(path)

    def _in_file(self, path: str) -> Iterator[Source]:
        facts: Any = file_facts(path)
        with suppress(OSError, SourceUnreadable):
            for section in self._sections_of(path):
                # Only the last one can grow, and its last reply is looked at again when it is whole for certain.
                is_settled = not section.is_last or _is_settled(path)
                began = (section.began or 0) * 1_000_000 + is_settled
                yield Source(
                    self.name, self.agent, path, section.name, section.name, section.end - section.start, began,
                    facts["file_id"],
                )  # fmt: skip

    def _sections_of(self, path: str) -> list[_Section]:
        facts: Any = file_facts(path)
        if facts is None:
            return []
        known = path, facts["size"], facts["mtime_ns"]
        if known not in self._sections:
            self._sections[known] = list(_sections(path, facts["size"]))
        return self._sections[known]

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        found = next((each for each in self._sections_of(source.path) if each.name == source.external_id), None)
        if found is None:
            raise SourceUnreadable(f"{source.path} has no chat of that time any more")
        if not position.offset:
            yield SessionSaid(cwd=os.path.dirname(source.path), at=found.began)  # noqa: PTH120
        lines = _lines(source.path, max(position.offset, found.start), found.end)
        is_whole = not found.is_last or _is_settled(source.path)
        yield from AiderTalk(position, found.start, found.began).events(lines, is_whole=is_whole)


def reader() -> Aider:
    return Aider()


def _sections(path: str, size: int) -> Iterator[_Section]:
    directory = os.path.dirname(path)  # noqa: PTH120
    starts = [(line.start, found[1].decode()) for line in _lines(path, 0, size) if (found := _START.match(line.bytes))]
    met: dict[str, int] = {}
    for number, (start, written) in enumerate(starts):
        met[written] = met.get(written, 0) + 1
        again = f" #{met[written]}" if met[written] > 1 else ""
        began = None
        with suppress(ValueError, OverflowError, OSError):
            # The time of the machine that wrote it.
            began = max(0, int(datetime.fromisoformat(written).timestamp() * 1000))
        is_last = number == len(starts) - 1
        end = size if is_last else starts[number + 1][0]
        yield _Section(f"{written}{again} {directory}", began, start, end, is_last)


def _lines(path: str, start: int, end: int) -> Iterator[TextLine]:
    with closing(opened(path)) as file:
        file.seek(start)
        while start < end and (line := file.readline(min(_MAX_LINE, end - start))):
            yield TextLine(start, line)
            start += len(line)


def _is_settled(path: str) -> bool:
    facts: Any = file_facts(path)
    return facts is None or time.time() - facts["mtime_ns"] / 1e9 > _SETTLED_SECONDS

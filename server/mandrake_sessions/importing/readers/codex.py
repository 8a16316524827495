"""Codex's rollouts: ``sessions/YYYY/MM/DD/rollout-<time>-<thread>.jsonl``, and ``archived_sessions/``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from mandrake_sessions.importing.events import Event, Position
from mandrake_sessions.importing.lines import ENDINGS, Line, SourceUnreadable, each_line
from mandrake_sessions.importing.readers.codex_records import CodexRecords
from mandrake_sessions.importing.reading import Source, beginning, file_facts, files_below
from mandrake_sessions.importing.values import text_of

_NAME: Final = re.compile(r"rollout-.*?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\.jsonl(?:\.zst)?", re.IGNORECASE)
_TITLES: Final = "session_index.jsonl"
# The head of a rollout holds the program's instructions too, before or after what it says of parents.
_HEAD_BYTES: Final = 256 * 1024
_PARENT = re.compile(rb'"(?:forked_from_id|parent_thread_id)"\s*:\s*"([^"\\]{1,200})"')
_IS_HEAD = re.compile(rb'\{"timestamp"\s*:\s*"[^"]*",\s*"type"\s*:\s*"session_meta"')
_ID = re.compile(rb'"id"\s*:\s*"([0-9a-fA-F-]{36})"')


class Codex:
    """Tried with files of 0.58.0, 0.137.0 and 0.169.0."""

    name = "codex"
    agent = "codex"

    def places(self, home: str, environment: Mapping[str, str]) -> list[str]:
        own = environment.get("CODEX_HOME") or os.path.join(home, ".codex")  # noqa: PTH118
        return [os.path.join(own, name) for name in ("sessions", "archived_sessions")]  # noqa: PTH118

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        for directory in self.places(home, environment):
            yield from self.sources_at(directory)

    def sources_at(self, path: str) -> Iterator[Source]:
        is_directory = os.path.isdir(path)  # noqa: PTH112
        for found in (entry.path for entry in files_below(path, ENDINGS)) if is_directory else [path]:
            if (source := _source(found)) is not None:
                yield source

    def forget(self) -> None:
        """A thread may have got another title since they were read last."""
        _titles.cache_clear()

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        yield from CodexRecords(source, position).events()


def reader() -> Codex:
    made = Codex()
    made.forget()
    return made


def _source(path: str) -> Source | None:
    named = _NAME.fullmatch(os.path.basename(path))  # noqa: PTH119
    facts: Any = file_facts(path) if named is not None else None
    if named is None or facts is None:
        return None
    thread = named[1].lower()
    head, _, rest = beginning(path, _HEAD_BYTES).partition(b"\n")
    # A fork of older versions has the head of what it has copied after its own.
    second = rest.partition(b"\n")[0]
    copied = _ID.findall(second) if _IS_HEAD.match(second) else []
    parents = (name.decode().lower() for name in (*_PARENT.findall(head), *copied))
    parent = next((name for name in parents if name != thread), None)
    title = _title(path, thread)
    return Source(Codex.name, Codex.agent, path, thread, thread, parent=parent, title=title, beside=(), **facts)


def _title(path: str, thread: str) -> str | None:
    """Titles stand in a file above ``sessions`` and ``archived_sessions``."""
    directory = os.path.dirname(path)  # noqa: PTH120
    for _ in range(5):
        if (found := _titles(directory).get(thread)) is not None:
            return found
        directory = os.path.dirname(directory)  # noqa: PTH120
    return None


@cache
def _titles(directory: str) -> dict[str, str]:
    """The titles of threads; the last of each counts."""
    titles: dict[str, str] = {}
    try:
        for line in each_line(os.path.join(directory, _TITLES)):  # noqa: PTH118
            if isinstance(line, Line):
                thread, title = text_of(line.object.get("id")), text_of(line.object.get("thread_name"))
                if thread and title:
                    titles[thread.lower()] = title
    except (OSError, SourceUnreadable):
        pass
    return titles

"""Claude Code's transcripts: ``projects/<directory>/<session>.jsonl``, and those of its subagents below."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import evolve

from mandrake_sessions.importing.events import Event, Position, SessionSaid
from mandrake_sessions.importing.lines import ENDINGS, SourceUnreadable
from mandrake_sessions.importing.readers.claude_inline import WRITES_INLINE, Inline, inline_subagents
from mandrake_sessions.importing.readers.claude_records import ClaudeRecords
from mandrake_sessions.importing.reading import Source, beginning, file_facts, files_below
from mandrake_sessions.importing.values import object_of, text_of

_OTHERS: Final = ("rollout-", "session-")
# What a file of this program has near its beginning: a record with a parent, or one of those that it may begin with.
_RECORD: Final = re.compile(
    rb'"parentUuid"|\A(?:\xef\xbb\xbf)?\{\s*"type"\s*:\s*"'
    rb'(?:queue-operation|file-history-snapshot|summary|mode|permission-mode|custom-title)"'
)
# A fork names its parent in the answers that it has copied, which stand near the beginning.
_HEAD_BYTES: Final = 256 * 1024
_NAMES_PARENT: Final = b'"requestSessionId"'
_PARENT = re.compile(rb'"requestSessionId"\s*:\s*"([^"\\]{1,200})"')


class ClaudeCode:
    """Tried with files of 2.1.332; those of early versions by their form alone."""

    name = "claude-code"
    agent = "claude-code"

    def __init__(self) -> None:
        # What was found in files as they were then.
        self._inline: dict[tuple[str, int, int], list[Inline]] = {}

    def places(self, home: str, environment: Mapping[str, str]) -> list[str]:
        own = environment.get("CLAUDE_CONFIG_DIR") or os.path.join(home, ".claude")  # noqa: PTH118
        return [os.path.join(own, "projects")]  # noqa: PTH118

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        (directory,) = self.places(home, environment)
        for entry in files_below(directory, ENDINGS):
            yield from self._in_file(entry.path, beginning(entry.path, _HEAD_BYTES))

    def forget(self) -> None:
        self._inline.clear()

    def sources_at(self, path: str) -> Iterator[Source]:
        is_directory = os.path.isdir(path)  # noqa: PTH112
        for found in (entry.path for entry in files_below(path, ENDINGS)) if is_directory else [path]:
            if not os.path.basename(found).startswith(_OTHERS) and found.endswith(ENDINGS):  # noqa: PTH119
                head = beginning(found, _HEAD_BYTES)
                if _RECORD.search(head):
                    yield from self._in_file(found, head)

    def _in_file(self, path: str, head: bytes) -> Iterator[Source]:
        source = _source(path, head)
        if source is None:
            return
        yield source
        for each in self._inline_in(source) if WRITES_INLINE.search(head) and not _is_subagent(path) else ():
            name = f"{source.external_id} {each.name}"
            facts: Any = {"size": each.size, "mtime_ns": each.end, "parent": source.key, "beside": None}
            yield evolve(source, key=name, external_id=name, **facts)

    def _inline_in(self, source: Source) -> list[Inline]:
        facts: Any = file_facts(source.path)
        if facts is None:
            return []
        known = source.path, facts["size"], facts["mtime_ns"]
        if known not in self._inline:
            with suppress(OSError, SourceUnreadable):
                self._inline[known] = inline_subagents(source.path)
        return self._inline.get(known, [])

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        if source.beside is None:
            # A subagent, whose records stand in the file of its parent.
            yield from self._read_inline(source, source.external_id.rpartition(" ")[2], position)
            return
        if not position.offset and source.parent is not None and _is_subagent(source.path):
            yield _said_of_subagent(source)
        yield from ClaudeRecords(source, position, is_subagent=_is_subagent(source.path)).events()

    def _read_inline(self, source: Source, name: str, position: Position) -> Iterator[Event]:
        found = next((each for each in self._inline_in(source) if each.name == name), None)
        if found is None:
            raise SourceUnreadable(f"{source.path} has no subagent {name} any more")
        if not position.offset:
            yield SessionSaid(parent=source.parent, relation="subagent", parent_tool_call=found.call)
        yield from ClaudeRecords(source, position, is_subagent=True, records=found.records).events()


def reader() -> ClaudeCode:
    return ClaudeCode()


def _source(path: str, head: bytes) -> Source | None:
    facts: Any = file_facts(path)
    if facts is None:
        return None
    parent: str | None
    stem = os.path.basename(path).partition(".jsonl")[0]  # noqa: PTH119
    if _is_subagent(path):
        external_id = stem.removeprefix("agent-")
        parent = os.path.basename(os.path.dirname(os.path.dirname(path)))  # noqa: PTH119, PTH120
    else:
        external_id, parent = stem, _forked_from(head, stem)
    if not external_id:
        return None
    parent = None if parent == external_id else parent
    beside = (_beside(path),) if _is_subagent(path) else ()
    return Source(
        ClaudeCode.name, ClaudeCode.agent, path, external_id, external_id, parent=parent or None, beside=beside, **facts
    )


def _is_subagent(path: str) -> bool:
    directory, name = os.path.split(path)
    return name.startswith("agent-") and os.path.basename(directory) == "subagents"  # noqa: PTH119


def _beside(path: str) -> str:
    return path.partition(".jsonl")[0] + ".meta.json"


def _forked_from(head: bytes, own: str) -> str | None:
    if _NAMES_PARENT not in head:
        return None
    for found in _PARENT.findall(head):
        if (name := found.decode(errors="replace")) != own:
            return str(name)
    return None


def _said_of_subagent(source: Source) -> SessionSaid:
    """What stands in the file beside it."""
    try:
        told = object_of(json.loads(beginning(_beside(source.path), _HEAD_BYTES) or b"{}"))
    except (ValueError, RecursionError):
        told = {}
    agent_type = text_of(told.get("agentType"))
    return SessionSaid(
        parent=source.parent,
        relation="subagent",
        parent_tool_call=text_of(told.get("toolUseId")),
        description=text_of(told.get("description")),
        metadata={} if agent_type is None else {"agentType": agent_type},
    )

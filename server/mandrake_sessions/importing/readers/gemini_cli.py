"""Gemini CLI's chats: ``tmp/<project>/chats/session-*.jsonl``, older ones ``.json``; those of subagents below."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mandrake_sessions.importing.events import Event, Position, SessionSaid
from mandrake_sessions.importing.readers.gemini_records import GeminiRecords
from mandrake_sessions.importing.reading import Source, beginning, file_facts, files_below

_ENDINGS: Final = (".json", ".jsonl")
_HEAD_BYTES: Final = 64 * 1024
_ID: Final = re.compile(rb'"sessionId"\s*:\s*"([^"\\]{1,200})"')
_MAX_PATH: Final = 4096


class GeminiCli:
    """Tried with files of 0.61.0; the older ``.json`` and ``$rewindTo`` by their form alone."""

    name = "gemini-cli"
    agent = "gemini-cli"

    def places(self, home: str, environment: Mapping[str, str]) -> list[str]:
        own = environment.get("GEMINI_CLI_HOME") or home
        return [os.path.join(own, ".gemini", "tmp")]  # noqa: PTH118

    def discover(self, home: str, environment: Mapping[str, str]) -> Iterator[Source]:
        for directory in self.places(home, environment):
            yield from self.sources_at(directory)

    def sources_at(self, path: str) -> Iterator[Source]:
        is_directory = os.path.isdir(path)  # noqa: PTH112
        for found in (entry.path for entry in files_below(path, _ENDINGS)) if is_directory else [path]:
            if (source := _source(found)) is not None:
                yield source

    def read(self, source: Source, position: Position) -> Iterator[Event]:
        if not position.offset:
            relation: Any = None if source.parent is None else "subagent"
            yield SessionSaid(cwd=_cwd(source.path), parent=source.parent, relation=relation)
        yield from GeminiRecords(source, position).events()


def reader() -> GeminiCli:
    return GeminiCli()


def _source(path: str) -> Source | None:
    directory, name = os.path.split(path)
    above = os.path.basename(directory)  # noqa: PTH119
    is_subagent = os.path.basename(os.path.dirname(directory)) == "chats"  # noqa: PTH119, PTH120
    if not name.endswith(_ENDINGS) or not (name.startswith("session-") or is_subagent):
        return None
    head = beginning(path, _HEAD_BYTES)
    named, facts = _ID.search(head), file_facts(path)
    if named is None or facts is None or b'"projectHash"' not in head:
        return None
    external_id = named[1].decode(errors="replace")
    parent = above if is_subagent and above != external_id else None
    # A session may have several files.
    key = f"{external_id} {name.partition('.json')[0]} {name.rpartition('.')[2]}"
    found: Any = facts
    return Source(
        GeminiCli.name, GeminiCli.agent, path, key, external_id, parent=parent, beside=(), kept_as=name, **found
    )


def _cwd(path: str) -> str | None:
    """The project's directory stands in a file above its chats."""
    directory = os.path.dirname(path)  # noqa: PTH120
    for _ in range(2):
        directory = os.path.dirname(directory)  # noqa: PTH120
        if root := beginning(os.path.join(directory, ".project_root"), _MAX_PATH):  # noqa: PTH118
            return root.decode(errors="replace").strip() or None
    return None

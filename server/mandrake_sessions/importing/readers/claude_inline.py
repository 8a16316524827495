"""Subagents of Claude Code whose records stand among those of their parent (``isSidechain``), as in early versions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from attrs import define, field

from mandrake_sessions.importing.lines import MAX_LINE_BYTES, opened
from mandrake_sessions.importing.values import joined_texts, object_of, objects_of, text_of

Record = dict[str, Any]

# Of the versions that write them, and of a file of a later one that has some: most have a file for each.
WRITES_INLINE: Final = re.compile(rb'"version":"(?:0|1|2\.0)\.|"isSidechain":true')
_MARKED: Final = b'"isSidechain":true'
_STARTERS: Final = (b'"name":"Task"', b'"name":"Agent"')
_UUID: Final = re.compile(rb'"uuid":"([\w-]{1,100})"')
_PARENT: Final = re.compile(rb'"parentUuid":"([\w-]{1,100})"')
_AGENT: Final = re.compile(rb'"agentId":"([\w-]{1,100})"')


@define
class Inline:
    """``name``: that of the agent, where its records have it, or the uuid of the first of them. ``call``: that which
    has started it. ``size``: of its lines."""

    name: str
    call: str | None
    start: int
    end: int
    size: int
    records: set[str] = field(factory=set)


def inline_subagents(path: str) -> list[Inline]:
    """Those in a file. Raises OSError, SourceUnreadable."""
    found: list[Inline] = []
    of_record: dict[str, Inline] = {}
    of_agent: dict[str, Inline] = {}
    calls: dict[str, str] = {}
    for start, line in _marked_lines(path):
        if _MARKED not in line:
            calls.update(_started(line))
            continue
        named, follows = _UUID.search(line), _PARENT.search(line)
        if named is None:
            continue
        name = named[1].decode()
        agent = found_agent[1].decode() if (found_agent := _AGENT.search(line)) is not None else None
        chain = of_record.get(follows[1].decode()) if follows is not None else None
        if agent is not None:
            chain = of_agent.get(agent)
        if chain is None:
            chain = Inline(agent or name, calls.get(_asked(line) or ""), start, start, 0)
            found.append(chain)
        if agent is not None:
            of_agent[agent] = chain
        of_record[name] = chain
        chain.records.add(name)
        chain.end, chain.size = start + len(line), chain.size + len(line)
    return found


def _marked_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """The lines of subagents, and those that start one."""
    start = 0
    with closing(opened(path)) as file:
        while line := file.readline(MAX_LINE_BYTES):
            if line.endswith(b"\n") and (_MARKED in line or any(each in line for each in _STARTERS)):
                yield start, line
            start += len(line)


def _started(line: bytes) -> Iterator[tuple[str, str]]:
    """The prompts of the calls in a record, with their ids."""
    for block in objects_of(_message(line).get("content")):
        prompt, call = text_of(object_of(block.get("input")).get("prompt")), text_of(block.get("id"))
        if block.get("type") == "tool_use" and prompt and call:
            yield prompt, call


def _asked(line: bytes) -> str | None:
    content = _message(line).get("content")
    return content if isinstance(content, str) else joined_texts(content, "text")


def _message(line: bytes) -> Record:
    try:
        return object_of(object_of(json.loads(line)).get("message"))
    except (ValueError, RecursionError):
        return {}

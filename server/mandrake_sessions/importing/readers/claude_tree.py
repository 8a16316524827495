"""The tree of a transcript of Claude Code, where somebody went back into the middle of a round.

Most records have one that follows them. Where several do, they need not be branches: the blocks of one reply, the
results of its calls and what the program puts between stand beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from attrs import frozen

from mandrake_sessions.importing.lines import Line, each_line
from mandrake_sessions.importing.values import object_of, objects_of, text_of

Range = tuple[int, int]
# The program's own words in the model's place.
SYNTHETIC: Final = "<synthetic>"


class _Node(NamedTuple):
    """``reply``: of the model's records, which reply they are part of. ``is_result``: of a tool."""

    parent: str | None
    start: int
    end: int
    reply: str | None
    is_result: bool


@frozen
class Tree:
    """The records between two bytes. ``path``: those that lead to one of them, and where they stand; ``left``: the
    bytes of the lines that belong to other branches; ``said``: where of these the model's lines begin."""

    path: dict[str, int]
    left: list[Range]
    said: list[int]


def reply_of(record: Mapping[str, Any]) -> str | None:
    """The reply that a record of the model is part of; None of any other record."""
    message = object_of(record.get("message"))
    if record.get("type") != "assistant" or message.get("model") == SYNTHETIC:
        return None
    return text_of(message.get("id")) or text_of(record.get("uuid"))


def tree_to(path: str, start: int, end: int, leaf: str) -> Tree:
    """What leads to a record, of the lines between two bytes. Raises OSError, SourceUnreadable."""
    lines = _lines(path, start, end)
    # A file may have a record twice.
    nodes = dict(reversed(lines))
    way: dict[str, int] = {}
    each: str | None = leaf
    while each in nodes and each not in way:
        way[each] = nodes[each].start
        each = nodes[each].parent
    replies = {nodes[name].reply for name in way} - {None}
    kept = set(way)
    for name, node in lines:
        if node.parent in kept and (node.reply in replies or _is_answer(node, nodes)):
            kept.add(name)
    left = [node for name, node in lines if name not in kept]
    said = [node.start for node in left if node.reply is not None]
    return Tree(way, joined((node.start, node.end) for node in left), said)


def _lines(path: str, start: int, end: int) -> list[tuple[str, _Node]]:
    """The records, by their names, in the order of the file."""
    found: list[tuple[str, _Node]] = []
    for line in each_line(path, start):
        if (line.start if isinstance(line, Line) else line.offset) >= end:
            break
        uuid = text_of(line.object.get("uuid")) if isinstance(line, Line) else None
        if isinstance(line, Line) and uuid is not None:
            record = line.object
            content = object_of(record.get("message")).get("content")
            is_result = any(block.get("type") == "tool_result" for block in objects_of(content))
            # A compaction begins a tree of its own, and names what was before it.
            parent = text_of(record.get("parentUuid")) or text_of(record.get("logicalParentUuid"))
            found.append((uuid, _Node(parent, line.start, line.end, reply_of(record), is_result)))
    return found


def _is_answer(node: _Node, nodes: Mapping[str, _Node]) -> bool:
    """Whether it is what a tool has answered to the record that it follows."""
    parent = None if node.parent is None else nodes.get(node.parent)
    return node.is_result and parent is not None and parent.reply is not None


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Those that follow each other without a gap as one; in the order of the file."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found

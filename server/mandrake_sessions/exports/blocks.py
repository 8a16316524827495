"""Blocks of content, as ACP, MCP and models have them: what people read better than JSON."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

_TEXTS: Final = ("text", "input_text")


@frozen
class Edit:
    """What an edit makes of a file. ``old``: empty for a new one."""

    path: str
    old: str
    new: str


def are_blocks(value: Any) -> bool:
    """Whether a value is a list of them."""
    return isinstance(value, list) and bool(value) and all(map(_is_block, value))


def read_block(block: Any) -> str | Edit | None:
    """A text, or an edit; None for what is neither, and for what says more than that."""
    if isinstance(block, str):
        return block
    if not _is_block(block):
        return None
    kind, rest = block["type"], {name: value for name, value in block.items() if name != "type"}
    if kind == "content" and rest.keys() == {"content"} and _is_block(rest["content"]):
        return read_block(rest["content"])
    if kind in _TEXTS and rest.keys() == {"text"} and isinstance(rest["text"], str):
        return rest["text"]
    if kind == "diff" and _is_edit(rest):
        return Edit(rest["path"], rest.get("oldText") or "", rest["newText"])
    return None


def beyond_text(content: str, blocks: Any) -> Any:
    """The blocks of a request but for the texts that its content repeats; None where they say no more than that."""
    if not are_blocks(blocks):
        return blocks
    end = 0
    left = []
    for block in blocks:
        text = read_block(block)
        if isinstance(text, str) and (begin := content.find(text, end)) >= 0:
            end = begin + len(text)
        else:
            left.append(block)
    return left or None


def _is_block(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _is_edit(fields: dict[str, Any]) -> bool:
    return (
        fields.keys() <= {"path", "oldText", "newText"}
        and isinstance(fields.get("path"), str)
        and isinstance(fields.get("oldText"), str | None)
        and isinstance(fields.get("newText"), str)
    )

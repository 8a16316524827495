"""Content blocks, and the texts that stand for them."""

from __future__ import annotations

from mandrake_sessions.acp.members import Json, object_of, text_of
from mandrake_sessions.acp.secret_members import without_secrets

# Base64 of a picture or a sound that is kept with the conversation; a longer one is not.
_MAX_DATA = 1024 * 1024


def text_of_block(block: Json) -> str:
    """A text block's text; of another one a short mention."""
    kind = text_of(block, "type")
    if kind == "text":
        return text_of(block, "text") or ""
    if kind == "resource_link":
        return _link(text_of(block, "title") or text_of(block, "name"), text_of(block, "uri"))
    if kind == "resource":
        return _link(None, text_of(object_of(block, "resource"), "uri"))
    return f"[{kind}]" if kind else ""


def is_text(block: Json) -> bool:
    return text_of(block, "type") == "text"


def text_of_blocks(blocks: list[Json]) -> str:
    """The texts of blocks: those that are parts of one text stay together, a mention has a line of its own."""
    parts: list[str] = []
    was_text = False
    for block in blocks:
        if not (text := text_of_block(block)):
            continue
        if parts and not (was_text and is_text(block)):
            parts.append("\n")
        parts.append(text)
        was_text = is_text(block)
    return "".join(parts)


def blocks_worth_keeping(blocks: list[Json]) -> list[Json] | None:
    """Blocks that are more than one text, as they are kept."""
    if len(blocks) == 1 and is_text(blocks[0]) and set(blocks[0]) <= {"type", "text"}:
        return None
    return [kept_block(block) for block in blocks]


def kept_block(block: Json) -> Json:
    """A block without secrets, and without data that is too much to keep."""
    block = without_secrets(block)
    for name in ("data", "blob"):
        if len(text_of(block, name) or "") > _MAX_DATA:
            block = {**block, name: "", "leftOut": f"{len(block[name])} characters of data"}
    if isinstance(block, dict) and isinstance(block.get("resource"), dict):
        return {**block, "resource": kept_block(block["resource"])}
    return block


def _link(name: str | None, uri: str | None) -> str:
    if uri is None:
        return f"[{name or 'resource'}]"
    return f"[{name or uri.rstrip('/').rsplit('/', 1)[-1]}]({uri})"

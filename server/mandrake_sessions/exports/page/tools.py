"""A call of a tool: folded, with what it was given and what it gave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mandrake_sessions.exports.binary import without_binary
from mandrake_sessions.exports.conversation import slices
from mandrake_sessions.exports.page.diffs import diff
from mandrake_sessions.exports.page.terminal import without_sequences
from mandrake_sessions.exports.page.text import line, name, preformatted
from mandrake_sessions.exports.page.values import shown_arguments, shown_json
from mandrake_sessions.model import ToolCall, ToolCallStatus
from mandrake_sessions.redaction import Cleaner

_MARKS = {
    ToolCallStatus.PENDING: "○",
    ToolCallStatus.IN_PROGRESS: "▶",
    ToolCallStatus.COMPLETED: "✓",
    ToolCallStatus.FAILED: "✗",
}


def tool_call(call: ToolCall, cleaner: Cleaner) -> Iterator[Markup]:
    yield Markup('<details class="tool {}">{}\n').format(call.status.value, _summary(call, cleaner))
    yield Markup("<p class=by>Call {}</p>\n").format(name(cleaner.text(call.id)))
    if call.arguments is not None and call.arguments != {}:
        yield _label("Arguments")
        yield from shown_arguments(cleaner.json(without_binary(call.arguments)))
    for label, value in (("Result", call.response), ("Content", call.content)):
        if value is not None and value != {} and value != "":
            yield _label(label)
            yield from _given(value, cleaner)
    yield Markup("</details>\n")


def _summary(call: ToolCall, cleaner: Cleaner) -> Markup:
    named = call.method_name or call.title or call.kind or call.id
    parts = [Markup('<span class="sign" aria-hidden="true">{}</span>').format(_MARKS[call.status])]
    if call.server_name:
        parts.append(Markup("<small>{}</small>").format(line(cleaner.text(call.server_name))))
    parts.append(name(cleaner.text(named)))
    if call.title and call.title != named:
        parts.append(line(cleaner.text(call.title)))
    if call.kind and call.kind != named:
        parts.append(Markup("<small>{}</small>").format(line(cleaner.text(call.kind))))
    parts.append(Markup('<small class="status">{}</small>').format(call.status.value.replace("_", " ")))
    return Markup("<summary>{}</summary>").format(Markup(" ").join(parts))


def _label(words: str) -> Markup:
    return Markup('<p class="label">{}</p>\n').format(words)


def _given(value: Any, cleaner: Cleaner) -> Iterator[Markup]:
    """A text, blocks as ACP and models have them, or JSON. Files in it are named."""
    shown = without_binary(value)
    if isinstance(shown, str):
        yield from terminal(shown, cleaner)
    elif isinstance(value, list) and value and all(map(_is_block, value)):
        for block in shown:
            yield from terminal(block, cleaner) if isinstance(block, str) else _block(block, cleaner)
    else:
        yield from shown_json(cleaner.json(shown))


def terminal(text: Any, cleaner: Cleaner) -> Iterator[Markup]:
    """What a program wrote, in slices or whole. A sequence in the midst of a secret must not hide it."""
    yield from preformatted(cleaner.slices(without_sequences(slices(text))), "output")


def _is_block(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _block(block: dict[str, Any], cleaner: Cleaner) -> Iterator[Markup]:
    kind, rest = block["type"], {key: value for key, value in block.items() if key != "type"}
    if kind == "content" and set(rest) == {"content"} and _is_block(rest["content"]):
        yield from _block(rest["content"], cleaner)
    elif kind == "text" and set(rest) == {"text"} and isinstance(rest["text"], str):
        yield from terminal(rest["text"], cleaner)
    elif kind == "diff" and _is_diff(rest):
        shown = cleaner.json(rest)
        yield from diff(shown["path"], shown.get("oldText") or "", shown["newText"])
    else:
        yield from shown_json(cleaner.json(block))


def _is_diff(fields: dict[str, Any]) -> bool:
    return (
        set(fields) <= {"path", "oldText", "newText"}
        and isinstance(fields.get("path"), str)
        and isinstance(fields.get("oldText"), str | None)
        and isinstance(fields.get("newText"), str)
    )

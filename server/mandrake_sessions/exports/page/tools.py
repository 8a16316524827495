"""A call of a tool: folded, with what it was given and what it gave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mandrake_sessions.exports.binary import without_binary
from mandrake_sessions.exports.blocks import are_blocks, read_block
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
    elif are_blocks(value):
        for block in shown:
            yield from _block(block, cleaner)
    else:
        yield from shown_json(cleaner.json(shown))


def terminal(text: Any, cleaner: Cleaner) -> Iterator[Markup]:
    """What a program wrote, in slices or whole. A sequence in the midst of a secret must not hide it."""
    yield from preformatted(cleaner.slices(without_sequences(slices(text))), "output")


def _block(block: Any, cleaner: Cleaner) -> Iterator[Markup]:
    read = read_block(block)
    if isinstance(read, str):
        yield from terminal(read, cleaner)
    elif read is not None:
        yield from diff(cleaner.text(read.path), cleaner.text(read.old), cleaner.text(read.new))
    else:
        yield from shown_json(cleaner.json(block))

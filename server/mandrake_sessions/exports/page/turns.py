"""The turns of an answer: what was said, thought and planned, what tools did and gave."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from markupsafe import Markup, escape

from mandrake_sessions.exports.conversation import Conversation, is_plain, slices
from mandrake_sessions.exports.page.prose import said
from mandrake_sessions.exports.page.related import Related
from mandrake_sessions.exports.page.text import MAX_PROSE_BYTES, line, moment, name, preformatted, shortened, taken
from mandrake_sessions.exports.page.tools import terminal, tool_call
from mandrake_sessions.exports.page.values import plan
from mandrake_sessions.exports.totals import Totals
from mandrake_sessions.exports.words import TURN_ENDED, used
from mandrake_sessions.json_codec import JsonDecoder
from mandrake_sessions.model import Turn
from mandrake_sessions.redaction import Cleaner
from mandrake_sessions.stopping import check_wanted

# Bytes of a thought, above which it is folded.
_LONG_THOUGHT = 600
_SUMMARY = 90
# More names of models than these are not kept.
_MAX_MODELS = 20
_decoder = JsonDecoder()


class Turns:
    """``count``, ``calls`` and ``models`` say afterwards what there was."""

    def __init__(self, conversation: Conversation, cleaner: Cleaner, related: Related) -> None:
        self.count = self.calls = 0
        # In the order in which they spoke.
        self.models: dict[str, None] = {}
        self._conversation = conversation
        self._cleaner = cleaner
        self._related = related

    def turn(self, turn: Turn) -> Iterator[Markup]:
        check_wanted()
        self.count += 1
        model = self._cleaner.text(turn.model) if turn.model else ""
        if model and len(self.models) < _MAX_MODELS:
            self.models[model] = None
        known = turn.kind if turn.kind in ("message", "thought", "plan", "tool_output", "stderr") else "other"
        yield Markup('<article class="turn {} {}" id="turn-{}">\n').format(known, turn.status.value, turn.id)
        yield from self._content(turn, model)
        for call in turn.tool_calls:
            self.calls += 1
            yield from tool_call(call, self._cleaner)
            yield from self._related.of_call(call.id)
        if (ended := TURN_ENDED.get(turn.status)) is not None or turn.error:
            yield from self._end(ended or "Error", self._cleaner.text(turn.error or ""))
        yield Markup("</article>\n")

    def _content(self, turn: Turn, model: str) -> Iterator[Markup]:
        if is_plain(turn):
            yield from self._output(turn, model)
            return
        text = self._cleaner.slices(slices(turn.content))
        begin, is_all = taken(text, MAX_PROSE_BYTES)
        if not begin:
            return
        if turn.kind == "thought":
            yield from self._thought(begin, text)
            return
        yield self._byline(turn, model)
        shown = _plan("".join(begin)) if turn.kind == "plan" and is_all else None
        if shown is not None:
            yield shown
        else:
            yield from said(chain(begin, text))

    def _byline(self, turn: Turn, model: str) -> Markup:
        parts = (
            []
            if turn.kind == "message"
            else [Markup("<strong>{}</strong>").format(line(self._cleaner.text(turn.kind)))]
        )
        if model:
            parts.append(name(model))
        if began := moment(turn.stream_start_time):
            parts.append(began)
        totals = Totals()
        totals.add(turn)
        if told := used(totals):
            parts.append(escape(told))
        return Markup('<p class="by">{}</p>\n').format(Markup(" · ").join(parts))

    def _thought(self, begin: list[str], text: Iterator[str]) -> Iterator[Markup]:
        first = "".join(begin)
        if len(first.encode()) <= _LONG_THOUGHT:
            yield Markup('<p class="by">Thought</p>\n')
            yield from said(chain(begin, text))
            return
        yield Markup("<details><summary>Thought: {}</summary>\n").format(line(shortened(first, _SUMMARY)))
        yield from said(chain(begin, text))
        yield Markup("</details>\n")

    def _output(self, turn: Turn, model: str) -> Iterator[Markup]:
        """Folded where it is a tool's."""
        shown = terminal(turn.content, self._cleaner)
        if turn.kind != "tool_output":
            yield self._byline(turn, model)
            yield from shown
            return
        of = Markup(" of {}").format(name(self._cleaner.text(turn.tool_call_id))) if turn.tool_call_id else ""
        yield Markup("<details><summary>Output{}</summary>\n").format(of)
        yield from shown
        yield Markup("</details>\n")

    def _end(self, ended: str, error: str) -> Iterator[Markup]:
        if "\n" in error.strip():
            yield Markup('<p class="ended">{}:</p>\n').format(ended)
            yield from preformatted(slices(error), "output")
        else:
            said_why = Markup(": {}").format(line(error)) if error else ""
            yield Markup('<p class="ended">{}{}</p>\n').format(ended, said_why)


def _plan(text: str) -> Markup | None:
    """A plan as ACP has it; None for other texts."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        value: Any = _decoder.decode(text)
    except (ValueError, RecursionError):
        return None
    return plan(value)

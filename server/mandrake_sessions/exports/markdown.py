"""A conversation as a Markdown document, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mandrake_sessions.exports.binary import without_binary
from mandrake_sessions.exports.blocks import Edit, are_blocks, beyond_text, read_block
from mandrake_sessions.exports.conversation import Conversation, is_long, is_plain, is_typed, slices, title_in
from mandrake_sessions.exports.diffs import Kind, compared
from mandrake_sessions.exports.json_parts import encode
from mandrake_sessions.exports.markdown_text import code, fenced, inline, longest_run, plain, quoted
from mandrake_sessions.exports.times import for_people
from mandrake_sessions.exports.totals import Totals
from mandrake_sessions.exports.words import ASKED, Endings, used, why_stopped
from mandrake_sessions.json_codec import JsonEncoder
from mandrake_sessions.model import HistoryRound, Session, ToolCall, Turn
from mandrake_sessions.redaction import AsItIs, Cleaner, detector

# The language of a fence that holds what a person typed.
AS_TYPED: Final = "as-typed"
# JSON of more characters stays on one line: laying it out takes long, and nobody reads it.
_LAID_OUT = 64 * 1024
# What stands before a line of an edit.
_MARKS: Final[Mapping[Kind, str]] = {"new": "+", "gone": "-", "both": " ", "between": ""}
_pretty = JsonEncoder(ensure_ascii=False, allow_nan=False, indent=2)


def parts(conversation: Conversation, cleaner: Cleaner, *, marks_typed: bool = False) -> Iterator[str]:
    """``marks_typed``: what a person typed is in fences of the language ``AS_TYPED``, for who draws it."""
    return _Document(conversation, cleaner, marks_typed=marks_typed).all()


class _Document:
    def __init__(self, conversation: Conversation, cleaner: Cleaner, *, marks_typed: bool) -> None:
        self._conversation = conversation
        self._cleaner = cleaner
        self._marks_typed = marks_typed
        self._totals = Totals()

    def all(self) -> Iterator[str]:
        yield from self._head(self._conversation.session)
        for each in self._conversation.rounds():
            yield from self._round(each)
        if told := used(self._totals):
            yield f"\n---\n\nAll together: {told}\n"
        if not isinstance(self._cleaner, AsItIs):
            count = self._cleaner.count
            yield f"\n---\n\n*Secrets and home directories that were replaced: {count}*\n"
            if detector.was_missing():
                yield f"\n*Redacted without {detector.PACKAGE}, so fewer kinds of secrets were found.*\n"

    def _head(self, session: Session) -> Iterator[str]:
        clean = self._cleaner.text
        yield f"# {inline(title_in(session, self._cleaner)) or 'A conversation'}\n\n"
        lines = {
            "Agent": code(clean(session.agent)) if session.agent else "",
            "Began": for_people(session.created_at),
            "Last active": for_people(session.active_at),
            "Directory": code(clean(session.cwd)) if session.cwd else "",
            "Session": code(session.id),
            "Known as": code(clean(session.external_id)) if session.external_id else "",
            "Comes from": _parent(session),
        }
        for name, text in lines.items():
            if text:
                yield f"- {name}: {text}\n"
        if session.description:
            yield "\n"
            yield from self._typed(session.description)

    def _round(self, each: HistoryRound) -> Iterator[str]:
        yield f"\n## {each.index + 1}. {ASKED[each.origin]}\n\n*{for_people(each.created_at)}*\n"
        if each.request.content:
            yield "\n"
            yield from self._request(each)
        if (blocks := beyond_text(each.request.content, each.request.blocks)) is not None:
            yield from self._folded_json("Blocks of the request", blocks)
        totals, endings = Totals(), Endings(each.response)
        has_head = False
        for turn in each.response.turns:
            if not has_head:
                yield "\n### Answer\n"
                has_head = True
            totals.add(turn)
            yield from self._turn(turn, endings)
        totals.close(each.response)
        self._totals.join(totals)
        yield from _mark(endings.of_response(each.response), "")
        if told := used(totals):
            yield f"\n*{told}*\n"
        if (reason := why_stopped(each.response)) is not None:
            yield f"\n*Stopped: {inline(self._cleaner.text(reason))}*\n"

    def _request(self, each: HistoryRound) -> Iterator[str]:
        if is_typed(each):
            return self._fenced(each.request.content, "sh")
        return self._typed(each.request.content)

    # ---- turns

    def _turn(self, turn: Turn, endings: Endings) -> Iterator[str]:
        if turn.kind == "tool_output":
            called = f" of {code(self._cleaner.text(turn.tool_call_id))}" if turn.tool_call_id else ""
            yield from self._as_it_is(turn, f"**Output**{called}")
        elif is_plain(turn):
            yield from self._as_it_is(turn, self._heading(turn))
        else:
            yield from self._said(turn)
        for call in turn.tool_calls:
            yield from self._call(call)
        yield from _mark(endings.of_turn(turn), self._cleaner.text(turn.error or ""))

    def _said(self, turn: Turn) -> Iterator[str]:
        text = quoted(self._cleaner.slices(slices(turn.content)))
        begin = next(text, None)
        if begin is None:
            return
        if turn.kind == "thought":
            yield "\n<details>\n<summary>Thought</summary>\n\n"
        else:
            yield f"\n{self._heading(turn)}\n\n"
        yield begin
        yield from text
        if turn.kind == "thought":
            yield "\n</details>\n"

    def _heading(self, turn: Turn) -> str:
        if turn.kind == "message":
            return _byline(self._cleaner, turn)
        return f"**{inline(self._cleaner.text(turn.kind))}**"

    def _as_it_is(self, turn: Turn, heading: str) -> Iterator[str]:
        """What no Markdown is: what a program has printed."""
        yield f"\n{heading}\n\n"
        again = self._conversation.again(turn) if is_long(turn) else turn
        # What is replaced has no backticks, so the text has no longer run of them afterwards.
        ticks = longest_run(slices(turn.content))
        yield from fenced(self._cleaner.slices(slices(again.content)), ticks, "text")

    def _call(self, call: ToolCall) -> Iterator[str]:
        clean = self._cleaner.text
        name = code(clean(call.method_name or call.title or call.kind or call.id))
        title = f" {inline(clean(call.title))}" if call.title and call.method_name else ""
        yield f"\n**Tool** {name}{title} *({call.status.value.replace('_', ' ')})*\n"
        for label, value in (("Arguments", call.arguments), ("Result", call.response), ("Content", call.content)):
            if value is not None and value != {}:
                yield f"\n{label}:\n"
                for each in value if are_blocks(value) else [value]:
                    yield "\n"
                    yield from self._block(each)

    # ---- values

    def _typed(self, text: str) -> Iterator[str]:
        """What a person wrote."""
        return self._fenced(text, AS_TYPED) if self._marks_typed else quoted(self._cleaner.slices(slices(text)))

    def _fenced(self, text: str, language: str) -> Iterator[str]:
        cleaned = "".join(self._cleaner.slices(slices(text)))
        return fenced(slices(cleaned), longest_run(slices(cleaned)), language)

    def _value(self, value: Any) -> Iterator[str]:
        """A text as it is, anything else as JSON; files in it are named."""
        shown = self._cleaner.json(without_binary(value))
        language = "text" if isinstance(shown, str) else "json"
        text = shown if isinstance(shown, str) else _laid_out(shown)
        yield from fenced(slices(text), longest_run(slices(text)), language)

    def _block(self, block: Any) -> Iterator[str]:
        """What a text says, what an edit changes, or the value."""
        read = read_block(block)
        if isinstance(read, Edit):
            yield f"{code(self._cleaner.text(read.path))}:\n\n"
            old, new = (self._cleaner.text(without_binary(text)) for text in (read.old, read.new))
            lines = [f"{_MARKS[kind]}{text}\n" for kind, text in compared(plain(old), plain(new))]
            yield from fenced(lines, longest_run(lines), "diff")
        else:
            yield from self._value(block if read is None else read)

    def _folded_json(self, summary: str, value: Any) -> Iterator[str]:
        yield f"\n<details>\n<summary>{summary}</summary>\n\n"
        yield from self._value(value)
        yield "\n</details>\n"


def _laid_out(value: Any) -> str:
    text = encode(value)
    return _pretty.encode(value) if len(text) <= _LAID_OUT else text


def _parent(session: Session) -> str:
    if session.relation is None and session.parent_id is None:
        return ""
    relation = session.relation.value if session.relation is not None else "parent"
    return f"{relation} of {code(session.parent_id)}" if session.parent_id else f"{relation} of a session that is gone"


def _byline(cleaner: Cleaner, turn: Turn) -> str:
    model = f"{code(cleaner.text(turn.model))} · " if turn.model else ""
    began = for_people(turn.stream_start_time)
    return f"{model}*{began}*" if began else model or "*Answer*"


def _mark(ended: str | None, error: str) -> Iterator[str]:
    """Where it did not end as it should, or has an error all the same."""
    if ended is not None:
        yield f"\n**{ended}{':' if error else '.'}**{' ' + inline(error) if error else ''}\n"

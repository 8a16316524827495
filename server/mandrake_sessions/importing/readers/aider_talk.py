"""The text of a chat of aider as events. ``#### `` begins what was typed, ``> `` what the program said; all else is the
model's. That is how aider itself reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.importing.events import (
    Broken,
    Ended,
    Event,
    Mark,
    Position,
    Requested,
    Said,
    SessionSaid,
    Used,
)
from mandrake_sessions.importing.values import cost_of, text_of

_MODEL: Final = re.compile(r"(?:Main model|Model|Models): (\S+)")
_VERSION: Final = re.compile(r"Aider v(\S+)")
# Commands that ask the model; all others are the program's own.
_ASKING: Final = re.compile(r"/(?:ask|code|architect|context|help|ok)\s+(.*)", re.DOTALL)
_TOKENS: Final = re.compile(
    r"Tokens: ([\d.,]+[kM]?) sent(.*?), ([\d.,]+[kM]?) received\.(?: Cost: \$([\d.]+) message)?"
)
_CACHED: Final = re.compile(r", ([\d.,]+[kM]?) cache (write|hit)")
_FAILED: Final = re.compile(r"litellm\.\w+(?:Error|Exception)\b")
_THOUGHT: Final = re.compile(r"<(/?)thinking-content-[0-9a-f]+>\s*$")
_CUT_OFF: Final = "^C KeyboardInterrupt"
_TIMES: Final = {"k": 1000, "M": 1_000_000}
# A longer text becomes several.
_MAX_TEXT: Final = 4 * 1024 * 1024
_MAX_LINES: Final = 100_000


@frozen
class TextLine:
    start: int
    bytes: bytes


class AiderTalk:
    """The reading of one chat, which begins at a byte of its file."""

    def __init__(self, position: Position, start: int, began: int | None) -> None:
        self._start = start
        self._began = began
        self._model = text_of(position.state.get("model"))
        self._from = position
        # What was typed, until something follows: where it begins, and its lines.
        self._typed: tuple[int, list[str]] | None = None
        # The text that is being read: its kind, where it begins, and its lines.
        self._kind = ""
        self._block: tuple[int, list[str]] | None = None
        self._size = 0
        self._is_asked = False
        self._reply = ""

    def events(self, lines: Iterator[TextLine], *, is_whole: bool) -> Iterator[Event]:
        """``is_whole``: whether nobody writes the last line any more."""
        yield Mark(self._from)
        for number, line in enumerate(lines, 1):
            try:
                text = line.bytes.decode()
            except UnicodeDecodeError as error:
                place = line.start + error.start
                yield Broken(number, line.start, f"byte {place} is not UTF-8; such bytes became U+FFFD", False)
                text = line.bytes.decode(errors="replace")
            yield from self._line(text.rstrip("\r\n"), line.start)
        if is_whole or self._kind != "message":
            yield from self._settle()
            yield from self._ask()

    def _line(self, text: str, start: int) -> Iterator[Event]:
        if text.startswith("# aider chat started at "):
            return
        if text.startswith("#### "):
            yield from self._settle()
            yield from self._type(text[5:].removesuffix("  "), start)
            return
        if text.strip():
            yield from self._ask()
        elif self._typed is not None:
            # What is typed after this is another request, but for the question of a command, which is repeated.
            self._typed[1].append("")
            return
        if (found := _THOUGHT.match(text)) is not None:
            yield from self._settle()
            self._kind = "" if found[1] else "thought"
        else:
            yield from self._said(text, start)

    def _type(self, text: str, start: int) -> Iterator[Event]:
        if self._typed is not None:
            began, lines = self._typed
            asked = _ASKING.fullmatch("\n".join(lines).rstrip("\n"))
            if lines[-1] != "" and len(lines) < _MAX_LINES:
                lines.append(text)
                return
            if asked is not None and asked[1].strip().startswith(text.strip()):
                return
            self._typed = (began, lines)
            yield from self._ask()
        self._typed = (start, [text])

    def _ask(self) -> Iterator[Event]:
        typed, self._typed = self._typed, None
        if typed is None:
            return
        start, lines = typed
        text = "\n".join(lines).strip()
        yield Mark(Position(start, {"model": self._model}))
        is_command = text.startswith(("/", "!")) and _ASKING.match(text) is None
        name = self._name(start)
        self._is_asked, self._reply = True, f"reply to {name}"
        # The file has no times but that of its start.
        yield Requested(name, text, self._began, "system" if is_command else "user")
        if is_command:
            yield Ended("completed", self._began)

    def _said(self, text: str, start: int) -> Iterator[Event]:
        # As aider itself tells them apart: an edit in a reply has lines such as ">>>>>>> REPLACE".
        is_program = (text.startswith("> ") or text.rstrip() == ">") and self._kind != "thought"
        kind = "tool_output" if is_program else "thought" if self._kind == "thought" else "message"
        is_other = kind != self._kind and (text.strip() or self._kind == "tool_output")
        if is_other or self._size > _MAX_TEXT:
            yield from self._settle()
            self._kind = kind
        if self._block is None:
            if not text.strip():
                return
            self._block, self._size = (start, []), 0
        self._size += len(text)
        self._block[1].append(text[1:].strip() if is_program else text)

    def _settle(self) -> Iterator[Event]:
        """The text that was read is complete."""
        block, kind = self._block, self._kind
        self._block = None
        self._kind = "thought" if kind == "thought" and block is None else ""
        if block is None:
            return
        start, lines = block
        if kind == "tool_output":
            yield from self._program(lines, start)
        else:
            text = "\n".join(lines).strip()
            is_cut_off = _CUT_OFF in text
            yield Said(self._name(start), self._reply, kind, text, self._began, self._model, is_cut_off=is_cut_off)
            if is_cut_off:
                yield Ended("interrupted", self._began, _CUT_OFF, is_cut_off=True)

    def _program(self, lines: list[str], start: int) -> Iterator[Event]:
        if not self._is_asked:
            yield from self._introduce(lines)
            return
        rest = []
        for line in lines:
            if (found := _TOKENS.match(line)) is not None:
                yield _used(self._reply, found)
            else:
                rest.append(line)
        text = "\n".join(rest).strip()
        if not text:
            return
        yield Said(self._name(start), f"program {start}", "tool_output", text, self._began)
        if _FAILED.match(text):
            yield Ended("error", self._began, text)
        elif _CUT_OFF in text:
            yield Ended("interrupted", self._began, _CUT_OFF)

    def _introduce(self, lines: list[str]) -> Iterator[Event]:
        for line in lines:
            if (version := _VERSION.match(line)) is not None:
                yield SessionSaid(metadata={"version": version[1]})
            elif (model := _MODEL.match(line)) is not None:
                self._model = model[1]

    def _name(self, start: int) -> str:
        return f"byte {start - self._start}"


def _used(reply: str, found: re.Match[str]) -> Used:
    cached = {kind: _number(count) for count, kind in _CACHED.findall(found[2])}
    cost: Any = None
    if found[4] is not None and found[4].count(".") <= 1:
        cost = cost_of(float(found[4]))
    return Used(reply, _number(found[1]), _number(found[3]), None, cached.get("hit"), cached.get("write"), cost)


def _number(text: str) -> int:
    """A number as the program shows it: ``1,234``, ``2.1k``."""
    digits = text.rstrip("kM").replace(",", "")
    if digits.count(".") > 1 or not digits.strip(".") or len(digits) > 15:
        return 0
    return round(float(digits) * _TIMES.get(text[-1], 1))

"""What a program writes to a terminal, as text: the terminal's control codes are left out, wherever the stream is cut.

The codes are those of ECMA-48, with what terminals have added: control sequences (CSI), strings (OSC, DCS, SOS, PM, APC
and the title of ``screen``), other escapes, and single control characters beside tab and line ends.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from attrs import frozen

_STRING = r"(?:\x1b[]PX^_k]|[\x90\x98\x9d\x9e\x9f])"
_SEQUENCE = r"(?:\x1b\[|\x9b)"
_REST_OF_STRING = r"[^\x07\x18\x1a\x1b\x9c]*"
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
# A character that a sequence cannot have ends it and is text, so that a broken one takes nothing else with it. An ESC
# begins the next code; the one of the two characters that end a string is such a code. The set of control characters
# comes first: a search for a set is three times as fast as one for several beginnings.
_CODES: Final = re.compile(
    rf"({_CONTROL}(?:"
    rf"(?<=\x1b)(?:\[[ -?]*[@-~]?|[]PX^_k]{_REST_OF_STRING}[\x07\x18\x1a\x9c]?|[ -/]*[0-~]?)"
    rf"|(?<=\x9b)[ -?]*[@-~]?"
    rf"|(?<=[\x90\x98\x9d\x9e\x9f]){_REST_OF_STRING}[\x07\x18\x1a\x9c]?"
    r")?)"
)
_ASCII_CODES: Final = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\n\r")
_ANY_CODE: Final = re.compile(_CONTROL)
_END_OF_STRING: Final = re.compile(r"[\x07\x18\x1a\x1b\x9c]")
# Codes that the next characters may go on.
_OPEN_STRING: Final = re.compile(rf"{_STRING}{_REST_OF_STRING}")
_OPEN_SEQUENCE: Final = re.compile(rf"{_SEQUENCE}[ -?]*")
_OPEN_ESCAPE: Final = re.compile(r"\x1b[ -/]*")
_RETURNS: Final = re.compile(r"\r*\n?")
_NO_MOVES: Final = re.compile(r"(?<=\n)\r+")
_LINE_END: Final = re.compile(r"\r+\n?")


@frozen
class Said:
    """The next part of an output: as it came, with a byte that is not UTF-8 shown by its number; and its text."""

    raw: str
    text: str


class TerminalText:
    """The text of one output. It holds a few characters at most, however long a code is.

    A carriage return ends a line, as a line feed does, and both together end one; at the beginning of a line it is left
    out. So is a backspace, and what stands before it stays.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._held = ""
        self._cut = ""
        self._in_string = False
        self._after_return = False
        self._at_start = True

    def feed(self, data: bytes, *, final: bool = False) -> Said:
        """The next part. A carriage return at its end comes with the next one: its line feed may follow."""
        raw = self._held + self._decoder.decode(data, final)
        self._held = ""
        if raw.endswith("\r") and not final:
            raw, self._held = raw[:-1], "\r"
        return Said(raw, self._with_plain_ends(self._without_codes(raw)))

    def _without_codes(self, raw: str) -> str:
        if self._in_string:
            end = _END_OF_STRING.search(raw)
            if end is None:
                return ""
            self._in_string = False
            raw = raw[end.start() if end[0] == "\x1b" else end.end() :]
        raw = self._cut + raw
        self._cut = ""
        if not _has_code(raw):
            return raw
        parts = _CODES.split(raw)
        if len(parts) > 1 and not parts[-1]:
            self._hold_open(parts[-2])
        return "".join(parts[::2])

    def _hold_open(self, code: str) -> None:
        """Keep of a code that is not at its end what is as good as its beginning: it may be of any length."""
        if _OPEN_STRING.fullmatch(code):
            self._in_string = True
        elif _OPEN_SEQUENCE.fullmatch(code):
            self._cut = "\x1b["
        elif _OPEN_ESCAPE.fullmatch(code):
            self._cut = code[:2]

    def _with_plain_ends(self, text: str) -> str:
        if self._after_return:
            rest = _RETURNS.match(text)
            assert rest is not None
            text = text[rest.end() :]
            self._after_return = not text and not rest[0].endswith("\n")
        if self._at_start:
            text = text.lstrip("\r")
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            text = _NO_MOVES.sub("", text)
            self._after_return = text.endswith("\r")
            text = _LINE_END.sub("\n", text)
        self._at_start = text.endswith("\n") if text else self._at_start
        return text


def _has_code(raw: str) -> bool:
    if raw.isascii():
        # Ten times as fast as the expression, and most output is such.
        data = raw.encode()
        return len(data.translate(None, _ASCII_CODES)) < len(data)
    return _ANY_CODE.search(raw) is not None

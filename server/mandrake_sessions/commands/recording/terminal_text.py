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
# A character that a sequence cannot have ends it and is text, so that a broken one takes nothing else with it. An ESC
# begins the next code; the one of the two characters that end a string is such a code.
_CODES: Final = re.compile(
    rf"({_STRING}[^\x07\x18\x1a\x1b\x9c]*[\x07\x18\x1a\x9c]?"
    rf"|{_SEQUENCE}[ -?]*[@-~]?"
    r"|\x1b[ -/]+[0-~]?|\x1b[0-~]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x8f\x91-\x97\x99\x9a\x9c]+)"
)
_ASCII_CODES: Final = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\n\r")
_ANY_CODE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_END_OF_STRING: Final = re.compile(r"[\x07\x18\x1a\x1b\x9c]")
# Codes that the next characters may go on.
_OPEN_STRING: Final = re.compile(rf"{_STRING}[^\x07\x18\x1a\x1b\x9c]*")
_OPEN_SEQUENCE: Final = re.compile(rf"{_SEQUENCE}[ -?]*")
_OPEN_ESCAPE: Final = re.compile(r"\x1b[ -/]*")
_RETURNS: Final = re.compile(r"\r*\n?")
_LINE_END: Final = re.compile(r"\r+\n?")


@frozen
class Said:
    """The next part of an output: as it came, with a byte that is not UTF-8 shown by its number; and its text."""

    raw: str
    text: str


class TerminalText:
    """The text of one output. It holds a few characters at most, however long a code is.

    A carriage return ends a line, as a line feed does, and both together end one. A backspace is left out, and what
    stands before it stays.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._held = ""
        self._cut = ""
        self._in_string = False
        self._after_return = False

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
        if "\r" not in text:
            return text
        self._after_return = text.endswith("\r")
        return _LINE_END.sub("\n", text)


def _has_code(raw: str) -> bool:
    if raw.isascii():
        # Ten times as fast as the expression, and most output is such.
        data = raw.encode()
        return len(data.translate(None, _ASCII_CODES)) < len(data)
    return _ANY_CODE.search(raw) is not None

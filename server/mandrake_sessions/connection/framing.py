"""Messages out of bytes, and bytes out of messages, in the two framings (protocol, section 1).

A framer is fed whatever was read and gives what is complete: a ``bytes`` object is the JSON of a message, anything
else is a fault that has its own answer. It never holds more than one message of the greatest size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from attrs import frozen

MAX_HEADER_BYTES = 64 * 1024
# How much of a message that is too large is kept, to find its id in.
PREFIX_BYTES = 4096
_MAX_LENGTH_DIGITS = 15
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_CONTENT_LENGTH = b"content-length"
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_NEWLINE = ord("\n")


@frozen
class TooLong:
    """A message of more bytes than are read; ``prefix`` is how it began."""

    size: int
    prefix: bytes


@frozen
class Broken:
    """Bytes that are no message in this framing."""

    reason: str


Frame = bytes | TooLong | Broken


class Framer(Protocol):
    """One of the two framings, in one direction each."""

    name: str
    max_bytes: int

    def feed(self, data: bytes) -> Iterator[Frame]:
        """What is complete with these bytes."""

    def finish(self) -> Iterator[Frame]:
        """What the end of the input completes."""

    def wrap(self, message: bytes) -> bytes:
        """A message as it is sent; its JSON is on one line."""

    def around(self, size: int) -> tuple[bytes, bytes]:
        """What ``wrap`` puts before and after a message of so many bytes."""


class LineFramer:
    """Newline-delimited JSON: one message a line, LF or CRLF, blank lines skipped; a last line needs no LF."""

    name = "lines"

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._parts: list[bytes] = []
        # Of the line so far, without the blanks it began with; and of that up to its last byte that is none.
        self._size = 0
        self._filled = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._add(line)
            yield from self._take()
        self._add(rest)

    def finish(self) -> Iterator[Frame]:
        yield from self._take()

    def wrap(self, message: bytes) -> bytes:
        return message + b"\n"

    def around(self, size: int) -> tuple[bytes, bytes]:  # noqa: ARG002
        return b"", b"\n"

    def _add(self, part: bytes) -> None:
        """Past the limit only the length goes on being counted. Blanks around a message are not of it."""
        if not self._size:
            part = part.lstrip(_BLANK)
        if part and self._size <= self.max_bytes:
            self._parts.append(part)
        if filled := len(part.rstrip(_BLANK)):
            self._filled = self._size + filled
        self._size += len(part)

    def _take(self) -> Iterator[Frame]:
        line = b"".join(self._parts)
        filled, self._parts, self._size, self._filled = self._filled, [], 0, 0
        if filled > self.max_bytes:
            yield TooLong(filled, line[:PREFIX_BYTES])
        elif filled:
            yield line[:filled]


class HeaderFramer:
    """LSP's base protocol. Header names in any case and order, unknown ones skipped.

    After a header block without a usable length, messages begin again at the next line that starts with one.
    """

    name = "headers"

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._buffer = bytearray()
        self._length: int | None = None
        self._lost = False
        self._mid_line = False
        self._skipping: TooLong | None = None
        self._to_skip = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._buffer += data
        while True:
            before = len(self._buffer), self._length, self._lost, self._to_skip
            yield from self._step()
            if before == (len(self._buffer), self._length, self._lost, self._to_skip):
                return

    def finish(self) -> Iterator[Frame]:
        if self._lost:
            return
        if self._skipping is not None or self._length is not None or self._buffer.strip(_BLANK):
            yield Broken("the input ended in the middle of a message")

    def wrap(self, message: bytes) -> bytes:
        return b"Content-Length: %d\r\n\r\n%b" % (len(message), message)

    def around(self, size: int) -> tuple[bytes, bytes]:
        return b"Content-Length: %d\r\n\r\n" % size, b""

    def _step(self) -> Iterator[Frame]:
        if self._skipping is not None:
            yield from self._skip()
        elif self._lost:
            self._find_header()
        elif self._length is None:
            yield from self._read_header()
        elif len(self._buffer) >= self._length:
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            self._length = None
            yield body

    def _read_header(self) -> Iterator[Frame]:
        blank = len(self._buffer) - len(self._buffer.lstrip(_BLANK))
        del self._buffer[:blank]
        end = _HEADER_END.search(self._buffer, 0, MAX_HEADER_BYTES)
        if end is None:
            if len(self._buffer) >= MAX_HEADER_BYTES:
                self._lost = True
                self._mid_line = self._buffer[MAX_HEADER_BYTES - 1] != _NEWLINE
                del self._buffer[:MAX_HEADER_BYTES]
                yield Broken(f"a header block of more than {MAX_HEADER_BYTES} bytes")
            return
        length = _content_length(bytes(self._buffer[: end.start()]))
        del self._buffer[: end.end()]
        if length is None:
            self._lost = True
            yield Broken("a header block without a usable Content-Length")
        elif length > self.max_bytes:
            self._to_skip = length
            self._skipping = TooLong(length, b"")
        else:
            self._length = length

    def _skip(self) -> Iterator[Frame]:
        assert self._skipping is not None
        skipped = min(self._to_skip, len(self._buffer))
        kept = self._skipping.prefix
        prefix = kept + bytes(self._buffer[: min(skipped, PREFIX_BYTES - len(kept))])
        self._skipping = TooLong(self._skipping.size, prefix)
        del self._buffer[:skipped]
        self._to_skip -= skipped
        if self._to_skip == 0:
            yield self._skipping
            self._skipping = None

    def _find_header(self) -> None:
        """Drop lines until one starts with Content-Length. What may be the beginning of one is kept."""
        while True:
            line = bytes(self._buffer[: len(_CONTENT_LENGTH)]).lower()
            if not self._mid_line and _CONTENT_LENGTH.startswith(line):
                self._lost = line != _CONTENT_LENGTH
                return
            newline = self._buffer.find(b"\n")
            self._mid_line = newline < 0
            if self._mid_line:
                self._buffer.clear()
                return
            del self._buffer[: newline + 1]


def _content_length(block: bytes) -> int | None:
    """The one length that a header block states, or None."""
    found: set[bytes] = set()
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == _CONTENT_LENGTH:
            found.add(value.strip())
    if len(found) != 1:
        return None
    (value,) = found
    return int(value) if re.fullmatch(rb"\d{1,%d}" % _MAX_LENGTH_DIGITS, value) else None


class FramingDetector:
    """Decides by the first byte that is not blank (a byte-order mark is skipped), once for the connection."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held = b""

    def feed(self, data: bytes) -> tuple[Framer, bytes] | None:
        """The framing and the bytes to feed it, once they can be told."""
        self._held = (self._held + data).lstrip(_BLANK)
        while self._held.startswith(_BOM):
            self._held = self._held.removeprefix(_BOM).lstrip(_BLANK)
        if _BOM.startswith(self._held):
            # Nothing yet, or a mark that is cut in two.
            return None
        letter = self._held[:1].isalpha()
        return (HeaderFramer if letter else LineFramer)(self.max_bytes), self._held

"""Bytes to frames, and messages to bytes, in the two framings (protocol, section 1).

A framer takes the bytes as they were read and gives the complete frames: ``bytes`` is the JSON of a message or of a
batch; ``TooLong``, ``NoMemory`` and ``Broken`` are faults. It never holds more than one message of the greatest size,
and drops that one if there is no memory for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from attrs import evolve, frozen

from mandrake_sessions.transport.memory import reserve
from mandrake_sessions.value import Value

MAX_HEADER_BYTES = 64 * 1024
# How much of a message that is too large is kept, to find its id in.
PREFIX_BYTES = 4096
_MAX_LENGTH_DIGITS = 15
_BLANK = b" \t\r\n"
_LAST_BLANK = max(_BLANK)
_BOM = b"\xef\xbb\xbf"
_CONTENT_LENGTH = b"content-length"
# No name of a header does.
_JSON_BEGINS = (b"{", b"[")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
# A header that states a length, wherever it stands: no LSP client ends a body with a line feed, so after one that was
# counted wrong the next header begins in the middle of a line. But ``X-Content-Length`` is another header.
_USABLE_HEADER = re.compile(
    rb"(?<!-)content-length:[ \t]{0,16}\d{1,%d}[ \t]{0,16}\r?\n" % _MAX_LENGTH_DIGITS, re.IGNORECASE
)
# The longest beginning of such a header that may be cut off at the end of what was read, and what stands before it.
_LONGEST_HEADER = 1 + len(_CONTENT_LENGTH) + 1 + 16 + _MAX_LENGTH_DIGITS + 16 + 2


@frozen(eq=False, repr=False)
class TooLong(Value):
    """A message of more bytes than are read; ``prefix`` is how it began."""

    size: int
    prefix: bytes


@frozen(eq=False, repr=False)
class NoMemory(Value):
    """A message that there was no memory for; ``prefix`` is how it began."""

    prefix: bytes


@frozen(eq=False, repr=False)
class Broken(Value):
    """Bytes that are no message in this framing. ``line``: where they are a line of JSON, which may be a message in the
    other one."""

    reason: str
    line: bytes = b""


Frame = bytes | TooLong | NoMemory | Broken


class Framer(Protocol):
    """One of the two framings, in one direction each."""

    name: str
    max_bytes: int

    def feed(self, data: bytes) -> Iterable[Frame]:
        """The messages that these bytes complete."""

    def finish(self) -> Iterable[Frame]:
        """The messages that the end of the input completes."""

    def drop(self) -> bool:
        """Free what is held of the message that is being received, which becomes ``NoMemory`` at its end. Whether that
        was anything."""

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
        # How the line began, if there is no memory for it.
        self._dropped: NoMemory | None = None

    def feed(self, data: bytes) -> Iterable[Frame]:
        *lines, rest = data.split(b"\n")
        frames: list[Frame] = []
        for line in lines:
            if self._is_whole(line):
                frames.append(line)
            else:
                self._add(line)
                frames += self._take()
        if rest:
            self._add(rest)
        return frames

    def finish(self) -> Iterable[Frame]:
        return self._take()

    def wrap(self, message: bytes) -> bytes:
        return message + b"\n"

    def around(self, size: int) -> tuple[bytes, bytes]:  # noqa: ARG002
        return b"", b"\n"

    def drop(self) -> bool:
        parts, self._parts = self._parts, []
        if self._dropped is None and parts:
            self._dropped = NoMemory(_beginning(parts))
        return bool(parts)

    def _is_whole(self, line: bytes) -> bool:
        """Whether it is a message as it stands, as most are: nothing came before it, and no blanks are around it."""
        if not line or self._size or self._dropped is not None:
            return False
        return len(line) <= self.max_bytes and line[0] > _LAST_BLANK < line[-1]

    def _add(self, part: bytes) -> None:
        if self._dropped is None:
            try:
                self._hold(part)
            except MemoryError:
                reserve.spend()
                self.drop()
                if self._dropped is None:
                    self._dropped = NoMemory(b"")

    def _hold(self, part: bytes) -> None:
        """Past the limit only the length goes on being counted. Blanks around a message are not of it."""
        if not self._size:
            part = part.lstrip(_BLANK)
        if part and self._size <= self.max_bytes:
            self._parts.append(part)
        if filled := len(part.rstrip(_BLANK)):
            self._filled = self._size + filled
        self._size += len(part)

    def _take(self) -> Sequence[Frame]:
        line = b""
        try:
            line = b"".join(self._parts)
        except MemoryError:
            reserve.spend()
            self.drop()
        filled, self._parts, self._size, self._filled = self._filled, [], 0, 0
        if self._dropped is not None:
            dropped, self._dropped = self._dropped, None
            return (dropped,)
        if filled > self.max_bytes:
            return (TooLong(filled, line[:PREFIX_BYTES]),)
        return (line[:filled],) if filled else ()


class HeaderFramer:
    """LSP's base protocol. Header names in any case and order, unknown ones skipped.

    After a header block without a usable length, and after a line of JSON in the place of one, messages begin again at
    the next ``Content-Length:`` with a number and a line end, wherever it stands.
    """

    name = "headers"

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._buffer = bytearray()
        self._length: int | None = None
        self._lost = False
        self._skipping: TooLong | NoMemory | None = None
        self._to_skip = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        try:
            self._buffer += data
        except MemoryError:
            reserve.spend()
            if not self.drop():
                raise
            yield from self._skip()
            self._buffer += data
        while True:
            before = self._state()
            yield from self._step()
            if before == self._state():
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

    def _state(self) -> tuple[object, ...]:
        return len(self._buffer), self._length, self._lost, self._to_skip

    def _step(self) -> Iterator[Frame]:
        if self._skipping is not None:
            yield from self._skip()
        elif self._lost:
            self._find_header()
        elif self._length is None:
            yield from self._read_header()
        elif len(self._buffer) >= self._length:
            yield from self._take(self._length)

    def _take(self, length: int) -> Iterator[Frame]:
        """The body that is there as a whole."""
        body: bytes | None = None
        try:
            # One copy, where a slice of the buffer would be another.
            with memoryview(self._buffer) as view:
                body = bytes(view[:length])
        except MemoryError:
            reserve.spend()
            self.drop()
            return
        del self._buffer[:length]
        self._length = None
        yield body

    def drop(self) -> bool:
        if self._length is None:
            return False
        self._skipping, self._to_skip, self._length = NoMemory(b""), self._length, None
        return bool(self._buffer)

    def _read_header(self) -> Iterator[Frame]:
        blank = len(self._buffer) - len(self._buffer.lstrip(_BLANK))
        del self._buffer[:blank]
        if self._buffer[:1] in _JSON_BEGINS and (size := self._buffer.find(b"\n", 0, MAX_HEADER_BYTES) + 1):
            # Its sender may wait for an answer, so the rest of a block is not waited for.
            yield Broken("a line of JSON in the place of a header block", bytes(self._buffer[:size]))
            self._lose(size)
            return
        end = _HEADER_END.search(self._buffer, 0, MAX_HEADER_BYTES)
        if end is None:
            if len(self._buffer) >= MAX_HEADER_BYTES:
                self._lose(MAX_HEADER_BYTES)
                yield Broken(f"a header block of more than {MAX_HEADER_BYTES} bytes")
            return
        block = bytes(self._buffer[: end.start()])
        length = _content_length(block)
        if length is None:
            self._lose(end.end())
            yield Broken("a header block without a usable Content-Length")
            return
        del self._buffer[: end.end()]
        if length > self.max_bytes:
            self._to_skip = length
            self._skipping = TooLong(length, b"")
        else:
            self._length = length

    def _lose(self, size: int) -> None:
        """Look for a header from here on. A block that names a length at the beginning of a line is dropped whole: its
        length is no number, or one of several. In any other, the rest of a body that was counted too short may stand
        before a header that is in order."""
        self._lost = True
        if any(_is_length(line) for line in bytes(self._buffer[:size]).split(b"\n")):
            del self._buffer[:size]

    def _skip(self) -> Iterator[Frame]:
        assert self._skipping is not None
        skipped = min(self._to_skip, len(self._buffer))
        kept = self._skipping.prefix
        prefix = kept + bytes(self._buffer[: min(skipped, PREFIX_BYTES - len(kept))])
        self._skipping = evolve(self._skipping, prefix=prefix)
        del self._buffer[:skipped]
        self._to_skip -= skipped
        if self._to_skip == 0:
            yield self._skipping
            self._skipping = None

    def _find_header(self) -> None:
        """Drop what stands before the next usable header. What may be the beginning of one is kept."""
        found = _USABLE_HEADER.search(self._buffer)
        if found is not None:
            del self._buffer[: found.start()]
            self._lost = False
        elif len(self._buffer) > _LONGEST_HEADER:
            del self._buffer[:-_LONGEST_HEADER]


def _beginning(parts: Iterable[bytes]) -> bytes:
    """As much of what the parts make as an id is looked for in."""
    found = b""
    for part in parts:
        found += part[: PREFIX_BYTES - len(found)]
        if len(found) == PREFIX_BYTES:
            break
    return found


def _content_length(block: bytes) -> int | None:
    """The one length that a header block states, or None."""
    found: set[bytes] = set()
    for line in block.split(b"\n"):
        if _is_length(line):
            found.add(line.partition(b":")[2].strip())
    if len(found) != 1:
        return None
    (value,) = found
    return int(value) if re.fullmatch(rb"\d{1,%d}" % _MAX_LENGTH_DIGITS, value) else None


def _is_length(line: bytes) -> bool:
    """Whether a line of a header block is the one that states the length, usable or not."""
    return line.partition(b":")[0].strip().lower() == _CONTENT_LENGTH


class FramingDetector:
    """Decides once for the connection: headers where the first line begins with a letter and has a colon, lines for
    everything else. A byte-order mark and blanks before it are skipped."""

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
        if not self._held[:1].isalpha():
            return LineFramer(self.max_bytes), self._held
        line, ended, _ = self._held[:MAX_HEADER_BYTES].partition(b"\n")
        if b":" in line:
            return HeaderFramer(self.max_bytes), self._held
        # It may still get a colon, unless it is longer than any header.
        decided = ended or len(line) == MAX_HEADER_BYTES
        return (LineFramer(self.max_bytes), self._held) if decided else None

    def finish(self) -> tuple[Framer, bytes] | None:
        """The same at the end of the input, when nothing more can come; None where nothing came."""
        return (LineFramer(self.max_bytes), self._held) if self._held else None

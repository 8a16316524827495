"""The two framings of JSON-RPC on a pipe: a message a line, or LSP's ``Content-Length`` header before each message."""

from __future__ import annotations

from asyncio import IncompleteReadError, LimitOverrunError, StreamReader
from collections.abc import AsyncIterator
from typing import Literal

Framing = Literal["lines", "headers"]

CHUNK_BYTES = 1 << 18
_END_OF_HEADERS = b"\r\n\r\n"


def frame(framing: Framing, body: bytes) -> bytes:
    """A message as it goes into the pipe."""
    return body + b"\n" if framing == "lines" else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def read_messages(framing: Framing, stream: StreamReader) -> AsyncIterator[bytes]:
    """The bodies of the messages, of any length. What a killed server did not write to its end is dropped."""
    return _lines(stream) if framing == "lines" else _framed(stream)


async def _lines(stream: StreamReader) -> AsyncIterator[bytes]:
    begun: list[bytes] = []
    while data := await stream.read(CHUNK_BYTES):
        first, *others = data.split(b"\n")
        begun.append(first)
        for other in others:
            yield b"".join(begun)
            begun = [other]


async def _framed(stream: StreamReader) -> AsyncIterator[bytes]:
    """A header block without a length is given as if it were a message, so that the reader reports it."""
    try:
        while True:
            header = await stream.readuntil(_END_OF_HEADERS)
            length = _content_length(header)
            yield header if length is None else await stream.readexactly(length)
    except IncompleteReadError:
        return
    except LimitOverrunError:
        # No header block is that long: this is no such server.
        yield await stream.read(CHUNK_BYTES)


def _content_length(header: bytes) -> int | None:
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None

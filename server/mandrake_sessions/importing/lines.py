"""Files of JSON lines, read from a position on: bounded in memory, whatever they hold."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import IO, Any, Final, cast, overload

from attrs import define, frozen

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.importing.events import Broken, Paused

# A longer line is left out. Programs write pictures into a line, of a few megabytes.
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
# What the names of such files end with.
ENDINGS: Final = (".jsonl", ".jsonl.zst")
_PIECE = 1024 * 1024
# What nobody writes, and is put behind what a compressed file holds.
_END: Final = os.urandom(16)
_BOM: Final = b"\xef\xbb\xbf"
_held: dict[str, bytes] = {}
_decoder = json.JSONDecoder(parse_constant=lambda _name: None)


class SourceUnreadable(SessionsError):
    """A source cannot be opened or read as what it says that it is."""


@frozen
class Line:
    """An object of a file. ``number``: counted from 1 where reading began at the start of the file, else from there.
    ``start`` and ``end``: its bytes."""

    number: int
    start: int
    end: int
    object: dict[str, Any]


@define
class Tail:
    """A file is read on where it has grown: at its end ``Paused`` is given, until it ``is_over``."""

    is_over: bool = False


@contextmanager
def held(path: str, content: bytes | None) -> Iterator[None]:
    """While the block runs, ``opened`` gives this content for the path: a small file is looked into many times, and
    opening it takes longer than reading it. None: the file itself."""
    if content is None:
        yield
        return
    _held[path] = content
    try:
        yield
    finally:
        del _held[path]


def opened(path: str) -> IO[bytes]:
    """A regular file, which is no link, or what is inside a compressed one. Raises OSError, SourceUnreadable."""
    if (content := _held.get(path)) is not None:
        return io.BytesIO(content)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(descriptor, "rb", buffering=_PIECE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise SourceUnreadable(f"{path} is no regular file")
    return _decompressed(path, file) if path.endswith(".zst") else file


def _decompressed(path: str, file: IO[bytes]) -> IO[bytes]:
    try:
        from compression.zstd import ZstdFile  # type: ignore[import-not-found,unused-ignore]  # From Python 3.14 on.
    except ImportError:
        pass
    else:
        return _Unpacked.of(ZstdFile(file), path)
    try:
        from zstandard import ZstdCompressor, ZstdDecompressor
    except ImportError:
        file.close()
        raise SourceUnreadable(
            f"{path} is compressed with zstd, which this Python does not read; "
            "install mandrake-sessions[zstd], or Python 3.14"
        ) from None
    whole = _Followed(file, ZstdCompressor().compress(_END))
    reader = ZstdDecompressor().stream_reader(cast("IO[bytes]", whole), closefd=True, read_across_frames=True)
    return _Unpacked.of(_UntilEnd(reader), path)


class _Followed:
    """A file, and some bytes after it."""

    def __init__(self, file: IO[bytes], after: bytes) -> None:
        self._file = file
        self._after = io.BytesIO(after)

    def read(self, size: int) -> bytes:
        return self._file.read(size) or self._after.read(size)

    def close(self) -> None:
        self._file.close()


class _UntilEnd:
    """What is inside, without ``_END``, which has to be the last of it: the library says nothing of a file that ends in
    the middle of a frame."""

    def __init__(self, inside: Any) -> None:
        self._inside = inside
        self._held = b""

    def read(self, size: int) -> bytes:
        while piece := self._inside.read(size):
            self._held += piece
            if len(self._held) > len(_END):
                given, self._held = self._held[: -len(_END)], self._held[-len(_END) :]
                return given
        if self._held != _END:
            raise EOFError("it ends in the middle")
        self._held = _END
        return b""

    def close(self) -> None:
        self._inside.close()


class _Unpacked(io.RawIOBase):
    """What is inside a compressed file. Whatever its library raises is SourceUnreadable."""

    def __init__(self, inside: Any, path: str) -> None:
        self._inside = inside
        self._path = path

    @classmethod
    def of(cls, inside: Any, path: str) -> IO[bytes]:
        return io.BufferedReader(cls(inside, path), _PIECE)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._inside.read(len(buffer))
        except OSError:
            raise
        except Exception as error:
            raise SourceUnreadable(f"{self._path} cannot be decompressed: {error}") from None
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._inside.close()
        super().close()


@overload
def each_line(path: str, offset: int = 0, skipped: re.Pattern[bytes] | None = None) -> Iterator[Line | Broken]: ...


@overload
def each_line(
    path: str, offset: int = 0, skipped: re.Pattern[bytes] | None = None, tail: Tail | None = None
) -> Iterator[Line | Broken | Paused]: ...


def each_line(
    path: str, offset: int = 0, skipped: re.Pattern[bytes] | None = None, tail: Tail | None = None
) -> Iterator[Line | Broken | Paused]:
    """The objects of a file from a byte on, which begins a line. Of a last line without an end that is no object
    nothing is said: somebody still writes it. ``skipped``: the beginnings of lines that nobody wants, which are not
    decoded. ``tail``: of a file that is not compressed. Raises OSError, SourceUnreadable."""
    with closing(opened(path)) as file:
        skip(file, offset)
        number, start = 1, offset
        while True:
            try:
                line, length = _line(file)
            except SourceUnreadable as error:
                # What stands before it counts.
                yield Broken(number, start, f"{str(error).removeprefix(path).strip()}; what follows is left out")
                return
            if skipped is not None and length <= _PIECE and line.endswith(b"\n") and skipped.match(line):
                number += 1
                start += length
                continue
            found = _told(number, start, start + length, line if start else line.removeprefix(_BOM), skipped)
            yield from found
            if not line.endswith(b"\n") and not found:
                if tail is None or tail.is_over:
                    return
                yield Paused()
                # Somebody goes on with the line.
                file.seek(start)
                continue
            number += line.endswith(b"\n")
            start += length


def skip(file: IO[bytes], offset: int) -> None:
    if file.seekable():
        file.seek(offset)
        return
    while offset > 0 and (piece := file.read(min(offset, _PIECE))):
        offset -= len(piece)


def _line(file: IO[bytes]) -> tuple[bytes, int]:
    """The next line, and its length; nothing of one that is too long but its end."""
    line = file.readline(_PIECE)
    return _rest_of_line(file, line) if line and not line.endswith(b"\n") else (line, len(line))


def _rest_of_line(file: IO[bytes], line: bytes) -> tuple[bytes, int]:
    """The whole of a line that is longer than a piece, and its length; nothing of one that is too long."""
    pieces, length = [line], len(line)
    while not pieces[-1].endswith(b"\n") and (piece := file.readline(_PIECE)):
        length += len(piece)
        # Of a line that is too long only its end matters.
        pieces = [piece] if length > MAX_LINE_BYTES else [*pieces, piece]
    if length > MAX_LINE_BYTES:
        return pieces[-1][-1:], length
    return b"".join(pieces), length


def _told(number: int, start: int, end: int, line: bytes, skipped: re.Pattern[bytes] | None) -> Sequence[Line | Broken]:
    """What a line says; nothing of one that nobody wants, and of one that is still written."""
    is_short = end - start <= MAX_LINE_BYTES
    if is_short and (not line or (skipped is not None and skipped.match(line))):
        return ()
    if (whole := _plain_object(number, start, end, line)) is not None:
        return (whole,)
    return () if is_short and line.isspace() else list(_object(number, start, end, line))


def _plain_object(number: int, start: int, end: int, line: bytes) -> Line | None:
    """What nearly every line is; None of one that needs a closer look."""
    try:
        text = line.decode()
        value, end_of_value = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return Line(number, start, end, value) if type(value) is dict and text[end_of_value:] == "\n" else None


def _object(number: int, start: int, end: int, line: bytes) -> Iterator[Line | Broken]:
    is_whole = line.endswith(b"\n")
    if end - start > MAX_LINE_BYTES:
        if is_whole:
            size = f"{(end - start) // 1024 // 1024} MiB"
            yield Broken(number, start, f"has {size}; a line may have {MAX_LINE_BYTES // 1024 // 1024} MiB at the most")
        return
    try:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            if not is_whole:
                return
            place = start + error.start
            yield Broken(number, start, f"byte {place} is not UTF-8; such bytes became U+FFFD", is_left_out=False)
            text = line.decode(errors="replace")
        value, end_of_value = _decoder.raw_decode(text)
        if text[end_of_value:].strip():
            raise ValueError(f"more follows at character {end_of_value}")
    except (ValueError, RecursionError) as error:
        if is_whole:
            why = "is nested too deep" if isinstance(error, RecursionError) else f"is no JSON: {error}"
            yield Broken(number, start, why)
        return
    if isinstance(value, dict):
        yield Line(number, start, end, value)
    else:
        yield Broken(number, start, f"is no JSON object but {_kind(value)}")


def _kind(value: Any) -> str:
    words = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")

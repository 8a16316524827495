"""Encoded messages of any length: in memory while they are short, in a file without a name beyond.

So a message that waits for a slow peer takes no memory, and whatever it was made from can be released as soon as it is
encoded.
"""

from __future__ import annotations

import logging
import tempfile
from typing import IO

from mandrake_sessions.transport.memory import map_large_blocks

logger = logging.getLogger(__name__)

# An encoded message of more than this is written to a file.
MEMORY_BYTES = 1024 * 1024
# Where there is no file to be had, a message may be as long as this in memory.
WITHOUT_FILE_BYTES = 64 * 1024 * 1024
_COPY_BYTES = 256 * 1024
_GATHERED_BYTES = 64 * 1024


class NoRoom(Exception):
    """A long message fits neither into a file nor into memory. ``directory``: the system's own for such files, or what
    is wrong with that."""

    def __init__(self, directory: str) -> None:
        super().__init__(f"a message of more than {WITHOUT_FILE_BYTES} bytes fits nowhere")
        self.directory = directory


class Spooled:
    """A message in a file. Its one reader takes it from the beginning to the end, and closes it."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size
        file.seek(0)

    def __len__(self) -> int:
        return self._size

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``. Raises OSError."""
        data = self._file.read(size)
        if not data and size:
            raise OSError("the file of an answer is shorter than it was written")
        return data

    def close(self) -> None:
        self._file.close()


Encoded = bytes | Spooled


class Spool:
    """Takes a message piece by piece. ``directory``: where its file is made first, which should be on a disk: the
    system's own directory for such files may be in memory."""

    def __init__(self, directory: str | None = None) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None
        # None: the system's own directory for such files, looked up only when a file is needed, as there may be none.
        self._places: list[str | None] = [None] if directory is None else [directory, None]
        # Short parts are gathered, so that not each part is a system call.
        self._gathered = bytearray()

    def write(self, part: bytes) -> None:
        """Raises NoRoom."""
        self.size += len(part)
        if self._file is not None:
            self._gathered += part
            if len(self._gathered) >= _GATHERED_BYTES:
                self._flush()
            return
        self._parts.append(part)
        if self.size > MEMORY_BYTES:
            self._leave_memory()

    def finish(self) -> Encoded:
        """The whole, once; nothing may be written after it."""
        if self._file is None:
            parts, self._parts = self._parts, []
            return parts[0] if len(parts) == 1 else b"".join(parts)
        self._flush()
        if self._file is None:
            return self.finish()
        file, self._file = self._file, None
        return Spooled(file, self.size)

    def discard(self) -> None:
        """Delete what was written: the message is not sent."""
        self._parts = []
        self._gathered = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, message: Encoded) -> None:
        """Write what another spool has finished, and close it."""
        if isinstance(message, bytes):
            self.write(message)
            return
        try:
            left = len(message)
            while left:
                part = message.read(min(left, _COPY_BYTES))
                left -= len(part)
                self.write(part)
        finally:
            message.close()

    def _flush(self) -> None:
        part, self._gathered = bytes(self._gathered), bytearray()
        self._write_to_file(part)

    def _write_to_file(self, part: bytes) -> None:
        assert self._file is not None
        try:
            _write_all(self._file, part)
        except OSError as error:
            self._move(part, error)

    def _leave_memory(self) -> None:
        """Go on in a file; where none can be made, in memory up to a bound."""
        map_large_blocks()
        self._file = self._next_file()
        if self._file is not None:
            whole, self._parts = b"".join(self._parts), []
            self._write_to_file(whole)
        elif self.size > WITHOUT_FILE_BYTES:
            raise _no_room()

    def _move(self, part: bytes, error: OSError) -> None:
        """The disk is full: move what is written to the next place, or back into memory."""
        assert self._file is not None
        logger.warning("an answer cannot be kept in a file while it is made, it goes elsewhere: %s", error.strerror)
        full, done = self._file, self.size - len(part)
        self._file = None
        full.seek(0)
        while (found := self._next_file()) is not None:
            try:
                _copy(full, found, done)
                _write_all(found, part)
            except OSError:
                found.close()
                full.seek(0)
                continue
            full.close()
            self._file = found
            return
        if self.size > WITHOUT_FILE_BYTES:
            full.close()
            raise _no_room()
        self._parts = [full.read(done), part]
        full.close()

    def _next_file(self) -> IO[bytes] | None:
        while self._places:
            place = self._places.pop(0)
            try:
                # Where the system can, a file that never has a name, so that nothing moves in the directory.
                return tempfile.TemporaryFile(buffering=0, dir=place or tempfile.gettempdir())
            except OSError:
                continue
        return None


def discard(message: Encoded | memoryview) -> None:
    """Close a message that is not sent, or is sent already."""
    if isinstance(message, Spooled):
        message.close()


def _write_all(file: IO[bytes], part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[file.write(view) :]


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    while size:
        part = source.read(min(size, _COPY_BYTES))
        size -= len(part)
        _write_all(target, part)


def _no_room() -> NoRoom:
    try:
        return NoRoom(tempfile.gettempdir())
    except OSError:
        return NoRoom("a directory for temporary files, of which there is none")

"""Reads sources in a process of its own, while this one writes what was read before.

Reading a transcript and putting its rounds together takes as long as writing them. What is not written yet waits in the
pipe between the two, so that the other process is never far ahead, and little is held.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from typing import IO, Final

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

from mandrake_sessions.importing.handing_over import Asked, Batch, Call, ReadingLost
from mandrake_sessions.importing.reading import Source

# Of fewer bytes the start of a process takes longer than it gains.
WORTH_A_PROCESS: Final = 8 * 1024 * 1024
_COMMAND: Final = (sys.executable, "-P", "-m", "mandrake_sessions.importing.reader_process")
# What the pipe holds, where that can be said.
_PIPE_BYTES: Final = 1024 * 1024


class ReadAhead:
    """``take`` sources in the order in which they are given here, then ``close``. ``packs`` and ``is_growing``: see
    ``Asked``."""

    def __init__(self, sources: Sequence[Source], *, packs: bool, is_growing: bool) -> None:
        # Those that were not taken yet.
        self._names = deque(map(_name, sources))
        self._is_waiting = set(self._names)
        self._process: subprocess.Popen[bytes] | None = None
        self._current: SourceAhead | None = None
        if sys.executable and _processors() > 1 and sum(source.size for source in sources) >= WORTH_A_PROCESS:
            self._start(Asked(list(sources), packs, is_growing))

    def _start(self, asked: Asked) -> None:
        try:
            # Ctrl-C is for this process, which ends the other one.
            group = 0 if os.name == "posix" else None
            process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=_PIPE_BYTES, process_group=group
            )
        except OSError:
            return
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            _widen(pipe)
        try:
            with process.stdin as stdin:
                pickle.dump(asked, stdin, pickle.HIGHEST_PROTOCOL)
        except OSError:
            self.close()

    def take(self, source: Source) -> SourceAhead | None:
        """What is read of a source; None where it is not read ahead."""
        if self._process is None or (name := _name(source)) not in self._is_waiting:
            return None
        assert self._process.stdout is not None
        try:
            if self._current is not None:
                self._current.skip()
            while (other := self._names.popleft()) != name:
                self._is_waiting.discard(other)
                SourceAhead(self._process.stdout).skip()
            self._is_waiting.discard(name)
            self._current = SourceAhead(self._process.stdout)
        except ReadingLost:
            self.close()
            return None
        return self._current

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with process:
                pass


class SourceAhead:
    """What is read of one source. ``blocks``: all of its file as it is kept; None where it was not packed.
    ``checksum``: that of the file before the last position, once all calls were taken. Raises ReadingLost where the
    other process is gone."""

    def __init__(self, stdout: IO[bytes]) -> None:
        self._stdout = stdout
        self._batch: Batch | None = self._head()
        self.blocks = self._batch.blocks
        self.checksum = ""

    def calls(self) -> Iterator[Call]:
        """What an assembler says of it, once. Raises what reading raises, OSError and SourceUnreadable, and ReadingLost
        where the source has to be read here."""
        while (batch := self._batch) is not None:
            self.checksum = batch.checksum
            load = pickle.Unpickler(BytesIO(self._read(batch.size))).load
            self._batch = None if batch.is_last else self._head()
            for _ in range(batch.count):
                yield load()
            if batch.error is not None:
                raise batch.error

    def skip(self) -> None:
        """Leave out what was not taken."""
        while (batch := self._batch) is not None:
            self._read(batch.size)
            self._batch = None if batch.is_last else self._head()

    def _head(self) -> Batch:
        try:
            found = pickle.load(self._stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise ReadingLost from None
        assert isinstance(found, Batch)
        return found

    def _read(self, size: int) -> bytes:
        found = self._stdout.read(size)
        if len(found) < size:
            self._batch = None
            raise ReadingLost
        return found


def _name(source: Source) -> tuple[str, str, str]:
    return source.reader, source.key, source.path


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _widen(pipe: IO[bytes]) -> None:
    """Let the pipe hold more, where that is known how."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

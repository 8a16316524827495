"""The output of a program on its way to the store."""

from __future__ import annotations

import threading
import time
from typing import Final

from mandrake_sessions.commands.recording.program import Output

# What it holds at most; a piece on top of that waits, and the program with it, as at a pipe that is full.
MAX_BYTES: Final = 16 * 1024 * 1024
# A take has to be worth a transaction: it comes so many seconds after the last one, or when so much is there.
_SECONDS: Final = 0.02
_BYTES: Final = 64 * 1024
# So much of an output is taken at most: it becomes one row of the store.
_TAKEN_BYTES: Final = 1024 * 1024


class OutputQueue:
    """Bytes by output, in the order of each. Threads put, one takes."""

    def __init__(self) -> None:
        # Not pieces: a program may write single bytes, and each would be an object.
        self._waiting: dict[Output, bytearray] = {}
        self._bytes = 0
        self._is_ended = False
        self._takes_any = True
        self._last = 0.0
        lock = threading.Lock()
        self._changed, self._room = threading.Condition(lock), threading.Condition(lock)

    def put(self, output: Output, piece: bytes) -> None:
        """Waits for room. After the end it has no effect."""
        with self._room:
            while self._bytes >= MAX_BYTES and self._takes_any:
                self._room.wait()
            if not self._takes_any:
                return
            self._waiting.setdefault(output, bytearray()).extend(piece)
            before, self._bytes = self._bytes, self._bytes + len(piece)
            if before == 0 or before < _BYTES <= self._bytes:
                self._changed.notify()

    def take(self) -> dict[Output, bytes]:
        """What is there of each output; waits for it, and gives nothing at the end."""
        with self._changed:
            while not self._bytes and not self._is_ended:
                self._changed.wait()
            while not self._is_ended and self._bytes < _BYTES:
                rest = self._last + _SECONDS - time.monotonic()
                if rest <= 0:
                    break
                self._changed.wait(rest)
            self._last = time.monotonic()
            taken = {output: bytes(waiting[:_TAKEN_BYTES]) for output, waiting in self._waiting.items() if waiting}
            for output, data in taken.items():
                del self._waiting[output][: len(data)]
                self._bytes -= len(data)
            self._room.notify_all()
        return taken

    def end(self) -> None:
        """Nothing more comes; what is there can still be taken."""
        with self._changed:
            self._is_ended, self._takes_any = True, False
            self._changed.notify()
            self._room.notify_all()

    def wait_for_end(self, seconds: float) -> bool:
        """Whether the end comes within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_ended, seconds)

    def discard(self) -> None:
        """Nothing more is taken: what is there is dropped, and what comes."""
        with self._changed:
            self._takes_any = False
            self._waiting.clear()
            self._bytes = 0
            self._room.notify_all()

    @property
    def presses(self) -> bool:
        """Whether somebody waits for it: for room, or for its end."""
        return self._bytes >= MAX_BYTES or self._is_ended

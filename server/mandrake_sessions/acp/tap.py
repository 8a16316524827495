"""The copy of what passes, on its way to the recorder. It never makes anybody wait."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from mandrake_sessions.acp.frames import ENDED, LOST, head
from mandrake_sessions.acp.pipes import widen

# What waits in memory at most, where the recorder does not read.
MAX_BYTES: Final = 32 * 1024 * 1024
# What a piece costs beside its bytes.
_OF_A_PIECE: Final = 100
_PIPE_BYTES: Final = 1024 * 1024
# So many pieces are written with one call.
_AT_ONCE: Final = 64


class Tap:
    """``pipe``: the end of the recorder's pipe that is written; it is closed at the end. ``say`` tells the client's log
    of a fault, once for each kind; it may be called with a lock held, and must not wait.

    Start ``thread``: it writes what the pipe had no room for.
    """

    def __init__(self, pipe: int, say: Callable[[str], None]) -> None:
        os.set_blocking(pipe, False)
        widen(pipe, _PIPE_BYTES)
        self._pipe = pipe
        self._say = say
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._has_told_loss = False
        self._is_dead = False
        self._is_ending = False
        self.thread = threading.Thread(target=self._write_waiting, daemon=True)

    @property
    def is_dead(self) -> bool:
        """Whether nobody reads the pipe any more, and that was said."""
        return self._is_dead

    def put(self, kind: bytes, piece: bytes) -> None:
        """Hand over what has passed."""
        with self._changed:
            if self._is_dead or self._is_ending:
                return
            if self._lost and self._waiting:
                # One gap, and not many: nothing is taken until all that waits is written.
                self._lost += len(piece)
            elif self._waiting and self._bytes + len(piece) > MAX_BYTES:
                self._lose(len(piece))
            else:
                self._put(self._loss() + head(kind, _now(), len(piece)), piece)

    def give_up(self) -> None:
        """Nobody will read the pipe, and that was said."""
        with self._changed:
            self._is_dead = True
            self._waiting.clear()

    def end(self, code: int) -> None:
        """The agent has ended with this exit code; nothing more comes."""
        with self._changed:
            if not self._is_ending:
                data = b"%d" % code
                if not self._is_dead:
                    self._put(self._loss() + head(ENDED, _now(), len(data)), data)
                self._is_ending = True
                self._changed.notify()

    def untaken(self, seconds: float) -> int:
        """Wait so long at most until the recorder has taken everything; gives how many bytes it has not."""
        self.thread.join(seconds)
        with self._changed:
            return sum(map(len, self._waiting))

    def _lose(self, count: int) -> None:
        self._lost += count
        if not self._has_told_loss:
            self._has_told_loss = True
            self._say(
                "the recorder does not keep up, so a part of what passes now is not stored; the conversation itself "
                "goes on"
            )

    def _loss(self) -> bytes:
        """The frame that says what was lost until now, if anything was."""
        if not self._lost:
            return b""
        data = b"%d" % self._lost
        self._lost = 0
        return head(LOST, _now(), len(data)) + data

    def _put(self, before: bytes, piece: bytes) -> None:
        if self._waiting:
            self._wait_with(before + piece)
            return
        done = self._written(before, piece)
        if done < len(before) + len(piece) and not self._is_dead:
            self._wait_with((before + piece)[done:])
            self._changed.notify()

    def _wait_with(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes += len(data) + _OF_A_PIECE

    def _written(self, *data: bytes) -> int:
        """How much of it the pipe took."""
        try:
            return os.writev(self._pipe, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._is_dead = True
            self._waiting.clear()
            self._say(
                "the recorder has ended, so what passes from now on is not stored; the conversation itself goes on. "
                "Start the agent again to have it recorded"
            )
            return 0

    def _write_waiting(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_ending:
                    self._changed.wait()
                if not self._waiting:
                    os.close(self._pipe)
                    return
            select.select([], [self._pipe], [])
            with self._changed:
                self._write_first()

    def _write_first(self) -> None:
        done = self._written(*islice(self._waiting, _AT_ONCE))
        while done and not self._is_dead:
            first = self._waiting.popleft()
            self._bytes -= len(first) + _OF_A_PIECE
            if done < len(first):
                self._waiting.appendleft(first[done:])
                self._bytes += len(first) - done + _OF_A_PIECE
            done = max(0, done - len(first))


def _now() -> int:
    return time.time_ns() // 1_000_000

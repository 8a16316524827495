"""Bytes between a client and an agent, passed on unchanged and at once, in both directions.

Nothing here looks into them. The tap gets a copy of each piece first; then it is passed on.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import select
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen

from mandrake_sessions.acp.frames import AGENT, CLIENT
from mandrake_sessions.acp.pipes import widen
from mandrake_sessions.transport.descriptors import let_go, read_piece, write_whole

_PIECE_BYTES: Final = 128 * 1024
# What the agent may write while a piece of its output is passed on.
_PIPE_BYTES: Final = 256 * 1024
# After the agent has ended, other processes may still have its output open. What they write passes while no pause of
# theirs is longer than this. So the end of an agent is told soon, as without us.
_SECONDS_AFTER: Final = 0.2
# And no longer than this at all, beyond what the agent itself has left.
_MOST_SECONDS_AFTER: Final = 2.0
# Under a flood, each small piece would wake us and the reader. After so many from one side, each so soon after the one
# before, with nothing from the other side, pieces come together for a moment, until each is large.
_IN_A_ROW: Final = 8
_SECONDS_APART: Final = 0.001
_SECONDS_TOGETHER: Final = 0.0005
_LARGE_BYTES: Final = 64 * 1024
# Whoever read is gone; that is no fault.
_NOBODY_READS: Final = (errno.EPIPE, errno.EIO, errno.ECONNRESET)
_GONE: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL if hasattr(select, "POLLERR") else 0


@frozen
class Streams:
    """Descriptors. ``client_in``, ``client_out``: our own stdin and stdout. ``agent_in``, ``agent_out``: our ends of
    the pipes that the agent reads and writes; they are closed here."""

    client_in: int
    client_out: int
    agent_in: int
    agent_out: int


class Passing:
    """``copy`` is given each piece before it is passed on, with ``CLIENT`` or ``AGENT``: whose it is. So no answer is
    there before its question. It must not wait. ``failed``: the error of our stdout, where it was another than that
    nobody reads it.

    Start ``threads``. Each waits for the one whom it passes pieces to, so a slow client slows the agent down, and the
    other way round, as without us. Where one side closes its end, the other end is closed, too.
    """

    def __init__(self, streams: Streams, copy: Callable[[bytes, bytes], None]) -> None:
        widen(streams.agent_out, _PIPE_BYTES)
        self._streams = streams
        self._copy = copy
        self.failed: OSError | None = None
        self._ended, self._end = os.pipe()
        # Whose piece was the last, when it had passed, and how many of these came before the other side said anything.
        self._last, self._at, self._row = -1, 0.0, 0
        self._output = threading.Thread(target=self._pass_output, daemon=True)
        # They end with us, whatever they wait for.
        self.threads = (threading.Thread(target=self._pass_input, daemon=True), self._output)

    def finish(self) -> None:
        """The agent has ended: pass on what it has left."""
        os.close(self._end)
        self._output.join()

    def _pass_input(self) -> None:
        streams = self._streams
        try:
            for piece in self._arriving(streams.client_in, streams.agent_in, 0):
                self._copy(CLIENT, piece)
                if not self._is_written(streams.agent_in, piece):
                    break
        finally:
            os.close(streams.agent_in)
            # A client that goes on writing learns that nobody reads.
            let_go(streams.client_in)

    def _pass_output(self) -> None:
        streams = self._streams
        try:
            for piece in self._arriving(streams.agent_out, streams.client_out, _SECONDS_AFTER):
                self._copy(AGENT, piece)
                if not self._is_written(streams.client_out, piece):
                    break
            self._copy_rest()
        finally:
            os.close(streams.agent_out)
            let_go(streams.client_out)

    def _arriving(self, source: int, sink: int, seconds_after: float) -> Iterator[bytes]:
        """Until the source ends, the sink's reader is gone, or the agent has ended and so many seconds pass without
        anything."""
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        # Only to learn that its reader is gone, before a piece is read in vain.
        poll.register(sink, 0)
        # ``own``: what the agent itself had left in the pipe.
        timeout, deadline, own = None, math.inf, 0
        while True:
            found = dict(poll.poll(timeout))
            if found.get(sink, 0) & _GONE:
                return
            if self._ended in found:
                poll.unregister(self._ended)
                timeout = seconds_after * 1000
                deadline, own = time.monotonic() + _MOST_SECONDS_AFTER, _held(source)
            if own <= 0 and time.monotonic() > deadline:
                return
            if source in found:
                piece = read_piece(source, _PIECE_BYTES)
                if not piece:
                    return
                yield piece
                own -= len(piece)
                self._gather(source, len(piece))
            elif not found:
                return

    def _gather(self, source: int, size: int) -> None:
        """Under a flood of small pieces, let some come together."""
        now = time.monotonic()
        if self._last != source or now - self._at > _SECONDS_APART or size >= _LARGE_BYTES:
            self._row = 0
        self._last = source
        self._row += 1
        if self._row >= _IN_A_ROW:
            time.sleep(_SECONDS_TOGETHER)
            now = time.monotonic()
        self._at = now

    def _copy_rest(self) -> None:
        """What the agent has said to a client that is gone, as far as a pipe holds it; it may never stop to write."""
        left = _PIECE_BYTES
        while left > 0 and select.select([self._streams.agent_out], [], [], 0)[0]:
            piece = read_piece(self._streams.agent_out, left)
            if not piece:
                return
            left -= len(piece)
            self._copy(AGENT, piece)

    def _is_written(self, sink: int, piece: bytes) -> bool:
        """Whether the sink took all of it."""
        error = write_whole(sink, piece)
        if error is not None and sink == self._streams.client_out and error.errno not in _NOBODY_READS:
            self.failed = error
        return error is None


def _held(source: int) -> int:
    """How many bytes a pipe holds."""
    return int(struct.unpack("i", fcntl.ioctl(source, termios.FIONREAD, bytes(4)))[0])

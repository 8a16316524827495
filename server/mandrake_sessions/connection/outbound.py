"""The one door out: every message to the client leaves here, in order, and nobody waits for the client to read.

What can be written at once without blocking is; the rest waits for a thread that may block. Nothing sets O_NONBLOCK:
stdout may be shared with other processes, and theirs would change too. Where another has set it, a full pipe is a slow
reader like any other.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mandrake_sessions.connection.framing import Framer
from mandrake_sessions.connection.jsonrpc import encode
from mandrake_sessions.connection.spool import Encoded, Spooled

logger = logging.getLogger(__name__)

# More than this waiting to be read, and no further requests are read and no further changes are sent.
HIGH_WATER = 1024 * 1024
# So much is never held back to leave together with more; a message of more is not copied to join others.
FLUSH_BYTES = 256 * 1024
# Nor is a part of so much, of a message in parts.
PART_BYTES = 64 * 1024
# So much is taken from a file, or handed to the system, at once.
WRITE_BYTES = 256 * 1024

# What a pipe that polls as writable takes without blocking (POSIX).
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
# What tells that the other end was closed, and not that writing has failed.
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})
# Where there is no poll(): how often a descriptor that does not block is tried, in seconds.
_TRY_SECONDS = 0.01


class Outbound:
    """Messages on their way to one file descriptor. ``on_drained`` is called, from any thread, when what waited has
    fallen below the high-water mark; ``on_closed`` when the client has closed its end, or nothing can be written."""

    def __init__(self, fd: int, on_drained: Callable[[], None], on_closed: Callable[[], None]) -> None:
        self.framer: Framer | None = None
        # Why nothing can be written any more, where that is not that the client has closed its end.
        self.failure: OSError | None = None
        self._fd = fd
        self._on_drained = on_drained
        self._on_closed = on_closed
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._queue: deque[Encoded | memoryview] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._write_at_once = _immediate_writer(fd)

    def send(self, message: dict[str, Any] | list[Any]) -> None:
        """Take a message; it leaves with the next ``flush`` at the latest, after all that were taken before."""
        self.send_encoded(encode(message))

    def send_encoded(self, message: Encoded) -> None:
        """The same for one that is JSON already."""
        assert self.framer is not None
        if isinstance(message, Spooled) or len(message) > FLUSH_BYTES:
            self.send_parts((message,))
            return
        framed = self.framer.wrap(message)
        self._batch.append(framed)
        self._batch_bytes += len(framed)
        if self._batch_bytes > FLUSH_BYTES:
            self.flush()

    def send_parts(self, parts: Sequence[Encoded]) -> None:
        """The same for one in parts. Long ones are not copied: messages that share one take the memory of one."""
        assert self.framer is not None
        before, after = self.framer.around(sum(map(len, parts)))
        for part in (before, *parts, after):
            if isinstance(part, Spooled) or len(part) > PART_BYTES:
                self.flush()
                self._enqueue(part)
            else:
                self._batch.append(part)
                self._batch_bytes += len(part)
        if self._batch_bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Let go what was taken, in one write where that does not block."""
        if not self._batch:
            return
        data = b"".join(self._batch)
        self._batch.clear()
        self._batch_bytes = 0
        self._enqueue(data)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more should be made for this client."""
        return self._waiting > HIGH_WATER

    @property
    def is_empty(self) -> bool:
        """Whether all is written, or the client is gone."""
        return not self._waiting

    def _enqueue(self, data: Encoded) -> None:
        with self._changed:
            left: Encoded | memoryview = data
            if not self._closed and not self._waiting and isinstance(data, bytes):
                left = memoryview(data)[self._try_now(data) :]
            if self._closed:
                _let_go(data)
            elif len(left):
                self._queue.append(left)
                self._waiting += len(left)
                self._start_thread()
                self._changed.notify_all()

    def _try_now(self, data: bytes) -> int:
        try:
            return self._write_at_once(data)
        except OSError as error:
            self._close(error)
            return len(data)

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mandrake-sessions-out", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                data = self._queue[0]
            try:
                self._write_out(data)
            except OSError as error:
                with self._changed:
                    self._close(error)
                return
            with self._changed:
                if self._closed:
                    return
                self._queue.popleft()
            _let_go(data)

    def _write_out(self, data: Encoded | memoryview) -> None:
        """One after the other in steps, however long the client takes for each. Raises OSError."""
        left = len(data)
        view = memoryview(b"" if isinstance(data, Spooled) else data)
        while left:
            if not view and isinstance(data, Spooled):
                view = memoryview(data.read(min(left, WRITE_BYTES)))
            written = self._write_patiently(view[:WRITE_BYTES])
            view = view[written:]
            left -= written
            with self._changed:
                was_full = self.is_full
                self._waiting -= written
                drained = was_full and not self.is_full
            if drained:
                self._on_drained()

    def _write_patiently(self, data: memoryview) -> int:
        """What a descriptor takes that may block, or that somebody made not to."""
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                _wait_until_writable(self._fd)

    def _close(self, error: OSError) -> None:
        """The client has closed its end, or the file is full: whatever is left has no reader."""
        if self._closed:
            return
        if error.errno not in _GONE:
            self.failure = error
            logger.error("output ended, answers are lost from here on: %s", error)
        self._closed = True
        self._waiting = 0
        for data in self._queue:
            _let_go(data)
        self._queue.clear()
        self._changed.notify_all()
        self._on_closed()


def _let_go(data: Encoded | memoryview) -> None:
    if isinstance(data, Spooled):
        data.close()


def _wait_until_writable(fd: int) -> None:
    if not hasattr(select, "poll"):
        time.sleep(_TRY_SECONDS)
        return
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def _immediate_writer(fd: int) -> Callable[[bytes], int]:
    """A function that writes as much as can be written without blocking, and says how much that was."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return lambda data: _write_file(fd, data)
    if stat.S_ISFIFO(mode) and hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return lambda data: _write_pipe(fd, poll, data)
    if stat.S_ISSOCK(mode) and hasattr(socket, "MSG_DONTWAIT"):
        peer = socket.socket(fileno=os.dup(fd))
        return lambda data: _write_socket(peer, data)
    return lambda _: 0


def _write_file(fd: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)


def _write_pipe(fd: int, poll: select.poll, data: bytes) -> int:
    """Another process that writes to the pipe may take the room between the poll and the write; only where the pipe
    does not block is that an error."""
    written = 0
    try:
        while written < len(data) and poll.poll(0):
            written += os.write(fd, data[written : written + _PIPE_BUF])
    except BlockingIOError:
        pass
    return written


def _write_socket(peer: socket.socket, data: bytes) -> int:
    try:
        return peer.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0

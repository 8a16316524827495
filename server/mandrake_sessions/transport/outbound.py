"""The outbound queue: every message to the peer leaves here, in order, and no caller waits for the peer to read.

The caller's thread writes what it can without blocking; a thread that may block writes the rest. Nothing here sets
O_NONBLOCK: stdout may be shared with other processes, whose stream would change too. Where another process has set it,
a full pipe means a slow reader, as elsewhere.
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
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from mandrake_sessions.transport.framing import Framer
from mandrake_sessions.transport.jsonrpc import encode
from mandrake_sessions.transport.spool import Encoded, Spooled, discard

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Bytes. A queue that holds more is full: its user makes no further messages for this peer.
HIGH_WATER = 1024 * 1024
# Bytes. A batch of more is flushed; a message of more is not copied into one.
FLUSH_BYTES = 256 * 1024
# The same for a part of a message in parts.
PART_BYTES = 64 * 1024
# Bytes that are read from a file, or written, at once.
WRITE_BYTES = 256 * 1024

# What a pipe that polls as writable takes without blocking (POSIX).
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
# The errors by which the peer has closed its end; any other means that writing failed.
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})
# Where there is no poll(): how often a descriptor that does not block is tried, in seconds.
_TRY_SECONDS = 0.01


class Outbound:
    """Messages to one file descriptor. Any thread may call ``on_drained``, when a full queue has fallen below the
    high-water mark, and ``on_closed``, when the peer has closed its end or nothing can be written."""

    def __init__(self, fd: int, on_drained: Callable[[], None], on_closed: Callable[[], None]) -> None:
        self.framer: Framer | None = None
        # Why nothing can be written any more; None while it can, and where the peer has closed its end.
        self.failure: OSError | None = None
        self._fd = fd
        self._on_drained = on_drained
        self._on_closed = on_closed
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._queue: deque[Encoded | memoryview] = deque()
        self._waiting = 0
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False
        self._write_at_once = _immediate_writer(fd)

    def send(self, message: dict[str, Any] | list[Any]) -> None:
        """Queue a message. It leaves with the next ``flush`` at the latest, after all earlier ones."""
        self.send_encoded(encode(message))

    def send_encoded(self, message: Encoded) -> None:
        """Queue a message that is JSON already."""
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
        """Queue a message in parts. Long parts are not copied, so messages that share one take its memory once."""
        assert self.framer is not None
        size = sum(map(len, parts))
        in_memory = [part for part in parts if isinstance(part, bytes)]
        if size <= min(PART_BYTES, FLUSH_BYTES) and len(in_memory) == len(parts):
            self.send_encoded(b"".join(in_memory))
            return
        before, after = self.framer.around(size)
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
        """Write what was queued since the last flush, in one write where that does not block."""
        if not self._batch:
            if self._waiting and self._thread is None:
                with self._lock:
                    self._start_thread()
            return
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        try:
            batch = [b"".join(batch)]
        except MemoryError:
            # Then each in a write of its own.
            logger.debug("there is no memory to send a burst at once")
        for data in batch:
            self._enqueue(data)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more should be made for this peer."""
        return self._waiting > HIGH_WATER

    @property
    def is_empty(self) -> bool:
        """Whether all is written, or the peer is gone."""
        return not self._waiting

    def _enqueue(self, data: Encoded) -> None:
        # The lock itself: entering the condition takes twice as long, and this is done for each burst.
        with self._lock:
            left: Encoded | memoryview = data
            if not self._closed and not self._waiting and isinstance(data, bytes):
                left = memoryview(data)[self._try_now(data) :]
            if self._closed:
                discard(data)
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
        """Where no thread can be started now, the next message or ``flush`` tries again."""
        if self._thread is not None:
            return
        with suppress(RuntimeError, MemoryError):
            thread = threading.Thread(target=self._run, name="mandrake-sessions-out", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while True:
            data = _patiently(self._first)
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
            discard(data)

    def _first(self) -> Encoded | memoryview:
        """What is to be written next, once there is something."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue)
            return self._queue[0]

    def _write_out(self, data: Encoded | memoryview) -> None:
        """Write it in steps, however long the peer takes for each. Raises OSError."""
        left = len(data)
        view = memoryview(b"" if isinstance(data, Spooled) else data)
        while left:
            if not view and isinstance(data, Spooled):
                view = memoryview(_patiently(partial(data.read, min(left, WRITE_BYTES))))
            written = self._write_blocking(view[:WRITE_BYTES])
            view = view[written:]
            left -= written
            with self._changed:
                was_full = self.is_full
                self._waiting -= written
                drained = was_full and not self.is_full
            if drained:
                _patiently(self._on_drained)

    def _write_blocking(self, data: memoryview) -> int:
        """Write at least one byte, and say how many; wait where another process has set O_NONBLOCK."""
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                _wait_until_writable(self._fd)

    def _close(self, error: OSError) -> None:
        """The peer has closed its end, or the disk is full: nobody reads what is left."""
        if self._closed:
            return
        if error.errno not in _GONE:
            self.failure = error
            logger.error("output ended, answers are lost from here on: %s", error)
        self._closed = True
        self._waiting = 0
        for data in self._queue:
            discard(data)
        self._queue.clear()
        self._changed.notify_all()
        self._on_closed()


def _patiently(work: Callable[[], T]) -> T:
    """Retry until memory is free; this thread does all sending."""
    while True:
        try:
            return work()
        except MemoryError:
            time.sleep(_TRY_SECONDS)


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
        return partial(_write_file, fd)
    if stat.S_ISFIFO(mode) and hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return partial(_write_pipe, fd, poll)
    if stat.S_ISSOCK(mode) and hasattr(socket, "MSG_DONTWAIT"):
        peer = socket.socket(fileno=os.dup(fd))
        return partial(_write_socket, peer)
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

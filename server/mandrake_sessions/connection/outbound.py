"""The one door out: every message to the client leaves here, in order, and nobody waits for the client to read.

What can be written at once without blocking is; the rest waits for a thread that may block. Nothing sets O_NONBLOCK:
stdout may be shared with other processes, and theirs would change too.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from mandrake_sessions.connection.framing import Framer
from mandrake_sessions.connection.jsonrpc import encode

logger = logging.getLogger(__name__)

# More than this waiting to be read, and no further requests are read and no further changes are sent.
HIGH_WATER = 1024 * 1024
# So much is never held back to leave together with more.
FLUSH_BYTES = 256 * 1024

# What a pipe that polls as writable takes without blocking (POSIX).
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)


class Outbound:
    """Messages on their way to one file descriptor. ``on_drained`` is called, from any thread, when what waited has
    fallen below the high-water mark; ``on_closed`` when the client has closed its end."""

    def __init__(self, fd: int, on_drained: Callable[[], None], on_closed: Callable[[], None]) -> None:
        self.framer: Framer | None = None
        self._fd = fd
        self._on_drained = on_drained
        self._on_closed = on_closed
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._write_at_once = _immediate_writer(fd)

    def send(self, message: dict[str, Any] | list[Any]) -> None:
        """Take a message; it leaves with the next ``flush`` at the latest, after all that were taken before."""
        self.send_encoded(encode(message))

    def send_encoded(self, message: bytes) -> None:
        """The same for one that ``encode`` has made already."""
        assert self.framer is not None
        framed = self.framer.wrap(message)
        self._batch.append(framed)
        self._batch_bytes += len(framed)
        if self._batch_bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Let go what was taken, in one write where that does not block."""
        if not self._batch:
            return
        data = b"".join(self._batch)
        self._batch.clear()
        self._batch_bytes = 0
        with self._changed:
            if self._closed:
                return
            if not self._waiting:
                data = data[self._try_now(data) :]
            if data:
                self._queue.append(data)
                self._waiting += len(data)
                self._start_thread()
                self._changed.notify_all()

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more should be made for this client."""
        return self._waiting > HIGH_WATER

    @property
    def is_empty(self) -> bool:
        """Whether all is written, or the client is gone."""
        return not self._waiting

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
                written = os.write(self._fd, data)
            except OSError as error:
                with self._changed:
                    self._close(error)
                return
            with self._changed:
                was_full = self.is_full
                self._waiting -= written
                if written < len(data):
                    self._queue[0] = data[written:]
                else:
                    self._queue.popleft()
                self._changed.notify_all()
                drained = was_full and not self.is_full
            if drained:
                self._on_drained()

    def _close(self, error: OSError) -> None:
        """The client has closed its end, or the file is full: whatever is left has no reader."""
        if error.errno != errno.EPIPE:
            logger.warning("output ended: %s", error)
        self._closed = True
        self._waiting = 0
        self._queue.clear()
        self._changed.notify_all()
        self._on_closed()


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
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])
    return written


def _write_pipe(fd: int, poll: select.poll, data: bytes) -> int:
    written = 0
    while written < len(data) and poll.poll(0):
        written += os.write(fd, data[written : written + _PIPE_BUF])
    return written


def _write_socket(peer: socket.socket, data: bytes) -> int:
    try:
        return peer.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0

"""Reading. The event loop waits for the input where it can; else a thread does."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress

from mandrake_sessions.limits import MAX_PENDING, MAX_PENDING_BYTES
from mandrake_sessions.transport.framing import Frame, Framer, FramingDetector

logger = logging.getLogger(__name__)

# More than the C library keeps on its heap would be mapped and unmapped for every read.
READ_BYTES = 64 * 1024


class Reader:
    """Reads a file descriptor to its end, and gives each burst to ``on_frames`` at once. It reads nothing while it is
    paused, and while ``MAX_PENDING`` messages that it gave, or more than ``MAX_PENDING_BYTES``, are not ``done``.

    All of it happens on the loop's thread, except reading where the loop cannot wait: a regular file, a terminal, and
    everything on Windows. ``framer``: the framing, where it need not be detected.
    """

    def __init__(
        self,
        fd: int,
        max_message_bytes: int,
        on_framing: Callable[[Framer], None],
        on_frames: Callable[[list[Frame]], None],
        on_end: Callable[[], None],
        framer: Framer | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._detector = FramingDetector(max_message_bytes)
        self._framer = framer
        self._on_framing = on_framing
        self._on_frames = on_frames
        self._on_end = on_end
        self._pending = 0
        self._pending_bytes = 0
        self._paused = False
        self._ended = False
        self._waiting = False
        self._was_full = False
        self._thread: threading.Thread | None = None
        self._go_on = threading.Event()

    def start(self) -> None:
        if not _loop_can_wait(self._fd):
            self._thread = threading.Thread(target=self._run, name="mandrake-sessions-in", daemon=True)
            self._thread.start()
        self._adjust()

    def set_max_message_bytes(self, max_bytes: int) -> None:
        """For the messages that are read from now on."""
        self._detector.max_bytes = max_bytes
        if self._framer is not None:
            self._framer.max_bytes = max_bytes

    def found(self, messages: int) -> None:
        """A frame was a batch of so many messages."""
        self._pending += messages - 1

    def done(self, size: int, messages: int = 1) -> None:
        """A frame of so many bytes is done with, and so are all messages in it."""
        self._pending -= messages
        self._pending_bytes -= size
        self._adjust()

    @property
    def has_more(self) -> bool:
        """Whether this is the middle of a long burst, of which the rest comes with the next turn of the loop."""
        return self._was_full and self._waiting and bool(select.select((self._fd,), (), (), 0)[0])

    def pause(self, paused: bool) -> None:
        """Read nothing more for now, or go on."""
        self._paused = paused
        self._adjust()

    def _adjust(self) -> None:
        """Wait for input, or stop waiting for it."""
        full = self._pending >= MAX_PENDING or self._pending_bytes > MAX_PENDING_BYTES
        wanted = not (self._paused or self._ended or full)
        if self._thread is not None:
            (self._go_on.set if wanted else self._go_on.clear)()
        elif wanted is not self._waiting:
            self._waiting = wanted
            if wanted:
                self._loop.add_reader(self._fd, self._readable)
            else:
                self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        self._received(self._read())

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, READ_BYTES)
        except OSError as error:
            logger.warning("input ended: %s", error)
            return b""

    def _run(self) -> None:
        """The thread: one burst at a time, the next when the loop has taken it."""
        data = b"more"
        # The loop may have ended while this thread waited for a terminal.
        with suppress(RuntimeError):
            while data:
                self._go_on.wait()
                data = self._read()
                taken = threading.Event()
                self._loop.call_soon_threadsafe(self._take, data, taken)
                taken.wait()

    def _take(self, data: bytes, taken: threading.Event) -> None:
        try:
            self._received(data)
        finally:
            taken.set()

    def _received(self, data: bytes) -> None:
        self._was_full = len(data) == READ_BYTES
        if data:
            self._feed(data)
            return
        self._ended = True
        self._adjust()
        if self._framer is None:
            self._detected(self._detector.finish())
        if self._framer is not None:
            self._hand_over(list(self._framer.finish()))
        self._on_end()

    def _feed(self, data: bytes) -> None:
        if self._framer is None:
            self._detected(self._detector.feed(data))
        else:
            self._hand_over(list(self._framer.feed(data)))

    def _detected(self, found: tuple[Framer, bytes] | None) -> None:
        """Begin with a framing and the bytes that told it, once it is told."""
        if found is not None:
            self._framer, data = found
            self._on_framing(self._framer)
            self._hand_over(list(self._framer.feed(data)))

    def _hand_over(self, frames: list[Frame]) -> None:
        if frames:
            self._pending += len(frames)
            self._pending_bytes += sum(map(frame_size, frames))
            # Stop waiting for input if this was enough, so that `has_more` says no.
            self._adjust()
            self._on_frames(frames)
            self._adjust()


def frame_size(frame: Frame) -> int:
    """How many bytes a frame holds while it waits."""
    return len(frame) if isinstance(frame, bytes) else 0


def _loop_can_wait(fd: int) -> bool:
    """A terminal is left to a thread as well: waiting for it while in the background would stop the process."""
    mode = os.fstat(fd).st_mode
    return os.name != "nt" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))

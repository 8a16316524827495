"""Reading. The event loop waits for the input where it can; else a thread does."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mandrake_sessions.limits import MAX_PENDING, MAX_PENDING_BYTES
from mandrake_sessions.transport.framing import Frame, Framer, FramingDetector
from mandrake_sessions.transport.memory import reserve

logger = logging.getLogger(__name__)

# More than the C library keeps on its heap would be mapped and unmapped for every read.
READ_BYTES = 64 * 1024
# Where there is no memory to read, and none that this reader could free: seconds to the next try, and how many tries it
# takes until the input counts as ended.
MEMORY_SECONDS = 0.1
MEMORY_TRIES = 50
# The thread waits no longer for an event at a time: where there is no memory, setting one may wake nobody.
WAIT_SECONDS = 1.0
_NOTHING = b"nothing was read"


class Reader:
    """Reads a file descriptor to its end, and gives each burst to ``on_frames`` at once. It reads nothing while it is
    paused, and while ``MAX_PENDING`` messages that it gave, or more than ``MAX_PENDING_BYTES``, are not ``done``.

    Where there is no memory, it drops the message that it is reading, which becomes a ``NoMemory``, and goes on.

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
        # Bytes that there was no memory to take apart, and how often in a row nothing could be freed for that.
        self._unfed = b""
        self._lacks_memory = False
        self._tries = 0
        self._thread: threading.Thread | None = None
        self._go_on = threading.Event()
        # What the thread has read, whether the loop was asked to take it, and whether it has.
        self._burst: bytes | None = _NOTHING
        self._is_given = False
        self._taken = threading.Event()

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
        wanted = not (self._paused or self._ended or self._lacks_memory or full)
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

    def _read(self) -> bytes | None:
        """What there is, no bytes at the end; None where there is no memory for it."""
        try:
            return os.read(self._fd, READ_BYTES)
        except MemoryError:
            return None
        except OSError as error:
            logger.warning("input ended: %s", error)
            return b""

    def _run(self) -> None:
        """The thread: one burst at a time, the next when the loop has taken it. A step without memory is repeated."""
        # The loop may have ended while this thread waited for a terminal.
        with suppress(RuntimeError):
            while not self._ended:
                try:
                    self._read_burst()
                except MemoryError:
                    time.sleep(MEMORY_SECONDS)

    def _read_burst(self) -> None:
        if not self._go_on.wait(WAIT_SECONDS):
            return
        if self._burst is _NOTHING:
            self._burst = self._read()
            self._taken.clear()
        if not self._is_given:
            self._loop.call_soon_threadsafe(self._take)
            self._is_given = True
        if self._taken.wait(WAIT_SECONDS):
            self._burst, self._is_given = _NOTHING, False

    def _take(self) -> None:
        if self._taken.is_set():
            # It was given twice, since the first time seemed to fail.
            return
        try:
            self._received(self._burst)
        finally:
            self._taken.set()

    def _received(self, data: bytes | None) -> None:
        if data is None:
            self._free_memory()
        elif data:
            self._was_full = len(data) == READ_BYTES
            self._tries = 0
            reserve.keep()
            self._feed(data)
        else:
            self._end()

    def _free_memory(self) -> None:
        """Drop what is held of a message, and go on. Where that is nothing, wait until others free some."""
        reserve.spend()
        if self._ended:
            return
        freed = self._framer is not None and self._framer.drop()
        self._tries = 0 if freed else self._tries + 1
        if self._tries > MEMORY_TRIES:
            logger.error("input ended: there is no memory to read it")
            self._end()
            return
        self._lacks_memory = True
        self._adjust()
        self._loop.call_later(0 if freed else MEMORY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._lacks_memory = False
        unfed, self._unfed = self._unfed, b""
        if unfed:
            self._feed(unfed)
        self._adjust()

    def _end(self) -> None:
        self._was_full = False
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
            return
        try:
            frames = list(self._framer.feed(data))
        except MemoryError:
            # A framer takes in all of it or nothing.
            self._unfed = data
            self._free_memory()
        else:
            self._hand_over(frames)

    def _detected(self, found: tuple[Framer, bytes] | None) -> None:
        """Start with the detected framing and the bytes already read."""
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

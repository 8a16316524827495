"""The thread that reads: stdin may be a pipe, a file, a socket or a terminal, and only a thread can wait for all."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from mandrake_sessions.connection.framing import Frame, Framer, FramingDetector

logger = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
# Frames that are read but not yet carried out may hold so much, or one message if that is more.
MAX_PENDING_BYTES = 8 * 1024 * 1024


class Reader:
    """Reads a file descriptor to its end. Each burst goes to ``on_frames`` at once, on the reader's thread; when
    more than ``MAX_PENDING_BYTES`` of it are not ``done`` yet, or the door out is full, reading pauses.
    """

    def __init__(
        self,
        fd: int,
        max_message_bytes: int,
        on_framing: Callable[[Framer], None],
        on_frames: Callable[[list[Frame]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._fd = fd
        self._detector = FramingDetector(max_message_bytes)
        self._framer: Framer | None = None
        self._on_framing = on_framing
        self._on_frames = on_frames
        self._on_end = on_end
        self._changed = threading.Condition()
        self._pending = 0
        self._paused = False
        self._thread = threading.Thread(target=self._run, name="mandrake-sessions-in", daemon=True)

    def set_max_message_bytes(self, max_bytes: int) -> None:
        """For the messages that are read from now on."""
        self._detector.max_bytes = max_bytes
        if self._framer is not None:
            self._framer.max_bytes = max_bytes

    def start(self) -> None:
        self._thread.start()

    def done(self, size: int) -> None:
        """So many bytes of frames have been carried out."""
        with self._changed:
            self._pending -= size
            self._changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Read nothing more for now, or go on."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while data := self._read():
                self._feed(data)
            if self._framer is not None:
                self._hand_over(list(self._framer.finish()))
        finally:
            self._on_end()

    def _read(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: not self._paused and self._pending <= MAX_PENDING_BYTES)
        try:
            return os.read(self._fd, READ_BYTES)
        except OSError as error:
            logger.warning("input ended: %s", error)
            return b""

    def _feed(self, data: bytes) -> None:
        if self._framer is None:
            found = self._detector.feed(data)
            if found is None:
                return
            self._framer, data = found
            self._on_framing(self._framer)
        self._hand_over(list(self._framer.feed(data)))

    def _hand_over(self, frames: list[Frame]) -> None:
        if frames:
            with self._changed:
                self._pending += sum(map(frame_size, frames))
            self._on_frames(frames)


def frame_size(frame: Frame) -> int:
    """How many bytes a frame holds while it waits."""
    return len(frame) if isinstance(frame, bytes) else 0

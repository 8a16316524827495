"""A connection with one peer: frames from one file descriptor, messages to another.

A proxy has two of them and sends on what one receives with the other; see ``tests/transport/proxy.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from mandrake_sessions.transport.framing import Frame, Framer
from mandrake_sessions.transport.outbound import Outbound
from mandrake_sessions.transport.reader import Reader


class ChannelListener(Protocol):
    """Who uses a channel. All of it is called on the loop's thread."""

    def on_framing(self, framer: Framer) -> None:
        """The peer has sent its first bytes, which tell its framing. Nothing can be sent before."""

    def on_frames(self, frames: list[Frame]) -> None:
        """Frames, in order. Each counts as pending until ``reader.done``."""

    def on_input_end(self) -> None:
        """The peer sends nothing more."""

    def on_drained(self) -> None:
        """The outbound queue was full, and is so no longer."""

    def on_output_end(self) -> None:
        """The peer has closed its end, or nothing can be written: see ``outbound.failure``."""


class Channel:
    """``reader`` and ``outbound`` of one peer, in the framing that the peer uses.

    ``framer``: the framing, where it is agreed beforehand; then messages can be sent before the first one arrives.
    """

    def __init__(
        self, fd_in: int, fd_out: int, max_message_bytes: int, listener: ChannelListener, framer: Framer | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self.outbound = Outbound(
            fd_out, on_loop(self._loop, listener.on_drained), on_loop(self._loop, listener.on_output_end)
        )
        self.outbound.framer = framer
        self.reader = Reader(
            fd_in, max_message_bytes, self._set_framer, listener.on_frames, listener.on_input_end, framer
        )

    def _set_framer(self, framer: Framer) -> None:
        self.outbound.framer = framer
        self._listener.on_framing(framer)


def on_loop(loop: asyncio.AbstractEventLoop, work: Callable[..., None]) -> Callable[..., None]:
    """The same work, on the loop's thread; nothing once the loop has ended."""

    def call(*arguments: Any) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(partial(work, *arguments))

    return call

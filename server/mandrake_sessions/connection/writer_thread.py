"""A thread for writes that may take long, so that the event loop goes on meanwhile: one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class WriterThread:
    """Runs work in the order in which it was given. What is called afterwards is called on the loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="mandrake-sessions-write")
        self._running = 0
        self._closed = False

    @property
    def is_busy(self) -> bool:
        return self._running > 0

    def run(self, work: Callable[[], T], then: Callable[[Future[T]], None]) -> None:
        """Call ``work`` on the thread, then ``then`` with its future on the loop; neither once it is closed."""
        if self._closed:
            return
        self._running += 1

        def done(finished: Future[T]) -> None:
            # The loop may have ended.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._done, finished, then)

        self._executor.submit(work).add_done_callback(done)

    def close(self) -> None:
        """Wait until all of it is done."""
        self._closed = True
        self._executor.shutdown(wait=True)

    def _done(self, finished: Future[T], then: Callable[[Future[T]], None]) -> None:
        self._running -= 1
        then(finished)

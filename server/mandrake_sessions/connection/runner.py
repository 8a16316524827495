"""Where the work of a store is carried out: on the event loop, or on a thread of the store's own.

A store says which (``Store.runs_on``). One that answers at once, such as SQLite, runs on the loop: a change of threads
takes longer than its commit. One whose round trips are long runs on a thread, and what arrives meanwhile is its next
group of calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Runner(Protocol):
    """``group_seconds``: after so long a group of calls ends, which bounds how long it holds a lock of the store.
    ``max_reads``: so many short reads make a group."""

    group_seconds: float
    max_reads: int

    @property
    def is_busy(self) -> bool:
        """Whether it still has something to do."""

    def run(self, work: Callable[[], T], then: Callable[[T | Exception], object]) -> bool:
        """Call ``work``, then ``then`` on the loop's thread, with the result or with the exception. Gives whether both
        were called already."""

    def settle(self) -> None:
        """Wait until all that was given to it is done. For another thread than the loop's."""


class LoopRunner:
    """Carries work out at once, on the loop's thread, which called it. One read at a time, so that the loop has its
    turn in between."""

    group_seconds = 0.01
    max_reads = 1
    is_busy = False

    def run(self, work: Callable[[], T], then: Callable[[T | Exception], object]) -> bool:
        outcome: T | Exception
        try:
            outcome = work()
        except Exception as error:
            outcome = error
        then(outcome)
        return True

    def settle(self) -> None:
        """There is never anything left to do."""


class ThreadRunner:
    """Carries work out on one thread, in the order in which it was given. ``on_done`` is called after each ``then``.
    Once it is closed, it takes no more."""

    # Some round trips of a slow store.
    group_seconds = 0.1
    max_reads = 64

    def __init__(self, name: str, on_done: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._executor = self._new_executor()
        self._on_done = on_done
        self._waiting = 0
        self._closed = False

    @property
    def is_busy(self) -> bool:
        return self._waiting > 0

    def run(self, work: Callable[[], T], then: Callable[[T | Exception], object]) -> bool:
        if self._closed:
            return False
        self._waiting += 1
        try:
            self._executor.submit(self._work, work, then)
        except (RuntimeError, MemoryError) as error:
            # There is no thread yet, and none can be started now. What was submitted is forgotten with its executor.
            self._executor = self._new_executor()
            self._waiting -= 1
            then(no_thread(error))
            return True
        return False

    def settle(self) -> None:
        self._executor.submit(_nothing).result()

    def close(self) -> None:
        """Wait until all that was given to it is done."""
        self._closed = True
        self._executor.shutdown(wait=True)

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix=f"mandrake-sessions-{self._name}")

    def _work(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        try:
            outcome = work()
        except Exception as error:
            outcome = error
        except BaseException as error:
            outcome = RuntimeError(str(error))
        # The loop may have ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done, then, outcome)

    def _done(self, then: Callable[[Any], object], outcome: Any) -> None:
        self._waiting -= 1
        try:
            then(outcome)
        finally:
            self._on_done()


def no_thread(error: Exception) -> MemoryError:
    """The error for a call when no thread can start: a thread needs memory."""
    found = MemoryError("no thread could be started")
    found.__cause__ = error
    return found


def _nothing() -> None:
    """The last thing to wait for."""

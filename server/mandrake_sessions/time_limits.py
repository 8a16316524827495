"""Work that may never end, such as a look at a file of a file system that does not answer.

It is carried out on threads that nobody waits for beyond a limit, neither its caller nor the end of the process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from attrs import define, field, frozen

T = TypeVar("T")

# So many threads work for one caller.
THREADS = 3
# After its time is over, work has so long to end by itself once it was interrupted.
GRACE_SECONDS = 0.25
# So many threads of this process may be held up at once. Then no other is begun in the place of one.
MOST_HELD_UP = 16

_changed = threading.Condition()
# What threads of this process are held up by, until they come back.
_held_up: dict[str, threading.Thread] = {}


def _nothing() -> None:
    """Work that cannot be interrupted."""


@frozen(eq=False)
class Job:
    """``about``: what it works on, such as a path: while a thread is held up by that, no other tries it. ``work`` keeps
    its outcome itself, and raises nothing. ``interrupt`` makes it end soon, from another thread, where it can."""

    about: str
    work: Callable[[], object]
    interrupt: Callable[[], object] = _nothing


@define(eq=False)
class _Running:
    job: Job
    began: float = field(factory=time.monotonic)
    is_interrupted: bool = False


class LimitedWork:
    """Jobs, each of which may take ``seconds``, and all together ``total_seconds``."""

    def __init__(self, jobs: Iterable[Job], seconds: float, total_seconds: float) -> None:
        self._left = deque(jobs)
        self._seconds = seconds
        self._total_seconds = total_seconds
        self._running: dict[threading.Thread, _Running] = {}
        self._is_over = False
        self._undone: list[str] = []

    def run(self) -> list[str]:
        """Carry the jobs out; gives what those were about that were not done in time."""
        deadline = time.monotonic() + self._total_seconds
        with _changed:
            # What was interrupted just now ends soon.
            _changed.wait_for(lambda: not any(job.about in _held_up for job in self._left), GRACE_SECONDS)
            for job in [job for job in self._left if job.about in _held_up]:
                self._left.remove(job)
                self._undone.append(job.about)
            for _ in range(min(THREADS, len(self._left))):
                self._begin_thread()
            while self._running and not self._is_over and (now := time.monotonic()) < deadline:
                _changed.wait(max(0.0, min(deadline, self._next_limit()) - now))
                self._look()
            self._is_over = True
            for thread, running in self._running.items():
                running.job.interrupt()
                _held_up[running.job.about] = thread
            return [*self._undone, *(r.job.about for r in self._running.values()), *(job.about for job in self._left)]

    def stop(self) -> None:
        """End it, from any thread."""
        with _changed:
            self._is_over = True
            for running in self._running.values():
                running.job.interrupt()
            _changed.notify_all()

    def _next_limit(self) -> float:
        return min(
            running.began + self._seconds + (GRACE_SECONDS if running.is_interrupted else 0)
            for running in self._running.values()
        )

    def _look(self) -> None:
        """Interrupt what takes too long, and give up what does not end then."""
        now = time.monotonic()
        for thread, running in list(self._running.items()):
            if not running.is_interrupted and now >= running.began + self._seconds:
                running.is_interrupted = True
                running.job.interrupt()
            elif running.is_interrupted and now >= running.began + self._seconds + GRACE_SECONDS:
                del self._running[thread]
                self._undone.append(running.job.about)
                _held_up[running.job.about] = thread
                if len(_held_up) < MOST_HELD_UP:
                    self._begin_thread()

    def _begin_thread(self) -> None:
        if not self._left:
            return
        thread = threading.Thread(target=self._work, name="mandrake-sessions-limited", daemon=True)
        self._running[thread] = _Running(self._left.popleft())
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            # No thread can be started now.
            self._undone.append(self._running.pop(thread).job.about)

    def _work(self) -> None:
        me = threading.current_thread()
        with _changed:
            running = self._running.get(me)
        while running is not None:
            running.job.work()
            with _changed:
                running = self._next(me, running)

    def _next(self, me: threading.Thread, done: _Running) -> _Running | None:
        was_given_up = self._running.pop(me, None) is None
        if _held_up.get(done.job.about) is me:
            del _held_up[done.job.about]
        if not (was_given_up or self._is_over) and self._left:
            self._running[me] = _Running(self._left.popleft())
        _changed.notify_all()
        return self._running.get(me)


def in_time(about: str, work: Callable[[], T], seconds: float, interrupt: Callable[[], object] = _nothing) -> T:
    """The result of ``work``. Raises what it raises, and TimeoutError after so many seconds."""
    outcomes: list[T | Exception] = []

    def keep() -> None:
        try:
            outcomes.append(work())
        except Exception as error:
            outcomes.append(error)

    if LimitedWork([Job(about, keep, interrupt)], seconds, seconds + 2 * GRACE_SECONDS).run() or not outcomes:
        raise TimeoutError(f"{about} gave no answer within {seconds:g} s")
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    return outcomes[0]

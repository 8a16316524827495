"""When this process looks for cycles of objects that nothing else refers to.

Python does so by itself: it goes through all objects whenever there are a quarter more of them. So it goes through the
values of a large message again and again while they are decoded, stored and sent, though JSON has no cycles: 500,000
arrays took 220 ms of the event loop's time to decode instead of 50. A server looks through young objects as Python
does, and through all of them when it has nothing else to do.
"""

from __future__ import annotations

import gc
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable

# Looks through young objects that are followed by one through all of them: Python's own number.
_LOOKS = 10
_NEVER = 1_000_000_000
# So long at most a server that is never idle puts it off, in seconds.
_PATIENCE = 60.0
_LOOK_SECONDS = 1.0


class CycleCollector:
    """The collector of this process, for as long as it serves."""

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        self._is_idle = is_idle
        self._looked = time.monotonic()
        self._frozen = 0

    def begin(self, loop: AbstractEventLoop) -> None:
        """From now on; ``look`` is called as long as the loop runs. What is there by now, modules above all, stays as
        long as the process, so it is not looked through."""
        self.relieve()
        gc.freeze()
        self._frozen = gc.get_freeze_count()
        self._look_again(loop)

    def relieve(self) -> None:
        """Python itself looks through young objects alone."""
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)

    def look(self) -> None:
        """Look through all objects, if enough were made and the server is idle."""
        if gc.get_count()[2] <= _LOOKS:
            return
        if self._is_idle() or time.monotonic() - self._looked > _PATIENCE:
            if gc.get_freeze_count() > self._frozen:
                # A large message froze all that there was.
                gc.unfreeze()
                self._frozen = 0
            gc.collect()
            self._looked = time.monotonic()

    def _look_again(self, loop: AbstractEventLoop) -> None:
        loop.call_later(_LOOK_SECONDS, self._look_again, loop)
        self.look()

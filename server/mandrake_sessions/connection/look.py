"""When to look for other processes' commits: often while there is news, hardly ever while there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.store.interface import Watch

logger = logging.getLogger(__name__)

# Seconds between looks while there is news, and for how many looks without any that goes on.
AWAKE_SECONDS = 0.0015
AWAKE_LOOKS = 6
# Where the system wakes us (inotify), a look that nothing asked for is only a safety net; elsewhere it is the only way
# to hear, and grows slower in steps.
ASLEEP_SECONDS = 1.0
ROUSABLE_SECONDS = 0.02
DROWSY_LOOKS = 200


class Lookout:
    """Calls ``news`` when somebody has committed. Nothing else is done here, and nothing at all once it is closed."""

    def __init__(self, watch: Watch, news: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._watch = watch
        self._news = news
        self._quiet = 0
        self._own_commit_at = 0.0
        self._listening = False
        self._failing = False
        self._timer: asyncio.TimerHandle | None = None
        self._again()

    def close(self) -> None:
        self._listen(False)
        if self._timer is not None:
            self._timer.cancel()

    def own_commit(self) -> None:
        """This process has just committed, and so has seen what others had before: a look can wait."""
        self._own_commit_at = self._loop.time()

    def _look(self) -> None:
        try:
            if self._loop.time() - self._own_commit_at < AWAKE_SECONDS:
                self._quiet = 0
            elif self._watch.moved():
                self._quiet = 0
                self._news()
            else:
                self._quiet += 1
            self._failing = False
        except SessionsError as error:
            # Like a look without news, so that those that follow are seldom.
            self._quiet += 1
            if not self._failing:
                logger.warning("the store could not be looked at for news, it will be tried again: %s", error)
            self._failing = True
        finally:
            # Looking goes on whatever the news led to.
            self._again()

    def _again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._delay(), self._look)

    def _delay(self) -> float:
        if self._watch.fileno is None:
            return AWAKE_SECONDS if self._quiet < DROWSY_LOOKS else ROUSABLE_SECONDS
        if self._quiet < AWAKE_LOOKS:
            return AWAKE_SECONDS
        if not self._listening:
            # What was written until now has been looked for; the look after this line is for what comes meanwhile.
            self._watch.drain()
            self._listen(True)
            return AWAKE_SECONDS
        return ASLEEP_SECONDS

    def _listen(self, wanted: bool) -> None:
        """While awake the descriptor is not waited for: it would wake us for each write of our own as well."""
        if self._watch.fileno is not None and wanted is not self._listening:
            self._listening = wanted
            if wanted:
                self._loop.add_reader(self._watch.fileno, self._woken)
            else:
                self._loop.remove_reader(self._watch.fileno)

    def _woken(self) -> None:
        self._listen(False)
        self._quiet = 0
        self._look()

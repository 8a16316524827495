"""When to look for other processes' commits: often while there is news, hardly ever while there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mandrake_sessions.connection.runner import Runner
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


class CommitPoller:
    """Calls ``news`` when somebody has committed. ``runner`` carries out the looks. Nothing else is done here, and
    nothing at all once it is closed."""

    def __init__(self, watch: Watch, runner: Runner, news: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._watch = watch
        self._runner = runner
        self._news = news
        self._quiet = 0
        self._own_commit_at = 0.0
        self._listening = False
        self._looking = False
        self._failing = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._again()

    def close(self) -> None:
        """Look no more, and close the watch."""
        self._closed = True
        self._listen(False)
        if self._timer is not None:
            self._timer.cancel()
        self._runner.run(self._watch.close, lambda _: None)

    def own_commit(self) -> None:
        """This process has just committed, and so has seen what others had before: a look can wait."""
        self._own_commit_at = self._loop.time()

    def _look(self) -> None:
        if self._loop.time() - self._own_commit_at < AWAKE_SECONDS:
            self._quiet = 0
            self._again()
        elif not self._looking:
            self._looking = True
            self._runner.run(self._watch.moved, self._looked)

    def _looked(self, moved: bool | Exception) -> None:
        self._looking = False
        if self._closed:
            return
        try:
            self._hear(moved)
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

    def _hear(self, moved: bool | Exception) -> None:
        if isinstance(moved, Exception):
            raise moved
        self._quiet = 0 if moved else self._quiet + 1
        if moved:
            self._news()

    def _again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
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

"""The thread that stores what a program says, while the program goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from attrs import evolve

from mandrake_sessions.commands.filling_turns import at_last, what_is_kept
from mandrake_sessions.commands.recording.kept_round import Ending, KeptRound
from mandrake_sessions.commands.recording.output_queue import OutputQueue
from mandrake_sessions.commands.recording.passed_signals import start_without_signals
from mandrake_sessions.commands.recording.program import Output
from mandrake_sessions.errors import Busy, SessionsError
from mandrake_sessions.model import TurnStatus

# Before another try, where a lock is not waited for.
_PAUSE: Final = 0.05
_SECONDS_TO_MARK: Final = 1.0


class Recorder:
    """``failed``: why what comes is not kept any more; ``kept_bytes``: how much of the output was kept until then. An
    error of the store never gets any further: the program has to go on."""

    def __init__(self, kept: KeptRound, *, is_made: bool, failed: SessionsError | None = None) -> None:
        self._kept = kept
        self._is_made = is_made
        self.failed: SessionsError | None = None
        self.kept_bytes = 0
        self._ending: Ending | None = None
        self._queue = OutputQueue()
        if failed is not None:
            self._give_up(failed)
        self._thread = threading.Thread(target=self._run, daemon=True)
        start_without_signals(self._thread)

    def put(self, output: Output, piece: bytes) -> None:
        """Waits where the store is slower than the program for a long time."""
        self._queue.put(output, piece)

    def end(self, ending: Ending) -> None:
        """Store what is left, and how the program ended."""
        self._ending = ending
        self._queue.end()
        self._thread.join()

    def lost(self) -> str | None:
        """What is not kept, why, and what to do; None where all is."""
        if self.failed is None:
            return None
        return what_is_kept(self.kept_bytes, "output", self.failed)

    def _run(self) -> None:
        try:
            self._store()
            if self.failed is not None:
                self._mark()
        finally:
            # Whatever happens here, nobody waits for room in vain.
            self._queue.discard()
        self._finish()

    def _store(self) -> None:
        if self.failed is not None:
            return
        try:
            self._patiently(self._made)
            while taken := self._queue.take():
                for output, data in taken.items():
                    self._keep(output, data)
            for output, rest in self._kept.rests().items():
                self._patiently(partial(self._kept.keep, output, rest))
        except SessionsError as error:
            self._give_up(error)

    def _keep(self, output: Output, data: bytes) -> None:
        said = self._kept.said(output, data)
        self._patiently(partial(self._kept.keep, output, said))
        self.kept_bytes += len(data)

    def _mark(self) -> None:
        """Say in the store that not all is kept, as soon as it can be written; the program goes on meanwhile."""
        is_marked = False
        while not self._queue.wait_for_end(_SECONDS_TO_MARK):
            if not is_marked:
                with suppress(SessionsError):
                    self._made()
                    self._kept.mark(self._why(None))
                    is_marked = True

    def _finish(self) -> None:
        """Even if not all is kept: it may be possible again, and a reader has to know what is missing."""
        assert self._ending is not None
        ending = self._ending
        if self.failed is None:
            try:
                self._patiently(partial(self._kept.end, ending))
            except SessionsError as error:
                self._give_up(error)
            else:
                return
        ending = evolve(ending, status=TurnStatus.ERROR, error=self._why(ending.error), is_whole=False)
        at_last(partial(self._end, ending))

    def _made(self) -> None:
        """The round is there from now on."""
        if not self._is_made:
            self._kept.make()
            self._is_made = True

    def _end(self, ending: Ending) -> None:
        self._made()
        self._kept.end(ending)

    def _why(self, error: str | None) -> str:
        """Why a turn is no whole success, where not all is kept."""
        return "; ".join(filter(None, (error, self.lost())))

    def _patiently(self, work: Callable[[], None]) -> None:
        """Another process may hold the lock for long. It is waited for while that holds nobody up: the last try begins
        when the queue is full, or the program has ended."""
        while True:
            is_last = self._queue.presses
            try:
                work()
            except Busy:
                if is_last:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _give_up(self, error: SessionsError) -> None:
        if self.failed is None:
            self.failed = error
        self._queue.discard()

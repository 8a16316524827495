"""The end of a server: it finishes what it has received, for a bounded time after a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mandrake_sessions.connection.dispatcher import Dispatcher
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.transport.channel import Channel, on_loop

logger = logging.getLogger(__name__)

# Seconds from the beginning of the end: for waiting calls, then until they have their errors, then for a client that
# reads slowly.
FINISH_SECONDS = 1.5
ABANDON_SECONDS = 0.5
FLUSH_SECONDS = 0.7
# Seconds for a write that runs already, so that its call gets the true answer. It is interrupted before.
WRITE_SECONDS = 2.6
LAST_SECONDS = 2.8
SENT_LOOK = 0.01
# The guard sleeps for so long at a time.
GUARD_SECONDS = 0.05
# The exit code where answers could not be written (sysexits.h: an error of input or output).
OUTPUT_FAILED = 74
# What a closing terminal sends; Windows has no such signal.
_HANGUP: Final = getattr(signal, "SIGHUP", None)


class Ending:
    """``begin`` starts the end, ``wait`` returns at the end."""

    def __init__(self, channel: Channel, dispatcher: Dispatcher, subscriptions: ConnectionSubscriptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._dispatcher = dispatcher
        self._subscriptions = subscriptions
        self._finished = self._loop.create_future()
        self._patient = False
        self._last_answer = 0.0
        self._guard = _Guard()
        self.has_begun = False
        self.exit_code = 0

    @property
    def is_patient(self) -> bool:
        """Whether it ends because its input has ended, and no signal has come since."""
        return self._patient

    def begin(self, exit_code: int, *, patient: bool, why: str) -> None:
        """Read nothing more, and finish what was received. ``patient``: for as long as that takes, and as the client
        takes to read it."""
        logger.info("ending with code %d: %s", exit_code, why)
        self.exit_code = exit_code
        self._patient = patient
        self._channel.reader.pause(True)
        self.has_begun = True
        if not patient:
            self._loop.call_later(FINISH_SECONDS, self._out_of_time)
            self._guard.begin(LAST_SECONDS, exit_code)
        self._dispatcher.run()

    def output_ended(self, begin: Callable[[int, str], None]) -> None:
        """Nobody reads the answers any more. The server still carries out what it has received."""
        if not self.has_begun:
            if self._channel.outbound.failure is not None:
                begin(OUTPUT_FAILED, "its output cannot be written")
            else:
                begin(self.exit_code, "the client has closed its end")
        # Calls that waited for the client to read wait no longer.
        self._dispatcher.run()

    def finish(self) -> None:
        """No call waits any more: end, unless the client has still to be sent what is committed."""
        if not self._finished.done() and not (self._patient and self._subscriptions.are_behind):
            self._finished.set_result(None)

    async def wait(self) -> None:
        """Until all is finished, and the client has read it or the time for that is over."""
        await self._finished
        await self._sent()

    async def _sent(self) -> None:
        """Wait until the client has read all answers and all committed changes. A patient server waits for as long as
        that takes, though a signal may change its mind."""
        outbound = self._channel.outbound
        deadline = self._loop.time() + FLUSH_SECONDS
        self._subscriptions.pump(look=True)
        outbound.flush()
        while not outbound.is_empty or self._subscriptions.are_behind:
            if not self._patient and self._loop.time() >= deadline:
                return
            await asyncio.sleep(SENT_LOOK if outbound.is_full or not outbound.is_empty else 0)
            self._subscriptions.pump()
            outbound.flush()
            if self._patient:
                deadline = self._loop.time() + FLUSH_SECONDS

    def _out_of_time(self) -> None:
        """Answer waiting calls with ``cancelled``, in slices. Where this comes late, since the process was stopped or
        had no processor, a write that runs still has its time to be interrupted and answered."""
        self._last_answer = self._loop.time() + WRITE_SECONDS - FINISH_SECONDS
        self._guard.allow(LAST_SECONDS - FINISH_SECONDS)
        self._loop.call_later(ABANDON_SECONDS, self._finish_now)
        self._dispatcher.abandon()

    def _finish_now(self) -> None:
        """Wait for nothing more, except a write that runs: only its end tells whether it is stored."""
        if self._dispatcher.is_writing and self._loop.time() < self._last_answer:
            self._loop.call_later(SENT_LOOK, self._finish_now)
        elif not self._finished.done():
            self._finished.set_result(None)


class EndingSignals:
    """SIGTERM, SIGINT and SIGHUP call ``end``. A second signal ends the process at once, by the system's own handler,
    whatever the process is doing."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._numbers = [signal.SIGTERM, signal.SIGINT]
        # Under nohup the process ignores SIGHUP, so that closing the terminal ends nothing.
        if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:
            self._numbers.append(_HANGUP)

    def handle(self) -> None:
        for number in self._numbers:
            try:
                self._loop.add_signal_handler(number, self._received)
            except NotImplementedError:
                # Windows: the loop has no signal handlers, Python has.
                signal.signal(number, lambda *_: on_loop(self._loop, self._received)())

    def _received(self) -> None:
        for number in self._numbers:
            with suppress(NotImplementedError):
                self._loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        self._end()


class _Guard:
    """Ends the process, even if a disk or a file system holds one of its threads. By then every acknowledged write is
    stored, and SQLite recovers from any end.

    It counts its own short sleeps, not the clock: the time for which the process was stopped is nobody's fault, and
    must not take the answer from a write that was about to get it.
    """

    def __init__(self) -> None:
        self._slept = 0.0
        self._most = 0.0
        self._exit_code: int | None = None

    def begin(self, seconds: float, exit_code: int) -> None:
        """End the process after so many seconds, unless more are allowed meanwhile. Where it has begun already, only
        the exit code is another."""
        has_begun = self._exit_code is not None
        self._exit_code = exit_code
        if not has_begun:
            self.allow(seconds)
            # Where no thread can be started, the loop has to end by itself.
            with suppress(RuntimeError, MemoryError):
                threading.Thread(target=self._run, name="mandrake-sessions-end", daemon=True).start()

    def allow(self, seconds: float) -> None:
        """So many seconds from now."""
        self._most = self._slept + seconds

    def _run(self) -> None:
        while self._slept < self._most:
            time.sleep(GUARD_SECONDS)
            self._slept += GUARD_SECONDS
        os._exit(self._exit_code or 0)

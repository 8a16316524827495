"""Signals that come to us while another program runs, and are meant for it."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from mandrake_sessions.commands.ending import handled
from mandrake_sessions.commands.recording.program import Program

# A terminal sends these to all programs that run on it: to ours too, unless it has a terminal of its own.
_TYPED: Final = (signal.SIGINT, signal.SIGQUIT)
# They end no process, or cannot be caught.
_HARMLESS: Final = ("CHLD", "CONT", "INFO", "KILL", "STOP", "TSTP", "TTIN", "TTOU", "URG", "WINCH")
# Our own faults: after a handler the instruction would only fail again.
_FAULTS: Final = ("BUS", "FPE", "ILL", "SEGV", "SYS", "TRAP")
HANDLED: Final = tuple(
    sorted(signal.valid_signals() - {getattr(signal, f"SIG{name}", None) for name in (*_HARMLESS, *_FAULTS)})
)


def start_without_signals(*threads: threading.Thread) -> None:
    """Start threads to which the system gives none of them: the main thread waits for signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*HANDLED, signal.SIGWINCH))
    for thread in threads:
        thread.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stopped(Exception):
    """A signal came when the program had ended already."""


class PassedSignals:
    """Use it with ``with``, on the main thread: meanwhile no signal ends us, save those that cannot be caught.

    Those that were ignored stay so, as for a program under ``nohup``.
    """

    def __init__(self) -> None:
        self._program: Program | None = None
        self._early: list[int] = []
        self._may_stop = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> PassedSignals:
        self._before = handled(HANDLED, self._came)
        # The system would keep no exit code where it is ignored.
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._resized)
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._wakeup = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read_end)
        os.close(self._write_end)

    def waited(self, pid: int) -> int:
        """The status of a child that has ended. A signal that came just before a blocking call would wait for its end,
        so nothing blocks but the look for signals."""
        while (status := self.waited_for(pid, None)) is None:
            pass
        return status

    def waited_for(self, pid: int, seconds: float | None) -> int | None:
        """The same; None if it has not ended after so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                return None
            select.select([self._read_end], [], [], rest)
            with suppress(BlockingIOError):
                os.read(self._read_end, 4096)

    def pass_to(self, program: Program | None) -> None:
        """From now on they are for this program, those too that came before; None: it has ended."""
        self._program = program
        if program is not None:
            for number in self._early:
                self._came(number, None)
            self._resized(signal.SIGWINCH, None)

    def may_stop(self, may: bool) -> None:
        """Whether a signal raises Stopped, where there is no program any more."""
        self._may_stop = may

    def _came(self, number: int, _: FrameType | None) -> None:
        if self._program is None:
            if self._may_stop:
                raise Stopped
            self._early.append(number)
        elif self._program.is_apart or number not in _TYPED or not _may_be_typed():
            self._program.send(number)

    def _resized(self, number: int, _: FrameType | None) -> None:
        if self._program is None or self._program.terminal is None:
            return
        self._program.terminal.resize()
        if not self._program.is_apart:
            # It may have asked for the size before that was the new one.
            self._program.send(number)


def _may_be_typed() -> bool:
    """Whether a terminal that sends a signal to us sends it to the program too: our process group is in front."""
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False

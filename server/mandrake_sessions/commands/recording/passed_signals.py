"""Signals that come to us while another program runs, and are meant for it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Final

from mandrake_sessions.commands.recording.program import Program

# A terminal sends these to all programs that run on it: to ours too, unless it has a terminal of its own.
_TYPED: Final = (signal.SIGINT, signal.SIGQUIT)
HANDLED: Final = (*_TYPED, signal.SIGTERM, signal.SIGHUP)


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
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> PassedSignals:
        for number in HANDLED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._came)
        # The system would keep no exit code where it is ignored.
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._resized)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

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
        elif self._program.is_apart or number not in _TYPED:
            self._program.send(number)

    def _resized(self, number: int, _: FrameType | None) -> None:
        if self._program is None or self._program.terminal is None:
            return
        self._program.terminal.resize()
        if not self._program.is_apart:
            # It may have asked for the size before that was the new one.
            self._program.send(number)

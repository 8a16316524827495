"""SIGTERM and SIGHUP end a command as Ctrl-C does, so that it takes away what it has not finished."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

# Windows has no SIGHUP.
_NUMBERS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


# With the signal's number, the exit code of a process that a signal has ended, as a shell tells it.
ENDED_BY_SIGNAL: Final = 128


class EndedBySignal(KeyboardInterrupt):
    """One of the two came."""


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """In the block they raise EndedBySignal; gives the list that holds the number of the one that came. A second one
    ends the process at once, by the system's own handler. Under nohup SIGHUP stays ignored."""
    came: list[int] = []
    before: dict[int, Any] = {}

    def end(number: int, _: FrameType | None) -> NoReturn:
        came.append(number)
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise EndedBySignal

    for number in _NUMBERS:
        if signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, end)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

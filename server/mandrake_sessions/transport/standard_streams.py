"""The process's own standard streams, taken so that nobody else writes to the client."""

from __future__ import annotations

import os
import sys
from typing import Final, Literal, TextIO

from mandrake_sessions.transport.descriptors import let_go

# What a shell reports of a program that SIGPIPE ended, and so the exit code where nobody reads stdout any more.
NOBODY_READS: Final = 141

_closed: set[int] = set()


def open_standard_streams() -> None:
    """Make sure that descriptors 0 to 2 are open, and that no text is refused by the encoding of stdout or stderr.

    A supervisor may start us with closed streams. Any file that we opened then would get their numbers, and what is
    printed would be written into it. So this comes before anything else is opened. A closed stream reads as an input
    at its end, and takes output without keeping it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            # The system gives the lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or _text_stream(0, "r")
    sys.stdout = sys.stdout or _text_stream(1, "w")
    sys.stderr = sys.stderr or _text_stream(2, "w")
    for stream in (sys.stdout, sys.stderr):
        # Not in tests that put a buffer in the place of a stream.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


def discard_stdout() -> None:
    """Send what stdout's buffer still holds nowhere, so that Python reports no second error at its end."""
    let_go(sys.stdout.fileno())


def settle_stderr() -> None:
    """The same for stderr, where it could not be written: Python would give an exit code of its own for it."""
    try:
        sys.stderr.flush()
    except OSError:
        let_go(sys.stderr.fileno())


def was_closed(number: int) -> bool:
    """Whether this standard stream was closed when the process began."""
    return number in _closed


def _text_stream(number: int, mode: Literal["r", "w"]) -> TextIO:
    return open(number, mode, encoding="utf-8", closefd=False)


def claim_standard_streams() -> tuple[int, int]:
    """Descriptors of stdin and stdout that nobody else has: ``(stdin, stdout)``.

    From here on ``print``, and whatever a library writes to fd 1, goes to stderr, and fd 0 is empty.
    """
    stdin, stdout = os.dup(0), os.dup(1)
    let_go(0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stdin, stdout

"""Our own terminal, while what is typed there is for another program."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mandrake_sessions.commands.recording.program import STDIN, STDOUT


def is_for_us() -> bool:
    """Whether stdin and stdout are terminals, and we may change how they work: a job in the background may not."""
    try:
        return os.isatty(STDOUT) and os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:
        return False


@contextmanager
def raw() -> Iterator[list[Any]]:
    """Every byte that is typed comes to us at once, and ours appear as they are; after the block it is as before. Gives
    the modes that it had."""
    before = termios.tcgetattr(STDIN)
    try:
        tty.setraw(STDIN, termios.TCSADRAIN)
        yield before
    finally:
        # It may be gone.
        with suppress(termios.error):
            termios.tcsetattr(STDIN, termios.TCSADRAIN, before)

"""Long output on a terminal goes through the user's pager."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mandrake_sessions.commands.ending import EndedBySignal
from mandrake_sessions.commands.shared import say_line

# Leave the terminal as it is, show colors, and end by itself where everything fits on one screen.
_LESS = "FRX"


@contextmanager
def paged() -> Iterator[Callable[[str], None]]:
    """Gives what writes a line: to the pager (``$PAGER``, else less) if stdout is a terminal and there is one."""
    command = _pager()
    if command is None:
        yield say_line
        return
    sys.stdout.flush()
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"LESS": _LESS, **os.environ}) as pager:
        pipe = pager.stdin
        assert pipe is not None

        def write(line: str) -> None:
            pipe.write(f"{line}\n".encode(errors="backslashreplace"))

        try:
            # Somebody who has seen enough leaves the pager.
            with suppress(BrokenPipeError):
                yield write
        finally:
            with suppress(BrokenPipeError):
                pipe.close()
            _wait(pager)


def _wait(pager: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            pager.wait()
        except EndedBySignal:
            # Nobody would be there to wait for it.
            pager.terminate()
            raise
        except KeyboardInterrupt:
            # Ctrl-C is for the pager, which may take it for the end of a search.
            continue
        return


def _pager() -> list[str] | None:
    if not sys.stdout.isatty():
        return None
    command = shlex.split(os.environ.get("PAGER") or "less")
    return command if command and shutil.which(command[0]) else None

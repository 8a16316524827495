"""Stdin as it comes, until it ends or a signal says so."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from mandrake_sessions.commands.ending import handled

# So much is read at once, if so much is there.
_PIECE_BYTES: Final = 64 * 1024
_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Arriving:
    """Use it with ``with``, on the main thread: meanwhile SIGINT, SIGTERM and SIGHUP end the input, and nothing else.
    ``stopped_by`` is the signal afterwards, ``failed`` the error that ended the input."""

    def __init__(self, descriptor: int = 0) -> None:
        self.stopped_by: signal.Signals | None = None
        self.failed: OSError | None = None
        self._descriptor = descriptor
        self._was_terminal = os.isatty(descriptor)
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Arriving:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._before = handled(_SIGNALS, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        os.close(self._read_end)
        os.close(self._write_end)

    def __iter__(self) -> Iterator[bytes]:
        while self.stopped_by is None:
            try:
                if not self._is_there():
                    continue
                piece = os.read(self._descriptor, _PIECE_BYTES)
            except OSError as error:
                self.failed = error
                return
            if not piece:
                if self._was_terminal and not os.isatty(self._descriptor):
                    # It is gone, and its signal may come later, or not at all.
                    self._stop(signal.SIGHUP, None)
                return
            yield piece

    def _is_there(self) -> bool:
        if sys.platform == "win32":
            # Only sockets can be waited for there: a signal ends the input with the next piece.
            return True
        found, _, _ = select.select([self._descriptor, self._read_end], [], [])
        return self._descriptor in found

    def _stop(self, number: int, _: FrameType | None) -> None:
        self.stopped_by = signal.Signals(number)
        with suppress(OSError):
            os.write(self._write_end, b".")

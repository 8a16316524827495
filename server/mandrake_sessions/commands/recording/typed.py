"""What is typed at our terminal, for a program that reads its own."""

from __future__ import annotations

import os
import select
import termios
from contextlib import suppress
from typing import Any, Final

from mandrake_sessions.commands.recording.program import STDIN, Terminal

_PIECE_BYTES: Final = 64 * 1024
# Between two looks at how the program's terminal works; and at whether it has room.
_SECONDS: Final = 0.05
_SECONDS_FOR_ROOM: Final = 0.005
_INPUT_MODES, _LOCAL_MODES, _CHARACTERS = 0, 3, 6


class Typed:
    """``ended``: a descriptor that can be read from once nothing more is to be passed on."""

    def __init__(self, terminal: Terminal, ended: int) -> None:
        self._terminal = terminal
        self._ended = ended

    def pass_all(self) -> None:
        """Until the end. Returns also where our terminal is gone."""
        while piece := self._typed(STDIN, None):
            self._type(piece)

    def pass_keys(self, own: int) -> None:
        """Only while the program reads single keys: one whose input is a pipe, such as a pager, may read them from the
        terminal of its output. ``own``: our terminal, which works as the program's does meanwhile.

        Everything else that is typed is left to those who read our terminal themselves, to ask for a password.
        """
        while not select.select([self._ended], [], [], _SECONDS)[0]:
            modes = self._terminal.modes()
            if modes is None:
                return
            if _reads_keys(modes) and _is_ours(own):
                before = termios.tcgetattr(own)
                try:
                    self._pass_while_keys(own, modes)
                finally:
                    with suppress(termios.error):
                        termios.tcsetattr(own, termios.TCSADRAIN, before)

    def _pass_while_keys(self, own: int, modes: list[Any] | None) -> None:
        last = None
        while modes is not None and _reads_keys(modes):
            if modes != last:
                _work_like(own, modes)
                last = modes
            piece = self._typed(own, _SECONDS)
            if piece == b"":
                return
            if piece is not None:
                self._type(piece)
            modes = self._terminal.modes()

    def _typed(self, source: int, seconds: float | None) -> bytes | None:
        """The next keys; empty at the end, None where there are none for so long."""
        ready, _, _ = select.select([source, self._ended], [], [], seconds)
        if self._ended in ready:
            return b""
        if not ready:
            return None
        with suppress(OSError):
            return os.read(source, _PIECE_BYTES)
        return b""

    def _type(self, piece: bytes) -> None:
        """The program may take it slowly, and it may end before it has."""
        while piece and not select.select([self._ended], [], [], 0)[0]:
            written = self._terminal.write(piece)
            if written is None:
                return
            piece = piece[written:]
            if not written:
                select.select([self._ended], [], [], _SECONDS_FOR_ROOM)


def _reads_keys(modes: list[Any]) -> bool:
    return not modes[_LOCAL_MODES] & termios.ICANON


def _is_ours(own: int) -> bool:
    """Whether we may change how it works: a job in the background may not."""
    try:
        return os.tcgetpgrp(own) == os.getpgrp()
    except OSError:
        return False


def _work_like(own: int, modes: list[Any]) -> None:
    """What is typed is treated as at a terminal with these modes; what is shown as before."""
    with suppress(termios.error):
        now = termios.tcgetattr(own)
        for part in (_INPUT_MODES, _LOCAL_MODES, _CHARACTERS):
            now[part] = modes[part]
        termios.tcsetattr(own, termios.TCSADRAIN, now)

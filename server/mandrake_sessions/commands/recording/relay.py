"""Bytes that pass between a program and our own streams, unchanged and at once."""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from mandrake_sessions.commands.recording.passed_signals import start_without_signals
from mandrake_sessions.commands.recording.program import Output, Program
from mandrake_sessions.commands.recording.typed import Typed
from mandrake_sessions.transport.descriptors import read_piece, write_whole

_PIECE_BYTES: Final = 64 * 1024
# After the program has ended, others may still have its output open. So long they are waited for, and so much is read,
# where nobody waits for the end of ours.
_SECONDS_AFTER: Final = 0.2
_BYTES_AFTER: Final = 1024 * 1024
# Whoever read our output is gone; that is no fault.
_NOBODY_READS: Final = (errno.EPIPE, errno.EIO)


class Relay:
    """``keep`` is given each piece of output once it was passed on, or cannot be. ``failed``: the error of a stream of
    ours that could not be written. That of the program is closed then, so that it learns of it; what it had written
    until then is kept."""

    def __init__(self, program: Program, keep: Callable[[Output, bytes], None]) -> None:
        self._program = program
        self._keep = keep
        self.failed: OSError | None = None
        self._deadline = 0.0
        self._ended, self._end = os.pipe()
        self._ending = threading.Lock()
        self._is_ending = False
        # They end with us, whatever they wait for: a reader may never read what we pass on.
        self._outputs = [
            threading.Thread(target=self._pass_output, args=(output,), daemon=True) for output in program.outputs
        ]
        self._input = threading.Thread(target=self._pass_input, daemon=True)
        start_without_signals(*self._outputs, self._input)

    def finish(self) -> None:
        """Pass on what the program has left. What runs in its background may keep its output open; that is waited for
        where ours is a pipe, whose reader would wait for it without us too."""
        self._finish_soon()
        # It leaves our terminal as it was.
        self._input.join()
        for thread in self._outputs:
            thread.join()

    def _finish_soon(self) -> None:
        with self._ending:
            if not self._is_ending:
                self._is_ending = True
                self._deadline = time.monotonic() + _SECONDS_AFTER
                if self._program.terminal is not None:
                    self._program.terminal.release()
                os.close(self._end)

    def _pass_output(self, output: Output) -> None:
        try:
            for piece in self._arriving(output):
                is_written = self._is_written(output.sink, piece)
                self._keep(output, piece)
                if not is_written:
                    self._keep_rest(output)
                    break
        finally:
            # A program that goes on writing learns that nobody reads.
            terminal = self._program.terminal
            if terminal is not None and terminal.source == output.source:
                terminal.close()
            else:
                os.close(output.source)

    def _keep_rest(self, output: Output) -> None:
        """Keep what the program has written already, as far as pipes hold; it may never stop to write."""
        left = _PIECE_BYTES
        while left > 0 and select.select([output.source], [], [], 0)[0] and (piece := read_piece(output.source, left)):
            left -= len(piece)
            self._keep(output, piece)

    def _arriving(self, output: Output) -> Iterator[bytes]:
        source = output.source
        left = _BYTES_AFTER
        while left > 0:
            ready, _, _ = select.select([source, self._ended], [], [])
            has_ended = self._ended in ready
            if has_ended and source not in ready and not self._has_more(output):
                return
            piece = read_piece(source, _PIECE_BYTES)
            if not piece:
                return
            left -= len(piece) if has_ended and not _is_read_to_its_end(output.sink) else 0
            yield piece

    def _has_more(self, output: Output) -> bool:
        """Whether something comes after the program has ended, or the end."""
        if not _is_read_to_its_end(output.sink):
            rest = max(0.0, self._deadline - time.monotonic())
            return bool(select.select([output.source], [], [], rest)[0])
        poll = select.poll()
        poll.register(output.source, select.POLLIN)
        # Only to learn that its reader is gone.
        poll.register(output.sink, 0)
        return output.source in dict(poll.poll())

    def _is_written(self, sink: int, piece: bytes) -> bool:
        """Whether our stream took all of it."""
        error = write_whole(sink, piece)
        if error is not None and error.errno not in _NOBODY_READS:
            self.failed = error
        return error is None

    def _pass_input(self) -> None:
        terminal = self._program.terminal
        if terminal is None:
            return
        typed = Typed(terminal, self._ended)
        if not self._program.is_apart:
            typed.pass_keys(next(output.sink for output in self._program.outputs if output.source == terminal.source))
            return
        typed.pass_all()
        with self._ending:
            is_gone = not self._is_ending
        if is_gone:
            # The program's terminal goes with ours, once it has said its last words.
            self._program.send(signal.SIGHUP)
            self._finish_soon()


def _is_read_to_its_end(sink: int) -> bool:
    """Whether a reader waits until nobody can write any more."""
    mode = os.fstat(sink).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

"""Limits work with large values to one thread at a time, since the memory of several threads would add up.

A thread asks for its turn with ``LargeWork``. It gets the turn when it meets the first large value, and keeps it until
the end of the block. Work without large values never waits. A thread that never asks is never held up: an event loop,
or a thread of a program that embeds the store.
"""

from __future__ import annotations

import threading

# Bytes of a value, or of an answer made of several values.
LARGE_BYTES = 512 * 1024


class _Turns:
    """Whose turn it is. A writer goes before all readers, since calls wait behind a write."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._writers = 0

    def take(self, *, as_writer: bool) -> None:
        with self._changed:
            self._writers += as_writer
            self._changed.wait_for(lambda: not self._taken and (as_writer or not self._writers))
            self._writers -= as_writer
            self._taken = True

    def give_back(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def let_writer_in(self) -> None:
        """Let one waiting writer work, if there is one; returns when it is done."""
        if self._writers:
            self.give_back()
            self.take(as_writer=False)


class _Own(threading.local):
    """What the current thread does."""

    asked = False
    has_turn = False
    gives_way = False


_turns = _Turns()
_own = _Own()


class LargeWork:
    """The block may read and encode large values.

    ``as_writer``: it waits for its turn at once, since it must not wait while it holds the lock of a store.
    ``is_bounded``: it ends soon, and keeps its turn while a writer waits, because between two rows it holds a whole
    page.
    """

    def __init__(self, *, as_writer: bool = False, is_bounded: bool = True) -> None:
        self._as_writer = as_writer
        self._is_bounded = is_bounded

    def __enter__(self) -> None:
        _own.asked = True
        _own.gives_way = not self._is_bounded
        if self._as_writer:
            _turns.take(as_writer=True)
            _own.has_turn = True

    def __exit__(self, *_: object) -> None:
        _own.asked = _own.gives_way = False
        if _own.has_turn:
            _own.has_turn = False
            _turns.give_back()


def met_large() -> None:
    """Call this before reading or encoding something large. It waits for the turn, once in a block."""
    if _own.asked and not _own.has_turn:
        _turns.take(as_writer=False)
        _own.has_turn = True


def between_rows() -> None:
    """In work that is not bounded: let a waiting writer work now."""
    if _own.has_turn and _own.gives_way:
        _turns.let_writer_in()

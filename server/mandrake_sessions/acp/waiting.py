"""What waits for a store: in memory, then in a private file, then lost.

As long as the store is free hardly anything waits. Where it is not, what waits in memory is bounded; beyond that all of
it goes to a file (``waiting_files.py``), and what follows too, until the file was read to its end. Where that file is
full, or none can be written, what comes is counted as lost, texts before anything else; the count is told in its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from mandrake_sessions.acp.events import Began, Called, Event, Put, Requested, Said
from mandrake_sessions.acp.waiting_files import Entry, Lost, WaitingFile
from mandrake_sessions.importing.assembling import safe_text

logger = logging.getLogger(__name__)

# A batch is one transaction, which holds the lock against others.
_BATCH_BYTES: Final = 1024 * 1024
_BATCH_EVENTS: Final = 2000
# Turns whose length is remembered, and sessions and rounds of which something was lost that are told apart.
_MOST_TURNS: Final = 20_000
_MOST_LOST: Final = 1000
_EVENT_BYTES: Final = 400
_SHORT_BYTES: Final = 64 * 1024
# A batch has to be worth a transaction: it comes so long after the last one, or when so much is there.
_PACE_SECONDS: Final = 0.005
_WORTH_BYTES: Final = 64 * 1024
# Before another try to make a file.
_SECONDS: Final = 1.0


@frozen
class Bounds:
    """``memory``: bytes that wait in memory; ``file``: in the file, where texts and tool calls are concerned; ``rest``:
    what more of it all other events may take, without which the texts mean nothing."""

    memory: int = 16 * 1024 * 1024
    file: int = 256 * 1024 * 1024
    rest: int = 32 * 1024 * 1024


class Waiting:
    """Any thread puts; one thread takes a batch, and says ``done`` once it is stored. ``make_file``: a new file to wait
    in; raises OSError."""

    def __init__(self, make_file: Callable[[], WaitingFile], bounds: Bounds | None = None) -> None:
        self._make_file = make_file
        self._bounds = bounds or Bounds()
        self._changed = threading.Condition()
        self._memory: deque[Entry] = deque()
        self._bytes = 0
        self._file: WaitingFile | None = None
        # How many entries were taken and are not done; in the file, where they end.
        self._taken = 0
        self._taken_end: int | None = None
        self._chars: OrderedDict[str, int] = OrderedDict()
        self._began: dict[str, Began] = {}
        self._unfinished: Sequence[Event] = ()
        self._lost: dict[tuple[str, str | None, str | None], Lost] = {}
        self.lost_events = 0
        self._is_ended = False
        self._no_file_until = 0.0
        self._last = 0.0

    def put(self, event: Event) -> None:
        """Does not wait for the store."""
        with self._changed:
            event = _named(event)
            entry = self._entry(event)
            if isinstance(event, Began):
                self._began[event.session] = event
            self._tell_lost()
            before, had_some = self._bytes, self._has_some
            if not self._keep(entry):
                self._lose(entry)
            if not had_some or before < _WORTH_BYTES <= self._bytes:
                self._changed.notify_all()

    def take(self, seconds: float | None = None) -> list[Entry]:
        """The next ones, which stay until ``done``; waits for so long, or for the end. None are left after the end
        where it gives none."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_some or self._is_ended, seconds)
            rest = self._last + _PACE_SECONDS - time.monotonic()
            if rest > 0 and self._file is None:
                self._changed.wait_for(lambda: self._bytes >= _WORTH_BYTES or self._is_ended, rest)
            self._last = time.monotonic()
            self._tell_lost()
            if self._file is not None:
                return self._read()
            batch: list[Entry] = []
            size = 0
            for entry in self._memory:
                if batch and (size + entry.size > _BATCH_BYTES or len(batch) == _BATCH_EVENTS):
                    break
                batch.append(entry)
                size += entry.size
            self._taken = len(batch)
            return batch

    def _read(self) -> list[Entry]:
        assert self._file is not None
        try:
            entries, self._taken_end = self._file.read(_BATCH_BYTES)
        except OSError as error:
            logger.warning("what waits in %s cannot be read and is lost: %s", self._file.path, error)
            self.lost_events += 1
            entries, self._taken_end = [], self._file.size
        return entries

    def done(self, unfinished: Sequence[Event] = ()) -> None:
        """What was taken is stored. ``unfinished``: what of all that was is not carried out yet."""
        with self._changed:
            self._unfinished = unfinished
            if self._file is None:
                for _ in range(self._taken):
                    self._bytes -= self._memory.popleft().size
            elif self._taken_end is not None:
                self._file.position = self._taken_end
                if self._file.is_read:
                    self._file.remove()
                    self._file = None
            self._taken, self._taken_end = 0, None
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait until it is worth to try again."""
        with self._changed:
            if not self._is_ended:
                self._changed.wait_for(lambda: self._is_ended, seconds)
                return
        time.sleep(min(seconds, 0.05))

    def end(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    @property
    def is_ended(self) -> bool:
        return self._is_ended

    @property
    def is_empty(self) -> bool:
        with self._changed:
            return not self._has_some

    def leave(self) -> str | None:
        """What is left goes to the file, which others find; gives its path. None where nothing is left, or no file can
        be written: then it is lost."""
        with self._changed:
            self._tell_lost()
            self._no_file_until = 0.0
            if self._file is None and self._memory and not self._spill():
                self.lost_events += len(self._memory)
                self._memory.clear()
            if self._file is None:
                return None
            path = self._file.path
            self._file.close()
            self._file = None
            return path

    @property
    def _has_some(self) -> bool:
        return bool(self._memory) or self._file is not None or bool(self._lost)

    def _entry(self, event: Event) -> Entry:
        """``start``: where a text begins in its turn, so that it is stored once whatever happens in between."""
        start = None
        if isinstance(event, Said | Put):
            text = safe_text(event.text)
            event = event if text is event.text else evolve(event, text=text)
            start = self._chars.pop(event.turn, 0) if isinstance(event, Said) else 0
            self._chars[event.turn] = start + len(event.text)
            if len(self._chars) > _MOST_TURNS:
                self._chars.popitem(last=False)
        if isinstance(event, Said) and not event.metadata:
            return Entry(event, start, _EVENT_BYTES + len(event.text))
        return Entry(event, start, weight(event))

    def _keep(self, entry: Entry) -> bool:
        if self._file is None:
            if not self._memory or self._bytes + entry.size <= self._bounds.memory:
                self._memory.append(entry)
                self._bytes += entry.size
                return True
            if not self._spill():
                return False
        assert self._file is not None
        is_long = isinstance(entry.event, Said | Put | Called | Requested) or entry.size > _SHORT_BYTES
        room = self._bounds.file + (0 if is_long else self._bounds.rest) - self._file.size
        return self._file.write(entry, room)

    def _spill(self) -> bool:
        """All that waits in memory goes to a file; where none can be made all stays as it is."""
        if time.monotonic() < self._no_file_until:
            return False
        try:
            made = self._make_file()
        except OSError as error:
            logger.info("no file can be made for what waits: %s", error)
            self._no_file_until = time.monotonic() + _SECONDS
            return False
        # Whoever reads it without us has to know whose events these are.
        heads = [Entry(event, None, 0) for event in (*self._began.values(), *self._unfinished)]
        taken_end = None
        for number, entry in enumerate([*heads, *self._memory]):
            if not made.write(entry, 2 * self._bounds.memory + self._bounds.file):
                made.remove()
                self._no_file_until = time.monotonic() + _SECONDS
                return False
            if self._taken and number + 1 == len(heads) + self._taken:
                taken_end = made.size
        self._file, self._taken_end, self._taken = made, taken_end, 0
        self._memory.clear()
        self._bytes = 0
        return True

    def _lose(self, entry: Entry) -> None:
        event = entry.event
        self.lost_events += 1
        key = (event.session, getattr(event, "round", None), getattr(event, "turn", None))
        if key not in self._lost and len(self._lost) >= _MOST_LOST:
            key = (event.session, None, None)
        text = getattr(event, "text", "")
        if isinstance(event, Said) and entry.start is not None:
            # What follows goes on at the place where it is lost.
            self._chars[event.turn] = entry.start
        known = self._lost.get(key) or Lost(*key)
        self._lost[key] = evolve(known, events=known.events + 1, bytes=known.bytes + len(text.encode()))

    def _tell_lost(self) -> None:
        """Say what was lost, once there is room again."""
        for key, lost in list(self._lost.items()):
            if not self._keep(Entry(lost, None, _EVENT_BYTES)):
                return
            del self._lost[key]


def _named(event: Event) -> Event:
    """The same with a name of its session that can be stored."""
    session = safe_text(event.session)
    parent = event.parent if isinstance(event, Began) else None
    if session is not event.session:
        event = evolve(event, session=session)
    if isinstance(event, Began) and parent is not None:
        event = evolve(event, parent=safe_text(parent))
    return event


def weight(value: Any) -> int:
    """About how many bytes it takes."""
    total, left = _EVENT_BYTES, [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            total += len(each)
        elif isinstance(each, Mapping):
            left.extend(each.values())
            total += 100 + sum(len(name) for name in each if isinstance(name, str))
        elif isinstance(each, list | tuple):
            left.extend(each)
            total += 60
        elif hasattr(each, "session"):
            left.extend(getattr(each, name) for name in each.__slots__ if name != "__weakref__")
        else:
            total += 8
    return total

"""The states that this connection has sent to its client: no joined append spans one of them."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort

# So many are remembered one by one; below those nothing is joined at all.
MAX_POINTS = 4096


class ReadPoints:
    """The ``seq`` of every state that the connection has read of one store.

    A client skips each change whose ``seq`` is not above that of the state that it holds (protocol, section 6). A run
    of appends that began before that state and ended after it would be taken whole or skipped whole, both wrong.
    """

    def __init__(self) -> None:
        self._points: list[int] = []
        self._forgotten = -1
        # A write on a thread adds to them while the loop asks.
        self._lock = threading.Lock()

    def add(self, seq: int) -> None:
        with self._lock:
            self._add(seq)

    def separate(self, earlier: int, later: int) -> bool:
        """Whether a state was given that holds the change at ``earlier`` and not yet that at ``later``."""
        with self._lock:
            if earlier <= self._forgotten:
                return True
            position = bisect_left(self._points, earlier)
            return position < len(self._points) and self._points[position] < later

    def _add(self, seq: int) -> None:
        points = self._points
        if not points or seq > points[-1]:
            points.append(seq)
        elif points[bisect_left(points, seq)] != seq:
            insort(points, seq)
        if len(points) > MAX_POINTS:
            half = MAX_POINTS // 2
            self._forgotten = max(self._forgotten, points[half - 1])
            del points[:half]

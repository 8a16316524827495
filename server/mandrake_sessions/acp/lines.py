"""The lines of a stream whose pieces end anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

MAX_BYTES: Final = 64 * 1024 * 1024


class Lines:
    """``too_long`` is called once for each line of more than ``max_bytes``; such a line is left out."""

    def __init__(self, too_long: Callable[[], None], max_bytes: int = MAX_BYTES) -> None:
        self._too_long = too_long
        self._max_bytes = max_bytes
        self._begun: list[bytes] = []
        self._size = 0

    def of(self, piece: bytes) -> Iterator[bytes]:
        """The lines that this piece completes, without their ends."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            line = self._ended(piece[start:end])
            start = end + 1
            if line is not None:
                yield line
        if start < len(piece):
            self._add(piece[start:])

    def rest(self) -> bytes:
        """The beginning of a line whose end did not come; it is forgotten."""
        return self._ended(b"") or b""

    def _ended(self, last: bytes) -> bytes | None:
        if self._size + len(last) <= self._max_bytes:
            line = b"".join((*self._begun, last)) if self._begun else last
        else:
            self._add(last)
            line = None
        self._begun.clear()
        self._size = 0
        return line

    def _add(self, piece: bytes) -> None:
        was_long = self._size > self._max_bytes
        self._size += len(piece)
        if self._size <= self._max_bytes:
            self._begun.append(piece)
        elif not was_long:
            self._begun.clear()
            self._too_long()

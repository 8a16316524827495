"""What the proxy sends to the recorder: frames, each of a head and so many bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from attrs import frozen

# From the client to the agent, and back.
CLIENT: Final = b"c"
AGENT: Final = b"a"
# The agent has ended; the data is its exit code as a shell tells it, in digits. Nothing follows.
ENDED: Final = b"x"
# So many bytes, in digits, could not be handed over at this place.
LOST: Final = b"l"
_HEAD: Final = struct.Struct(">cQI")


@frozen
class Frame:
    """``at``: milliseconds since the epoch."""

    kind: bytes
    at: int
    data: bytes


def head(kind: bytes, at: int, size: int) -> bytes:
    """What stands before so many bytes."""
    return _HEAD.pack(kind, at, size)


class Frames:
    """Puts frames together from the pieces of a stream."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        # Of the frame that is being put together, with its head.
        self._needed = _HEAD.size

    def of(self, piece: bytes) -> Iterator[Frame]:
        """Those that this piece completes."""
        self._pieces.append(piece)
        self._size += len(piece)
        # Joined only when there is enough: a long frame comes in many pieces.
        if self._size < self._needed:
            return
        data, place = b"".join(self._pieces), 0
        while True:
            self._needed = _HEAD.size
            if len(data) - place >= _HEAD.size:
                kind, at, size = _HEAD.unpack_from(data, place)
                self._needed += size
            if len(data) - place < self._needed:
                break
            yield Frame(kind, at, data[place + _HEAD.size : place + self._needed])
            place += self._needed
        self._pieces, self._size = [data[place:]], len(data) - place

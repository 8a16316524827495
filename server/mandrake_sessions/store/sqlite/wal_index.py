"""What the -shm of a database says of its -wal (SQLite's file format, "WAL-Index File Format")."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

# From its beginning: two copies of the header, the frames that are copied into the database, the readers' marks and
# locks, and the frames that a checkpoint is to copy.
BYTES: Final = 132
_HEADER_BYTES: Final = 48
_FIELDS: Final = struct.Struct("=14x H I 12x 8s 56x I 28x I")
_WAL_HEADER: Final = 32
FRAME_HEADER: Final = 24


class WalIndex(NamedTuple):
    """``page_size``: 1 means 65,536. ``frames``: how many the -wal holds. ``salts``: those of the -wal; each new
    beginning of it has others. ``copied``, ``attempted``: frames that a checkpoint has copied into the database, or
    is to copy."""

    page_size: int
    frames: int
    salts: bytes
    copied: int
    attempted: int

    @property
    def wal_bytes(self) -> int:
        """How long the -wal is at the least."""
        return _WAL_HEADER + self.frames * self._frame_bytes if self.frames else 0

    @property
    def last_frame_at(self) -> int:
        """Where the header of the last frame begins in the -wal; meaningless where there is none."""
        return _WAL_HEADER + (self.frames - 1) * self._frame_bytes

    @property
    def _frame_bytes(self) -> int:
        return FRAME_HEADER + (65536 if self.page_size == 1 else self.page_size)

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody is at a checkpoint."""
        return self.copied == self.attempted

    def has_marks_of(self, earlier: WalIndex) -> bool:
        """Whether nobody has copied anything into the database since then."""
        return self.copied == self.attempted == earlier.copied and self.salts == earlier.salts


def parse(found: bytes) -> WalIndex | None:
    """None where nothing can be told: it is being written, or is no index."""
    if len(found) < BYTES or found[:_HEADER_BYTES] != found[_HEADER_BYTES : 2 * _HEADER_BYTES]:
        return None
    return WalIndex._make(_FIELDS.unpack_from(found))

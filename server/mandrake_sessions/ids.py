"""Names and clocks: UUIDv7 ids, and milliseconds since the epoch."""

from __future__ import annotations

import os
import time
from uuid import UUID


def now_ms() -> int:
    """The time, in whole milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562, section 5.7), lower case. It is a name; it says nothing about order."""
    random = int.from_bytes(os.urandom(10))
    value = (now_ms() & 0xFFFF_FFFF_FFFF) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))

"""How a store is to be opened."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Durability(StrEnum):
    """What a COMMIT waits for.

    ``BALANCED``: appends reach the operating system (a crash of any process loses nothing, a power cut may lose the
    last moments), everything else reaches the disk. ``FULL``: all of it reaches the disk. ``NORMAL``: nothing waits.
    """

    BALANCED = "balanced"
    FULL = "full"
    NORMAL = "normal"

    def synchronous(self, *, appends_only: bool) -> str:
        """SQLite's word for a transaction that holds appends alone, or anything else."""
        if self is Durability.BALANCED:
            return "NORMAL" if appends_only else "FULL"
        return self.value.upper()


@frozen
class StoreSettings:
    """``busy_timeout``: seconds that a call may wait for another process's lock. ``inside``: the directory that the
    file must lie in, wherever links lead. ``allow_network_filesystem``: take one that other machines may share."""

    durability: Durability = Durability.BALANCED
    busy_timeout: float = 5.0
    inside: str | None = None
    allow_network_filesystem: bool = False

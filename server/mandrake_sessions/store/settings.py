"""The settings of a store."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from mandrake_sessions.value import Value


class Durability(StrEnum):
    """What a COMMIT waits for.

    ``BALANCED``: appends wait for the operating system (a crash of any process loses nothing, a power cut may lose the
    last moments), everything else waits for the disk. ``FULL``: everything waits for the disk. ``NORMAL``: everything
    waits for the operating system.
    """

    BALANCED = "balanced"
    FULL = "full"
    NORMAL = "normal"

    def synchronous(self, *, appends_only: bool) -> str:
        """SQLite's word for a transaction of appends alone, or of anything else."""
        if self is Durability.BALANCED:
            return "NORMAL" if appends_only else "FULL"
        return self.value.upper()


@frozen(eq=False, repr=False)
class StoreSettings(Value):
    """``busy_timeout``: seconds that a call may wait for another process's lock. ``inside``: the directory that the
    file must lie in, wherever links lead. ``allow_network_filesystem``: accept a file that other machines may share.
    ``makes_parents``: make the directories above the file's own, where they are missing. ``makes_again``: make a file
    that went while it was open at the next call, whatever that is; else only ``open`` does."""

    durability: Durability = Durability.BALANCED
    busy_timeout: float = 5.0
    inside: str | None = None
    allow_network_filesystem: bool = False
    makes_parents: bool = True
    makes_again: bool = True

"""Databases of other programs, to be read."""

from __future__ import annotations

from mandrake_sessions.store.sqlite.foreign import ForeignDatabase, ForeignUnreadable

__all__ = ["ForeignDatabase", "ForeignUnreadable"]

"""Loads what the first requests do not need, once the server has been running for a moment. So the first call that
needs it does not wait for it, and a server whose package is updated meanwhile does not run half of each version."""

from __future__ import annotations

import logging
from importlib import import_module

logger = logging.getLogger(__name__)

# With all that these import themselves.
_LATE = (
    "connection.noting",
    "connection.other_reads",
    "handlers.joined",
    "operations.housekeeping",
    "operations.indexing",
)


def preload() -> None:
    """All but exports, whose patterns take longer than everything here, and the deep check, which few files need. What
    cannot be loaded now, the first call that needs it tries again."""
    try:
        for name in _LATE:
            import_module(f"mandrake_sessions.{name}")
    except Exception as error:
        logger.warning("what few calls need could not be loaded: %s", error)
    else:
        logger.debug("loaded what few calls need")

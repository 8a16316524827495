"""Imports what the first requests do not need, once the server has been running for a moment. So the first call that
needs it does not wait for it, and a server whose package is updated meanwhile does not run half of each version."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


def import_the_rest() -> None:
    """All but exports, whose patterns take longer than everything here. What cannot be imported now, the first call
    that needs it tries again."""
    try:
        from mandrake_sessions.connection import noting, other_reads
        from mandrake_sessions.handlers import joined
        from mandrake_sessions.operations import forking, housekeeping, indexing
    except Exception as error:
        logger.warning("what few calls need could not be loaded: %s", error)
    else:
        modules = (noting, other_reads, joined, forking, housekeeping, indexing)
        logger.debug("loaded what few calls need: %d modules and theirs", len(modules))

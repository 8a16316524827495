"""The events of a reader, whatever it meets."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.importing.ahead import in_its_time, is_ahead
from mandrake_sessions.importing.events import Event
from mandrake_sessions.importing.lines import SourceUnreadable
from mandrake_sessions.quoting import shorten

logger = logging.getLogger(__name__)


def guarded(events: Iterator[Event]) -> Iterator[Event]:
    """Whatever a reader meets that it did not expect, the other sources are brought in. Raises OSError,
    SessionsError."""
    try:
        for event in events:
            if is_ahead(event):
                yield from in_its_time(event)
            else:
                yield event
    except (OSError, SessionsError):
        raise
    except Exception as error:
        logger.warning("a reader failed", exc_info=True)
        raise SourceUnreadable(f"the reader cannot read it ({type(error).__name__}: {shorten(str(error))})") from error

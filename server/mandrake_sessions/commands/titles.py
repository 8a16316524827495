"""What stands for a session where there is little room."""

from __future__ import annotations

from mandrake_sessions.model import Session

# Of an id, which begins with the millisecond of its making.
ID_CHARACTERS = 13


def title_of(session: Session) -> str:
    """Its title, or the beginning of its first request; on one line."""
    return " ".join((session.title or session.preview or "").split()) or "(no title)"


def short_id(session: Session) -> str:
    """The beginning of its id: nearly always enough to name it."""
    return session.id[:ID_CHARACTERS]

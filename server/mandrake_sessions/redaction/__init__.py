"""Texts without secrets and without the name of the user's home directory, for what leaves the store."""

from mandrake_sessions.redaction.redactor import AsItIs, Cleaner, Redactor

__all__ = ["AsItIs", "Cleaner", "Redactor"]

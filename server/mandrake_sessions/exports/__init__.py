"""A session as one document for people or programs outside: rendered from one state of the store, piece by piece."""

from mandrake_sessions.exports.conversation import title_in
from mandrake_sessions.exports.document import MAX_BYTES, Document, cleaner_of, document, export_session, for_terminal
from mandrake_sessions.exports.markdown import AS_TYPED

__all__ = [
    "AS_TYPED",
    "MAX_BYTES",
    "Document",
    "cleaner_of",
    "document",
    "export_session",
    "for_terminal",
    "title_in",
]

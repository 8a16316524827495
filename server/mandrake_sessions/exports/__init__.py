"""A session as one document for people or programs outside: rendered from one state of the store, piece by piece."""

from mandrake_sessions.exports.conversation import title_in
from mandrake_sessions.exports.document import MAX_BYTES, Document, cleaner_of, document, export_session

__all__ = ["MAX_BYTES", "Document", "cleaner_of", "document", "export_session", "title_in"]

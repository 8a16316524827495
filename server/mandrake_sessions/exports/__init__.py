"""A session as one document for people or programs outside: rendered from one state of the store, piece by piece."""

from mandrake_sessions.exports.document import MAX_BYTES, Document, document, export_session

__all__ = ["MAX_BYTES", "Document", "document", "export_session"]

"""The formats, and a session in one of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import get_args

from attrs import frozen

from mandrake_sessions.errors import InvalidValue, TooLarge
from mandrake_sessions.exports import atif, jsonl, markdown
from mandrake_sessions.exports.conversation import Conversation
from mandrake_sessions.large_work import LARGE_BYTES, met_large
from mandrake_sessions.late_import import late_import
from mandrake_sessions.model import Export, ExportFormat
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.quoting import must_be_one_of
from mandrake_sessions.redaction import AsItIs, Cleaner, Redactor

# Of a document in an answer, in UTF-8.
MAX_BYTES = 8 * 1024 * 1024


@frozen
class _Format:
    """``redacts``: whether it leaves secrets out unless it is told not to."""

    media_type: str
    parts: Callable[[Conversation, Cleaner], Iterator[str]]
    redacts: bool


def _html(conversation: Conversation, cleaner: Cleaner) -> Iterator[str]:
    with late_import():
        from mandrake_sessions.exports.page import parts
    return parts(conversation, cleaner)


_FORMATS: dict[str, _Format] = {
    "markdown": _Format("text/markdown", markdown.parts, redacts=True),
    "html": _Format("text/html", _html, redacts=True),
    "jsonl": _Format("application/jsonl", jsonl.parts, redacts=False),
    "atif": _Format("application/json", atif.parts, redacts=True),
}


class Document:
    """A session in one format. ``parts`` can be taken once, inside a snapshot. ``redacts``: secrets are replaced;
    ``replaced`` says afterwards how many were."""

    def __init__(self, media_type: str, parts: Iterator[str], cleaner: Cleaner) -> None:
        self.media_type = media_type
        self.parts = parts
        self.redacts = not isinstance(cleaner, AsItIs)
        self._cleaner = cleaner

    @property
    def replaced(self) -> int:
        return self._cleaner.count


def document(
    store: Conversations,
    session_id: str,
    export_format: ExportFormat,
    redact: bool | None = None,
    places: Mapping[str, str] | None = None,
) -> Document:
    """``redact``: None is what the format does by itself. ``places``: the files of other sessions' documents, by their
    ids, as names beside this one, for a format that has links.

    Raises:
        NotFound: there is no such session.
        InvalidValue: there is no such format.
    """
    cleaner, chosen = cleaner_of(export_format, redact), _FORMATS[export_format]
    conversation = Conversation(store, session_id, places)
    return Document(chosen.media_type, chosen.parts(conversation, cleaner), cleaner)


def for_terminal(store: Conversations, session_id: str) -> Iterator[str]:
    """The parts of a session as Markdown, for who draws it, with nothing replaced; what a person typed is in fences of
    the language ``AS_TYPED``. Raises NotFound."""
    return markdown.parts(Conversation(store, session_id), AsItIs(), marks_typed=True)


def cleaner_of(export_format: ExportFormat, redact: bool | None = None) -> Cleaner:
    """What a document goes through. Raises InvalidValue: there is no such format."""
    chosen = _FORMATS.get(export_format)
    if chosen is None:
        raise InvalidValue("format", must_be_one_of(get_args(ExportFormat), export_format))
    return Redactor() if (chosen.redacts if redact is None else redact) else AsItIs()


def export_session(
    store: Conversations, session_id: str, export_format: ExportFormat, redact: bool | None = None
) -> Export:
    """The whole document. Raises what ``document`` raises, and TooLarge beyond ``MAX_BYTES``."""
    made = document(store, session_id, export_format, redact)
    kept: list[str] = []
    size = 0
    for part in made.parts:
        size += len(part.encode())
        if size > MAX_BYTES:
            with store.store.reading() as sql:
                raise _too_large(export_format, _command(sql.path, session_id, export_format, redact))
        if size > LARGE_BYTES:
            met_large()
        kept.append(part)
    return Export("".join(kept), made.media_type, made.replaced)


def _too_large(export_format: ExportFormat, command: str) -> TooLarge:
    return TooLarge(
        "session_id",
        f"the session is more than 8 MiB as {export_format}; read it a page at a time with session/history, or write it"
        f" to a file with `{command}`, which has no such bound",
    )


def _command(store: str, session_id: str, export_format: ExportFormat, redact: bool | None) -> str:
    """What exports the same on a command line, in any directory. ``store``: its name."""
    switch = {None: [], True: ["--redact"], False: ["--no-redact"]}[redact]
    words = ["export", session_id, "--format", export_format, *switch, "--database", store, "--output", "FILE"]
    return shlex.join(["mandrake-sessions", *words])

"""A whole conversation, read from one state of the store, of which a few rounds at a time are in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mandrake_sessions.fields import PLAIN
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.model import HistoryRound, JsonObject, Session, Turn
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.redaction import AsItIs, Cleaner
from mandrake_sessions.store.sql.sessions import PREVIEW_LENGTH

# Characters of a text that are rendered together.
SLICE = 64 * 1024


class Conversation:
    """``session`` and where it was read. To be used inside one snapshot, and by one thread. ``places``: the files of
    other sessions' documents, by their ids, as names beside this one. Raises NotFound."""

    def __init__(self, store: Conversations, session_id: str, places: Mapping[str, str] | None = None) -> None:
        self._store = store
        self.places = places or {}
        self._page = self._read(session_id, None)
        self.session = self._page.session
        self.seq = self._page.seq
        self.store_id = self._page.store_id

    def rounds(self) -> Iterator[HistoryRound]:
        """All of them, oldest first; once. The turns of a round, and the tool calls and texts of a turn, may be
        iterators that are to be taken before the next one is."""
        page = self._page
        while True:
            yield from page.rounds
            if page.next_cursor is None:
                return
            page = self._read(self.session.id, page.next_cursor)

    def again(self, turn: Turn) -> Turn:
        """The same turn, its iterators at their beginning."""
        return self._store.get_turn(turn.id, lazily=True)

    def other(self, session_id: str) -> Session:
        return self._store.get_session(session_id)

    def children(self) -> tuple[list[Session], bool]:
        """The sessions that came from it, the latest first, and whether there are more: it is one page."""
        page = self._store.list_sessions(parent_id=self.session.id, archived=None, limit=MAX_LIMIT)
        return page.sessions, page.next_cursor is not None

    def _read(self, session_id: str, cursor: str | None) -> Any:
        return self._store.history(session_id, limit=MAX_LIMIT, cursor=cursor, include_raw=True, lazily=True)


def is_long(turn: Turn) -> bool:
    """Whether its tool calls and texts are iterators."""
    return isinstance(turn.tool_calls, Iterator)


def is_plain(turn: Turn) -> bool:
    """Whether its text is what a program has printed, and no Markdown."""
    return turn.kind in ("tool_output", "stderr") or _is_plain_text(turn.metadata)


def is_typed(each: HistoryRound) -> bool:
    """Whether the request is a command line, and no Markdown."""
    return _is_plain_text(each.metadata)


def _is_plain_text(metadata: JsonObject) -> bool:
    return all(metadata.get(name) == value for name, value in PLAIN.items())


def slices(text: str | Iterable[str] | None) -> Iterator[str]:
    """A text in parts, whether it was read whole or not."""
    if text is None:
        return
    if not isinstance(text, str):
        yield from text
        return
    for start in range(0, len(text), SLICE):
        yield text[start : start + SLICE]


def title_in(session: Session, cleaner: Cleaner) -> str:
    """What stands for the session in a document, on one line: its title, or the beginning of its first request. Empty
    where it has neither."""
    title = cleaner.text(session.title) if session.title else preview(session, cleaner) or ""
    return " ".join(title.split())


def preview(session: Session, cleaner: Cleaner) -> str | None:
    """The beginning of the first request. It may end within a secret, which nobody would know for one any more; so the
    last word of a preview that was cut does not go out with a cleaner that replaces something."""
    text = session.preview
    if text is None or len(text) < PREVIEW_LENGTH or isinstance(cleaner, AsItIs):
        return None if text is None else cleaner.text(text)
    return cleaner.text(re.sub(r"\S{1,200}$", "", text) + "…")

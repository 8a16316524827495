"""The sessions that this one came from and that came from it, as links where they have a page beside this one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import quote

from markupsafe import Markup

from mandrake_sessions.exports.conversation import Conversation, title_in
from mandrake_sessions.exports.page.text import line
from mandrake_sessions.model import Relation, Session
from mandrake_sessions.redaction import Cleaner

_WORDS = {Relation.FORK: "Fork", Relation.SUBAGENT: "Subagent", Relation.CONTINUATION: "Continuation", None: "Session"}
_OF_PARENT = {
    Relation.FORK: "Fork of",
    Relation.SUBAGENT: "Subagent of",
    Relation.CONTINUATION: "Continues",
    None: "Comes from",
}


class Related:
    def __init__(self, conversation: Conversation, cleaner: Cleaner) -> None:
        self._conversation = conversation
        self._cleaner = cleaner
        self._children, self._has_more = conversation.children()
        self._by_call: dict[str, list[Session]] = defaultdict(list)
        self._by_round: dict[str, list[Session]] = defaultdict(list)
        for child in reversed(self._children):
            if child.parent_tool_call_id is not None:
                self._by_call[child.parent_tool_call_id].append(child)
            elif child.forked_from_round_id is not None:
                self._by_round[child.forked_from_round_id].append(child)

    def parent(self) -> tuple[str, Markup] | None:
        """A word for what this session is to it, and the link."""
        session = self._conversation.session
        if session.parent_id is None:
            return (_OF_PARENT[session.relation], Markup("a session that is gone")) if session.relation else None
        return _OF_PARENT[session.relation], self._link(self._conversation.other(session.parent_id))

    def children(self) -> Iterator[Markup]:
        """All of them, oldest first."""
        for child in reversed(self._children):
            yield self._child(child)
        if self._has_more:
            yield Markup("and more")

    def of_call(self, call_id: str) -> Iterator[Markup]:
        """Those that a call of a tool began."""
        for child in self._by_call.get(call_id, ()):
            yield Markup('<p class="child">{}</p>\n').format(self._child(child))

    def of_round(self, round_id: str) -> Iterator[Markup]:
        """Those that were forked there."""
        for child in self._by_round.get(round_id, ()):
            yield Markup('<p class="child">{}</p>\n').format(self._child(child))

    def _child(self, child: Session) -> Markup:
        return Markup("{}: {}").format(_WORDS[child.relation], self._link(child))

    def _link(self, session: Session) -> Markup:
        title = title_in(session, self._cleaner)
        shown = line(title) if title else Markup("a conversation")
        place = self._conversation.places.get(session.id)
        if place is not None:
            return Markup('<a href="{}">{}</a>').format(quote(place), shown)
        return Markup("{} <code>mandrake-sessions show {}</code>").format(shown, session.id)

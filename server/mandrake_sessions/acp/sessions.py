"""The sessions of a recorder in one store: found again, made with their first round, and put below their parents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from attrs import define, evolve, field

from mandrake_sessions import rules
from mandrake_sessions.acp.events import Began, Described, Event
from mandrake_sessions.acp.known import KnownSession
from mandrake_sessions.acp.leftovers import end_left_open
from mandrake_sessions.acp.losses import lost_in_all
from mandrake_sessions.acp.storable import lenient
from mandrake_sessions.acp.waiting_files import Lost
from mandrake_sessions.errors import InvalidValue, NotFound
from mandrake_sessions.importing.elsewhere import OtherNames
from mandrake_sessions.importing.shaping import usable
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Relation
from mandrake_sessions.operations.imports import Imports

# What the sessions of a recorder have as their source.
SOURCE: Final = "acp"


@define(eq=False)
class Sessions:
    """``known``: by the agent's id. An agent process has sessions of one agent."""

    _manager: SessionManager
    known: dict[str, KnownSession] = field(init=False, factory=dict)

    def begin(self, event: Began) -> None:
        """A session that is here already goes on; what another recorder has left open of it ends."""
        session = self.known.get(event.session)
        if session is None:
            session = self.known[event.session] = KnownSession(event, metadata=dict(event.metadata))
            session.id = self._find(event.agent, session.began.session)
            if session.id is not None:
                end_left_open(self._manager, session.id)
                self._take_over(session)
        else:
            before = session.began
            session.began = evolve(
                event,
                at=min(before.at, event.at),
                cwd=event.cwd or before.cwd,
                relation=event.relation or before.relation,
                parent=event.parent or before.parent,
                parent_tool_call=event.parent_tool_call or before.parent_tool_call,
            )
            self._set_metadata(session, event.metadata)
        if session.is_gone:
            return
        if event.is_kept:
            self.stored(session)
        elif session.id is not None:
            self._set_parent(session)

    def describe(self, session: KnownSession, event: Described) -> None:
        """A title that somebody has given here meanwhile stays."""
        if event.title is not None and session.id is None:
            session.title = event.title
        elif event.title is not None and session.id is not None:
            present = self._manager.get_session(session.id).title
            if present in (None, session.title):
                done = lenient(self._updater(session.id), {"title": event.title}, rules.SESSION_UPDATE)
                session.title = done.title
        self._set_metadata(session, event.metadata)

    def lose(self, session: KnownSession, lost: Lost) -> None:
        """Something was lost of which nobody knows to which round it belongs."""
        before = session.metadata.get("lost")
        self._set_metadata(session, {"lost": lost_in_all(before, lost)})

    def stored(self, session: KnownSession) -> str:
        """The id in the store, in which it is from now on."""
        if session.id is None:
            began = session.began
            session.id = self._find(began.agent, session.began.session)
            if session.id is None:
                session.id = self._make(session)
                for child in self._children(began):
                    self._set_parent(child)
            else:
                self._take_over(session)
        return session.id

    def is_there(self, session: KnownSession) -> bool:
        with suppress(NotFound):
            self._manager.get_session(session.id)
            return True
        return False

    def look_again(self) -> None:
        """The store is another one, or was put back: sessions that are not in it are made again with the next thing
        that is said in them."""
        for session in self.known.values():
            if session.id is not None and not session.is_gone and not self.is_there(session):
                session.id = None
                for known in session.rounds.values():
                    known.forget()

    def above(self, event: Event | Lost) -> list[str]:
        """The session of an event, and those that may be stored with it."""
        name: str | None = event.session
        found = []
        parent = event.parent if isinstance(event, Began) else None
        while name is not None and name not in found:
            found.append(name)
            known = self.known.get(name)
            name = parent or (None if known is None else known.began.parent)
            parent = None
        return found

    def clones(self, names: Iterable[str]) -> dict[str, KnownSession | None]:
        return {name: None if (known := self.known.get(name)) is None else known.clone() for name in names}

    def _find(self, agent: str, name: str) -> str | None:
        """The id of the session, recorded or brought in, under any name of its agent."""
        with suppress(NotFound, InvalidValue):
            found = OtherNames(self._manager, {agent}).id_of(agent, name)
            return self._manager.get_session(found).id
        return None

    def _make(self, session: KnownSession) -> str:
        began = session.began
        fields: dict[str, Any] = {
            "external_id": session.began.session,
            "agent": began.agent,
            "source": SOURCE,
            "metadata": dict(session.metadata),
            "created_at": usable(began.at),
        }
        if began.cwd is not None:
            fields["cwd"] = began.cwd
        if session.title is not None:
            fields["title"] = session.title
        if began.relation is not None:
            fields["relation"] = began.relation
        if (parent_id := self._parent_of(session)) is not None:
            fields |= {"parent_id": parent_id, "parent_tool_call_id": began.parent_tool_call}
        made = lenient(lambda given: self._manager.create_session(**given), fields, rules.SESSION)
        session.title = made.title
        return made.id

    def _take_over(self, session: KnownSession) -> None:
        """It is recorded from now on, also where it was brought in before, so that an import adds no rounds to it."""
        assert session.id is not None
        present = self._manager.get_session(session.id)
        if session.title not in (None, present.title) and present.title is None:
            present = lenient(self._updater(session.id), {"title": session.title}, rules.SESSION_UPDATE)
        session.title = present.title
        wanted, session.metadata = session.metadata, dict(present.metadata)
        if (present.source or "").startswith("import:"):
            self._manager.update_session(session.id, source=SOURCE)
        self._set_metadata(session, wanted)

    def _set_metadata(self, session: KnownSession, given: Any) -> None:
        if session.id is not None and given:
            # Somebody else may have written there too.
            session.metadata = dict(self._manager.get_session(session.id).metadata)
        before = dict(session.metadata)
        for name, value in given.items():
            if value is None:
                session.metadata.pop(name, None)
            else:
                session.metadata[name] = value
        if session.id is not None and session.metadata != before:
            lenient(self._updater(session.id), {"metadata": session.metadata}, rules.SESSION_UPDATE)

    def _updater(self, session_id: str) -> Any:
        return lambda given: self._manager.update_session(session_id, **given)

    def _parent_of(self, session: KnownSession) -> str | None:
        """The id of the parent, which is stored now if it is known. None: it may come later."""
        parent = session.began.parent
        if parent is None or parent == session.began.session:
            return None
        known = self.known.get(parent)
        if known is None:
            return self._find(session.began.agent, parent)
        if known.is_gone:
            return None
        if known.id is None and self._is_below(known, session):
            return None
        return self.stored(known)

    def _is_below(self, session: KnownSession, above: KnownSession) -> bool:
        """Whether what an agent said of parents leads from the one to the other; in a circle it does too."""
        seen: set[str] = set()
        at: KnownSession | None = session
        while at is not None and at.began.session not in seen:
            if at is above:
                return True
            seen.add(at.began.session)
            at = None if at.began.parent is None else self.known.get(at.began.parent)
        return at is not None

    def _set_parent(self, session: KnownSession) -> None:
        assert session.id is not None
        began = session.began
        present = self._manager.get_session(session.id)
        if present.parent_id is not None or began.parent is None or began.relation is None:
            return
        parent_id = self._parent_of(session)
        if parent_id is not None and parent_id != session.id:
            relation = Relation(began.relation)
            Imports(self._manager.store).set_parent(session.id, parent_id, relation, began.parent_tool_call)

    def _children(self, parent: Began) -> Iterator[KnownSession]:
        """Those that are stored and have waited for this parent."""
        return (
            session
            for session in list(self.known.values())
            if session.began.parent == parent.session and session.id is not None and not session.is_gone
        )

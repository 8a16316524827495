"""Sessions: create, look up, list, change, delete, and read as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, Unpack

from attrs import astuple

from mandrake_sessions import rules
from mandrake_sessions.errors import Conflict, InvalidValue, NotFound, Words
from mandrake_sessions.fields import NewSession, SessionsWanted, SessionUpdate
from mandrake_sessions.model import ChangeKind, Counts, Deleted, Session, SessionPage, SessionState, Sort
from mandrake_sessions.operations.base import Operations, check_same, create_hash
from mandrake_sessions.paging import DEFAULT_LIMIT, check_limit, decode_cursor, encode_cursor, take_page
from mandrake_sessions.quoting import shorten, shown
from mandrake_sessions.store.interface import Sql, Transaction
from mandrake_sessions.store.sql import changes, session_lists, sessions, turns
from mandrake_sessions.store.sql.seq import last_seq


class Unset(Enum):
    """The value of an argument that was left out, where None means something."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class SessionOperations(Operations):
    def create_session(self, **fields: Unpack[NewSession]) -> Session:
        """Make a session. With an ``id`` of the caller's the same call can be sent again: it gives the session as it
        now is and writes nothing.

        Raises:
            NotFound: no session has the ``parent_id``.
            Conflict: ``idInUse`` by a session made with other fields, or ``externalIdInUse``.
        """
        columns = rules.checked(rules.NEW_SESSION, fields)
        given = create_hash(fields, columns)
        with self._write() as tx:
            if (made := made_before(tx.sql, columns.get("id"), given)) is not None:
                return made
            rules.check_times(columns)
            if (parent_id := columns.get("parent_id")) is not None:
                sessions.get_session(tx.sql, parent_id)
            check_external_id(tx, columns.get("agent"), columns.get("external_id"), None)
            stored = sessions.insert_session(tx, columns, given)
            changes.record_session_change(tx, stored.pk, ChangeKind.SESSION_CREATED, stored.pk)
        return stored.session

    def get_session(
        self,
        session_id: str | None = None,
        *,
        external_id: str | None = None,
        agent: str | Literal[Unset.UNSET] | None = UNSET,
    ) -> Session:
        """The session of either name; exactly one must be given. ``agent``: the program that has the ``external_id``
        for it; None means the sessions of none.

        Raises:
            NotFound: there is none.
            Conflict: ``ambiguous``: several agents have the ``external_id``, and ``agent`` is not given.
        """
        if (session_id is None) == (external_id is None):
            raise _name_one(has_both=session_id is not None, has_agent=agent is not UNSET)
        if session_id is not None and agent is not UNSET:
            raise InvalidValue("agent", _agent_without_external_id)
        with self._read() as sql:
            if session_id is not None:
                return sessions.get_session(sql, rules.uuid("session_id", session_id)).session
            name = rules.text("external_id", external_id)
            whose = None if agent is UNSET else rules.optional(rules.text)("agent", agent)
            found_id = _of_any(sql, name) if agent is UNSET else _of_agent(sql, whose, name)
            if found_id is None:
                raise NotFound("session", name)
            return sessions.get_session(sql, found_id).session

    def find_session(self, name: str, *, agent: str | Literal[Unset.UNSET] = UNSET) -> Session:
        """The session that a person means: by its id, the beginning of its id, the name that another program has for
        it, or at least six characters from the beginning of that. ``agent``: that program. A whole id always means the
        session that has it.

        Raises:
            NotFound: there is none.
            Conflict: ``ambiguous``: it may be one of several.
        """
        found = self.sessions_named(name, agent=agent)
        if not found:
            raise NotFound("session", name)
        if len(found) > 1:
            ids = [session.id for session in found]
            raise Conflict(
                "ambiguous",
                f"{shorten(repr(name))} may mean {len(found)} sessions; give more of the id: {', '.join(ids)}",
                candidates=ids,
            )
        return found[0]

    def sessions_named(self, name: str, *, agent: str | Literal[Unset.UNSET] = UNSET) -> list[Session]:
        """All sessions that a person may mean by the name (``find_session``), each once, some 40 at the most. An empty
        name means none."""
        rules.text("session", name)
        with self._read() as sql:
            return [sessions.get_session(sql, each).session for each in _ids_named(sql, name, agent)]

    def list_sessions(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        sort: Sort = "changed",
        lazily: bool = False,
        **wanted: Unpack[SessionsWanted],
    ) -> SessionPage:
        """Sessions, last changed first, or with ``sort="active"`` last active first. With ``lazily`` the page is an
        iterator that makes its sessions while it is used.

        Raises:
            InvalidValue: a filter or ``limit`` breaks its rule, or ``cursor`` is that of another list.
        """
        sort = check_sort(sort)
        filtered = session_filter(wanted)
        key = [sort, *astuple(filtered)]
        before = decode_cursor(cursor, "sessions", key, 1 if sort == "changed" else 2)
        limit = check_limit(limit)
        with self._read() as sql:
            found = session_lists.list_sessions(sql, filtered, before, limit + 1, sort=sort)
            page, more = take_page(found, lambda row: row.weight, limit)
            seq, store_id = last_seq(sql), changes.store_id(sql)
            listed: Any = self._while_asked(row.session for row in page)
            if not lazily:
                listed = list(listed)
        following = encode_cursor("sessions", key, page[-1].position(sort)) if more else None
        return SessionPage(listed, following, seq, store_id)

    def update_session(self, session_id: str, **fields: Unpack[SessionUpdate]) -> Session:
        """Change what is given. ``archived`` sets or clears ``archived_at``.

        Raises:
            NotFound: no such session.
            Conflict: ``externalIdInUse``.
        """
        columns = rules.checked(rules.SESSION_UPDATE, fields)
        session_id = rules.uuid("session_id", session_id)
        with self._write() as tx:
            stored = sessions.get_session(tx.sql, session_id, lenient=True)
            if "external_id" in columns or "agent" in columns:
                names = {"agent": stored.session.agent, "external_id": stored.session.external_id} | columns
                check_external_id(tx, names["agent"], names["external_id"], stored.pk)
            if "archived" in columns:
                since = stored.session.archived_at
                columns["archived_at"] = None if not columns.pop("archived") else tx.now if since is None else since
            return touch_session(tx, stored.pk, columns)

    def delete_session(self, session_id: str) -> Deleted:
        """Delete a session and all that hangs from it, in the feed too. Those that came from it stay, without a parent.
        Raises NotFound."""
        session_id = rules.uuid("session_id", session_id)
        with self._write() as tx:
            stored = sessions.get_session(tx.sql, session_id, lenient=True)
            rounds = sessions.count_rounds(tx.sql, stored.pk)
            turn_pks = turns.turn_pks_of_session(tx.sql, stored.pk)
            for child_pk in sessions.children_of(tx.sql, session_id):
                touch_session(tx, child_pk, {"parent_id": None, "forked_from_round_id": None})
            seq = tx.next_seq()
            changes.forget_turns(tx, turn_pks)
            changes.forget_session(tx, stored.pk)
            sessions.delete_session(tx, stored.pk)
            changes.record_session_deleted(tx, seq, stored.pk, session_id)
        return Deleted(Counts(1, rounds, rounds, rounds, len(turn_pks)))


def made_before(sql: Sql, session_id: str | None, given: bytes | None) -> Session | None:
    """The session that the same call has made. Raises Conflict where another one has its id."""
    existing = None if session_id is None else sessions.find_session(sql, session_id)
    if existing is None:
        return None
    check_same("session", existing.session.id, existing.create_hash, given)
    return existing.session


def touch_session(tx: Transaction, pk: int, columns: dict[str, object]) -> Session:
    """A change to the session itself, heard as ``updated``; values that are there already are no change."""
    if sessions.session_differs(tx.sql, pk, columns):
        seq = tx.next_seq()
        sessions.update_session(tx, pk, columns, seq)
        changes.record_session_change(tx, seq, ChangeKind.SESSION_UPDATED, pk)
    return sessions.session_by_pk(tx.sql, pk).session


def _name_one(*, has_both: bool, has_agent: bool) -> InvalidValue:
    def wording(words: Words) -> str:
        own, external = words.field("session_id"), words.field("external_id")
        if has_both:
            return f"give {own} or {external}, not both"
        beside = f"; {words.field('agent')} alone names no session" if has_agent else ""
        return f"give {own} or {external}{beside}"

    return InvalidValue("", wording)


def _agent_without_external_id(words: Words) -> str:
    return f"goes with {words.field('external_id')}, not with {words.field('session_id')}; leave it out"


def check_sort(sort: Sort) -> Sort:
    """Raises InvalidValue."""
    if sort not in ("changed", "active"):
        raise InvalidValue("sort", f"must be changed or active, not {shown(sort)}")
    return sort


def session_filter(wanted: SessionsWanted) -> session_lists.SessionFilter:
    """The filter that a caller asks for. Raises InvalidValue."""
    given: dict[str, Any] = {"archived": False, **wanted}
    checked = {name: rules.optional(_FILTERS[name])(name, value) for name, value in given.items()}
    if (query := checked.get("query")) is not None:
        checked["query"] = query.casefold()
    if (cwd := checked.get("cwd")) is not None:
        checked["cwd"] = cwd.rstrip("/")
    return session_lists.SessionFilter(**checked)


_FILTERS: Mapping[str, rules.Rule] = {
    "archived": rules.boolean,
    "query": rules.text,
    "parent_id": rules.uuid,
    "streaming": rules.boolean,
    "state": rules.one_of(SessionState),
    "agent": rules.text,
    "source": rules.text,
    "cwd": rules.directory,
    "active_since": rules.count,
    "active_until": rules.count,
}


def _of_any(sql: Sql, external_id: str) -> str | None:
    """The id of the one session that has the name. Raises Conflict where several have it."""
    found = sessions.find_sessions_by_external_id(sql, external_id, _MAX_CANDIDATES)
    if len(found) > 1:
        agents = ", ".join("none" if each.agent is None else shorten(repr(each.agent)) for each in found)
        raise Conflict(
            "ambiguous",
            lambda words: (
                f"{len(found)} sessions have the {words.field('external_id')} {shorten(repr(external_id))}, "
                f"of the agents {agents}; give the {words.field('agent')} too, or an id in place of the name: "
                + ", ".join(each.id for each in found)
            ),
            candidates=[each.id for each in found],
        )
    return found[0].id if found else None


def _ids_named(sql: Sql, name: str, agent: str | Literal[Unset.UNSET]) -> list[str]:
    """The session of that id alone. Else those that a program has this name for, or a name that begins so if none has
    it, and those whose ids begin so; but where somebody says whose name it is, a beginning of an id is not meant if
    that program has the name."""
    beginning = name.lower()
    begins = sessions.sessions_beginning_with(sql, beginning, _MAX_CANDIDATES) if _is_part_of_id(beginning) else []
    if beginning in begins or not name:
        return begins[:1]
    if agent is UNSET:
        holders = [each.id for each in sessions.find_sessions_by_external_id(sql, name, _MAX_CANDIDATES)]
        if not holders:
            holders = _names_beginning_with(sql, name, ())
        return list(dict.fromkeys([*holders, *begins]))
    whose = rules.text("agent", agent)
    holder = _of_agent(sql, whose, name)
    return list(dict.fromkeys([*_names_beginning_with(sql, name, (whose,)), *begins])) if holder is None else [holder]


def _names_beginning_with(sql: Sql, beginning: str, agents: tuple[str, ...]) -> list[str]:
    """The sessions whose names in other programs begin so; none where that is too short to mean one. ``agents``: these
    programs alone, if any."""
    if len(beginning) < _LEAST_OF_NAME:
        return []
    return sessions.external_ids_beginning_with(sql, beginning, agents, _MAX_CANDIDATES)


def _is_part_of_id(text: str) -> bool:
    return _PART_OF_ID.fullmatch(text) is not None


def _of_agent(sql: Sql, agent: str | None, external_id: str) -> str | None:
    holder = sessions.holder_of_external_id(sql, agent, external_id)
    return None if holder is None else holder.id


_PART_OF_ID = re.compile(r"[0-9a-f-]{1,36}")
# A shorter beginning of another program's name is none.
_LEAST_OF_NAME = 6
# So many are named where a name is ambiguous.
_MAX_CANDIDATES = 20


def check_external_id(tx: Transaction, agent: str | None, external_id: str | None, own_pk: int | None) -> None:
    """Raises Conflict where another session than that of ``own_pk`` has the name."""
    if external_id is None:
        return
    holder = sessions.holder_of_external_id(tx.sql, agent, external_id)
    if holder is not None and holder.pk != own_pk:
        whose = "" if agent is None else f" of agent {shorten(repr(agent))}"
        raise Conflict(
            "externalIdInUse",
            lambda words: (
                f"session {holder.id}{whose} has the {words.field('external_id')} {shorten(repr(external_id))}; "
                f"get it with {words.operation('get_session')}, by its id"
            ),
            actual=holder.id,
        )

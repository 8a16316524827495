"""Sessions: create, look up, list, change, delete, and read as a whole."""

from __future__ import annotations

from typing import Any, Unpack

from mandrake_sessions import rules
from mandrake_sessions.errors import Conflict, InvalidValue, NotFound
from mandrake_sessions.fields import NewSession, SessionUpdate
from mandrake_sessions.model import ChangeKind, Counts, Deleted, Session, SessionPage
from mandrake_sessions.operations.base import Operations, check_same, create_hash
from mandrake_sessions.paging import DEFAULT_LIMIT, check_limit, decode_cursor, encode_cursor, take_page
from mandrake_sessions.quoting import shorten
from mandrake_sessions.store.interface import Transaction
from mandrake_sessions.store.sql import changes, sessions, turns
from mandrake_sessions.store.sql.seq import last_seq


class SessionOperations(Operations):
    def create_session(self, **fields: Unpack[NewSession]) -> Session:
        """Make a session. With an ``id`` of the caller's the same call can be sent again: it gives the session as it
        now is and writes nothing.

        Raises:
            Conflict: ``idInUse`` by a session made with other fields, or ``externalIdInUse``.
        """
        columns = rules.checked(rules.SESSION, fields)
        given = create_hash(fields, columns)
        with self._write() as tx:
            if given is not None and (existing := sessions.find_session(tx.sql, columns["id"])):
                check_same("session", columns["id"], existing.create_hash, given)
                return existing.session
            _check_external_id(tx, columns.get("external_id"), None)
            stored = sessions.insert_session(tx, columns, given)
            changes.record_session_change(tx, stored.pk, ChangeKind.SESSION_CREATED, stored.pk)
        return stored.session

    def get_session(self, session_id: str | None = None, *, external_id: str | None = None) -> Session:
        """The session of either name; exactly one must be given. Raises NotFound."""
        if (session_id is None) == (external_id is None):
            raise InvalidValue("", "give one of its two names, the session's id or its external id, and not both")
        with self._read() as sql:
            if session_id is not None:
                return sessions.get_session(sql, rules.uuid("session_id", session_id)).session
            name = rules.text("external_id", external_id)
            found = sessions.find_session_by_external_id(sql, name)
            if found is None:
                raise NotFound("session", name)
            return found.session

    def list_sessions(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        archived: bool | None = False,
        query: str | None = None,
        parent_id: str | None = None,
        streaming: bool | None = None,
        lazily: bool = False,
    ) -> SessionPage:
        """Sessions, last changed first. ``archived=None`` gives both kinds; ``query`` is looked for in title,
        description and preview, in any case; ``parent_id`` gives the forks of a session. With ``lazily`` the page
        is an iterator that makes its sessions while it is used.

        Raises:
            InvalidValue: a filter or ``limit`` breaks its rule, or ``cursor`` is that of another list.
        """
        wanted = sessions.SessionFilter(
            archived if archived is None else rules.boolean("archived", archived),
            None if query is None else rules.text("query", query).casefold(),
            None if parent_id is None else rules.uuid("parent_id", parent_id),
            streaming if streaming is None else rules.boolean("streaming", streaming),
        )
        key = [wanted.archived, wanted.query, wanted.parent_id, wanted.streaming]
        before = decode_cursor(cursor, "sessions", key)
        limit = check_limit(limit)
        with self._read() as sql:
            found = sessions.list_sessions(sql, wanted, before, limit + 1)
            page, more = take_page(found, lambda row: row.weight, limit)
            seq, store_id = last_seq(sql), changes.store_id(sql)
            listed: Any = self._while_asked(row.session for row in page)
            if not lazily:
                listed = list(listed)
        return SessionPage(listed, encode_cursor("sessions", key, page[-1].seq) if more else None, seq, store_id)

    def update_session(self, session_id: str, **fields: Unpack[SessionUpdate]) -> Session:
        """Change what is given. ``archived`` sets or clears ``archived_at``.

        Raises:
            NotFound: no such session.
            Conflict: ``externalIdInUse``.
        """
        columns = rules.checked(rules.SESSION, fields)
        session_id = rules.uuid("session_id", session_id)
        with self._write() as tx:
            stored = sessions.get_session(tx.sql, session_id, lenient=True)
            if "external_id" in columns:
                _check_external_id(tx, columns["external_id"], stored.pk)
            if "archived" in columns:
                since = stored.session.archived_at
                columns["archived_at"] = None if not columns.pop("archived") else tx.now if since is None else since
            return touch_session(tx, stored.pk, columns)

    def delete_session(self, session_id: str) -> Deleted:
        """Delete a session and all that hangs from it, in the feed too. Raises NotFound."""
        session_id = rules.uuid("session_id", session_id)
        with self._write() as tx:
            stored = sessions.get_session(tx.sql, session_id, lenient=True)
            rounds = sessions.count_rounds(tx.sql, stored.pk)
            turn_pks = turns.turn_pks_of_session(tx.sql, stored.pk)
            seq = tx.next_seq()
            changes.forget_turns(tx, turn_pks)
            changes.forget_session(tx, stored.pk)
            sessions.delete_session(tx, stored.pk)
            changes.record_session_deleted(tx, seq, stored.pk, session_id)
        return Deleted(Counts(1, rounds, rounds, rounds, len(turn_pks)))


def touch_session(tx: Transaction, pk: int, columns: dict[str, object]) -> Session:
    """A change to the session itself, heard as ``updated``; values that are there already are no change."""
    if sessions.session_differs(tx.sql, pk, columns):
        seq = tx.next_seq()
        sessions.update_session(tx, pk, columns, seq)
        changes.record_session_change(tx, seq, ChangeKind.SESSION_UPDATED, pk)
    return sessions.session_by_pk(tx.sql, pk).session


def _check_external_id(tx: Transaction, external_id: str | None, own_pk: int | None) -> None:
    if external_id is None:
        return
    holder = sessions.holder_of_external_id(tx.sql, external_id)
    if holder is not None and holder[0] != own_pk:
        raise Conflict(
            "externalIdInUse",
            lambda words: (
                f"session {holder[1]} has the {words.field('external_id')} {shorten(repr(external_id))}; "
                f"get it with {words.operation('get_session')}"
            ),
            actual=holder[1],
        )

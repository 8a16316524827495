"""Following the feed: where a listener begins, and what has been committed since."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from mandrake_sessions import rules
from mandrake_sessions.errors import FeedPruned, InvalidValue
from mandrake_sessions.model import Change, FeedStart, Scope, Session
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.store.interface import Sql
from mandrake_sessions.store.sql import changes, rounds, session_lists, sessions, turns
from mandrake_sessions.store.sql.readable import readable
from mandrake_sessions.store.sql.seq import last_seq

FIRST_SESSIONS = 50


class Feed(Operations):
    """The changes of a store, for those who follow them."""

    def turn_scope(
        self, *, turn_id: str | None = None, response_id: str | None = None, session_id: str | None = None
    ) -> Scope:
        """The part of the store that one of these ids means; the whole without one. Raises NotFound."""
        given = [value for value in (turn_id, response_id, session_id) if value is not None]
        if len(given) > 1:
            raise InvalidValue("", "give the id of one turn, response or session, or none for the whole store")
        with self._read() as sql:
            if session_id is not None:
                session_id = rules.uuid("session_id", session_id)
                return Scope(sessions.get_session(sql, session_id).session.id)
            if response_id is not None:
                response_id = rules.uuid("response_id", response_id)
                detail = rounds.get_round_of_response(sql, response_id).detail
                return Scope(detail.round.session_id, detail.round.id, response_id)
            if turn_id is not None:
                turn_id = rules.uuid("turn_id", turn_id)
                stored = turns.get_turn(sql, turn_id)
                detail = rounds.round_by_pk(sql, stored.round_pk).detail
                return Scope(detail.round.session_id, detail.round.id, detail.response.id, turn_id)
        return Scope()

    def follow_turns(
        self,
        scope: Scope,
        *,
        since: int | None = None,
        store_id: str | None = None,
        include_raw: bool = False,
        include_text: bool = True,
        lazily: bool = False,
    ) -> FeedStart:
        """The position from which to follow the turns of ``scope`` without a gap: from ``since`` on where that is kept,
        else from the state given, which is that at ``seq`` (a turn or a response: those turns; wider: those that
        stream). With ``lazily``, inside a snapshot, the state is an iterator that reads it while it is used.
        """
        with self._read() as sql:
            start = _start(sql, since, store_id)
            if since is not None and not start.reset:
                return start
            found = _turns_in(sql, scope)
            loaded = self._turns(sql, found, text=include_text, raw=include_raw, lazily=lazily)
            return FeedStart(start.store_id, start.seq, start.reset, turns=loaded)

    def follow_sessions(
        self,
        session_id: str | None = None,
        *,
        since: int | None = None,
        store_id: str | None = None,
        lazily: bool = False,
    ) -> FeedStart:
        """The same for sessions: the one, or the 50 last changed of a whole store. Raises NotFound."""
        with self._read() as sql:
            start = _start(sql, since, store_id)
            found = _sessions_in(sql, session_id)
            if since is not None and not start.reset:
                return start
            listed: Any = self._while_asked(found)
            if not lazily:
                listed = list(listed)
            return FeedStart(start.store_id, start.seq, start.reset, sessions=listed)

    def changes_since(self, seq: int, *, limit: int = 1000) -> list[Change]:
        """Committed changes above ``seq``, this process's and others', in order: ``limit`` at the most, and not much
        more than 1 MiB of text, but one at least where there is one.

        Raises:
            FeedPruned: not all of them are kept any more.
        """
        with self._read() as sql:
            if seq < changes.pruned_seq(sql):
                raise FeedPruned(seq)
            return changes.read_changes(sql, seq, limit)

    def sessions_now(self, session_ids: set[str]) -> dict[str, Session]:
        """These sessions as they are, those that are there and can be read."""
        with self._read() as sql:
            found = readable(sql, session_ids, partial(sessions.find_session, sql))
            return {stored.session.id: stored.session for stored in found if stored is not None}

    def last_seq(self) -> int:
        """The ``seq`` of the last committed change, inside a transaction of that one's own; 0 in a new store."""
        return self.store.last_seq()

    def store_id(self) -> str:
        """The name of this file's history. It changes when the file is restored or replaced."""
        with self._read() as sql:
            return changes.store_id(sql) or ""


def _start(sql: Sql, since: int | None, store_id: str | None) -> FeedStart:
    own_id, seq = changes.store_id(sql), last_seq(sql)
    store_id = None if store_id is None else store_id.lower()
    if since is None:
        return FeedStart(own_id, seq, reset=False)
    kept = changes.pruned_seq(sql) <= rules.count("since", since) <= seq and store_id in (None, own_id)
    # Where the feed lost its newest rows, what came after `since` is not all there.
    whole = since == seq or changes.last_kept(sql) == seq
    return FeedStart(own_id, since, reset=False) if kept and whole else FeedStart(own_id, seq, reset=True)


def _turns_in(sql: Sql, scope: Scope) -> Iterator[turns.StoredTurn]:
    if scope.turn_id is not None:
        return iter([turns.get_turn(sql, scope.turn_id)])
    if scope.response_id is not None:
        stored = rounds.get_round_of_response(sql, scope.response_id)
        return turns.list_turns(sql, stored.pk)
    if scope.session_id is not None:
        return turns.streaming_turns(sql, sessions.get_session(sql, scope.session_id).pk)
    return turns.streaming_turns(sql)


def _sessions_in(sql: Sql, session_id: str | None) -> Iterator[Session]:
    if session_id is not None:
        return iter([sessions.get_session(sql, rules.uuid("session_id", session_id)).session])
    newest = session_lists.list_sessions(sql, session_lists.SessionFilter(archived=None), None, FIRST_SESSIONS)
    return (row.session for row in newest)

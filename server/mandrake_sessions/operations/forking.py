"""Forks: a copy of a session, or of its beginning, as a session of its own.

The copy is of one state of the store. A short one is written in one transaction; a long one in steps, each of which
holds the lock for a moment, into a session that nobody is shown before the last of them (``sql/hidden.py``). What
others do to the source meanwhile comes after the fork, as if it had taken no time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from mandrake_sessions import rules
from mandrake_sessions.errors import InvalidValue, SessionsError, StoreMoved, TooLarge
from mandrake_sessions.fields import NewFork
from mandrake_sessions.ids import now_ms
from mandrake_sessions.large_work import LargeWork
from mandrake_sessions.limits import MAX_FORK_BYTES, MAX_FORK_PARTS
from mandrake_sessions.model import ChangeKind, Relation, Session
from mandrake_sessions.operations.base import create_hash
from mandrake_sessions.operations.sessions import made_before
from mandrake_sessions.stopping import Unstoppable, check_wanted
from mandrake_sessions.store.interface import EntityStore, Sql, Transaction
from mandrake_sessions.store.sql import changes, hidden, rounds, sessions
from mandrake_sessions.store.sql.copying import Copy, Part, copied_columns, each_part

logger = logging.getLogger(__name__)

# One step writes, or deletes, for so long, and takes about so many bytes at the most.
STEP_SECONDS = 0.005
STEP_BYTES = 256 * 1024
STEP_PARTS = 300

# The hidden sessions that this process writes now, by their ids: what else of its own is hidden was left behind.
_in_progress: set[str] = set()


@frozen
class _Fork:
    """The rounds to be copied. ``through``: the index and the id of the last round; None where there is none.
    ``session``: the columns that the copy begins with."""

    session_id: str
    session_pk: int
    through: tuple[int, str] | None
    at: int
    session: Mapping[str, Any]
    id: str | None
    create_hash: bytes | None

    def parts(self, sql: Sql) -> Iterator[Part]:
        return iter(()) if self.through is None else each_part(sql, self.session_pk, self.through[0], self.at)


def fork_session(store: EntityStore, session_id: str, fields: NewFork) -> Session:
    """``OnDemandOperations.fork_session``"""
    columns = rules.checked(rules.FORK, fields)
    session_id = rules.uuid("session_id", session_id)
    given = create_hash(fields, columns, session_id=session_id)
    if store.is_writing:
        with store.transaction() as tx:
            return _fork_at_once(tx, session_id, columns, given)
    with store.reading() as sql:
        # Without a snapshot: a store that is not there yet has none.
        if (made := made_before(sql, columns.get("id"), given)) is not None:
            return made
        sessions.get_session(sql, session_id)
    with store.snapshot(), store.reading() as sql:
        return _fork_in_steps(store, sql, _prepare(sql, session_id, columns, given, now_ms()))


def remove_hidden(store: EntityStore, pk: int, *, wait: bool = True) -> bool:
    """Delete some rows of a hidden session, for a moment; whether there may be more of it."""
    with store.transaction(appends_only=True, wait=wait) as tx:
        until = time.monotonic() + STEP_SECONDS
        while time.monotonic() < until:
            if not hidden.remove_some(tx, pk):
                return False
    return True


def begin_progress(session_id: str) -> Callable[[], None]:
    """This process writes a hidden session from now on, until the function that is given is called."""
    _in_progress.add(session_id)
    return lambda: _in_progress.discard(session_id)


def is_in_progress(session_id: str) -> bool:
    """Does this process write the hidden session just now?"""
    return session_id in _in_progress


def _prepare(sql: Sql, session_id: str, columns: Mapping[str, Any], given: bytes | None, at: int) -> _Fork:
    source = sessions.get_session(sql, session_id)
    session = copied_columns(sql, source.pk)
    if "title" in columns:
        session["title"] = columns["title"]
    through = _through(sql, source, columns.get("through_round_id"))
    return _Fork(session_id, source.pk, through, at, session, columns.get("id"), given)


def _through(sql: Sql, source: sessions.StoredSession, round_id: str | None) -> tuple[int, str] | None:
    if round_id is None:
        last = next(rounds.list_rounds(sql, source.pk, None, 1, "desc"), None)
        return None if last is None else (last.index, last.detail.round.id)
    stored = rounds.get_round(sql, round_id)
    if stored.session_pk != source.pk:
        where = f"is a round of session {stored.detail.round.session_id}, and not of {source.session.id}"
        raise InvalidValue("through_round_id", where)
    return stored.detail.round.index, round_id


def _fork_at_once(tx: Transaction, session_id: str, columns: Mapping[str, Any], given: bytes | None) -> Session:
    """In the transaction that runs."""
    if (made := made_before(tx.sql, columns.get("id"), given)) is not None:
        return made
    fork = _prepare(tx.sql, session_id, columns, given, tx.now)
    parts: list[Part] = []
    size = 0
    for part in fork.parts(tx.sql):
        parts.append(part)
        size += part.weight
        if len(parts) > MAX_FORK_PARTS or size > MAX_FORK_BYTES:
            raise _too_large(session_id)
    return _write_whole(tx, fork, parts)


def _write_whole(tx: Transaction, fork: _Fork, parts: list[Part]) -> Session:
    copy = hidden.insert_hidden(tx, fork.session, fork.at)
    hidden.write_parts(tx, copy, parts)
    return _show(tx, fork, copy)


def _fork_in_steps(store: EntityStore, sql: Sql, fork: _Fork) -> Session:
    """``sql``: the state that is copied."""
    parts, waiting = fork.parts(sql), deque[Part]()
    with LargeWork(as_writer=True):
        if not _fill(waiting, parts):
            with store.transaction() as tx:
                made = made_before(tx.sql, fork.id, fork.create_hash)
                return _write_whole(tx, fork, list(waiting)) if made is None else made
    reconnects = store.reconnects
    with _hidden_copy(store, fork) as copy:
        while waiting:
            check_wanted()
            if store.reconnects != reconnects:
                raise StoreMoved(sql.path)
            with LargeWork(as_writer=True):
                held = _step(store, copy, waiting)
                began = time.monotonic()
                _fill(waiting, parts)
            # The lock is free for as long as it was held, or whoever waits for it might never find it so.
            time.sleep(max(0.0, held - (time.monotonic() - began)))
        check_wanted()
        with LargeWork(as_writer=True), store.transaction() as tx:
            made = made_before(tx.sql, fork.id, fork.create_hash)
            if made is None:
                return _show(tx, fork, copy)
        # The same call, sent twice, was carried out twice: the other was the first.
        _remove(store, copy.pk)
        return made


def _fill(waiting: deque[Part], parts: Iterator[Part]) -> bool:
    """Read as many parts as one step may write; whether there may be more."""
    size = sum(part.weight for part in waiting)
    while len(waiting) < STEP_PARTS and size < STEP_BYTES:
        part = next(parts, None)
        if part is None:
            return False
        waiting.append(part)
        size += part.weight
    return True


def _step(store: EntityStore, copy: Copy, waiting: deque[Part]) -> float:
    """Write some of what waits, in one transaction; gives for how many seconds others had to wait. Nobody is told of it
    before the last step, whose commit makes it durable too."""
    with store.transaction(appends_only=True) as tx:
        began = time.monotonic()
        if not hidden.write_parts(tx, copy, _for_a_moment(waiting, began + STEP_SECONDS)):
            # The file is another one now, or somebody has taken this process for dead.
            raise StoreMoved(tx.sql.path)
    return time.monotonic() - began


def _for_a_moment(waiting: deque[Part], until: float) -> Iterator[Part]:
    while waiting:
        yield waiting.popleft()
        if time.monotonic() >= until:
            return


@contextmanager
def _hidden_copy(store: EntityStore, fork: _Fork) -> Iterator[Copy]:
    """A new hidden session, which goes again with an exception."""
    with store.transaction(appends_only=True) as tx:
        copy = hidden.insert_hidden(tx, fork.session, fork.at)
        # Before others of this process can find it.
        _in_progress.add(copy.id)
    try:
        yield copy
    except BaseException:
        try:
            _remove(store, copy.pk)
        except SessionsError as error:
            logger.warning("what was copied of a session stays hidden, and goes when a server is idle: %s", error)
        raise
    finally:
        _in_progress.discard(copy.id)


def _remove(store: EntityStore, pk: int) -> None:
    with Unstoppable():
        while remove_hidden(store, pk):
            time.sleep(STEP_SECONDS)


def _show(tx: Transaction, fork: _Fork, copy: Copy) -> Session:
    """The last step. Raises StoreMoved where the copy is gone."""
    has_parent = sessions.is_there(tx.sql, fork.session_id)
    round_id = None if fork.through is None else fork.through[1]
    has_round = has_parent and round_id is not None and rounds.id_in_use(tx.sql, rounds.Part.ROUND, round_id)
    columns = {
        "id": fork.id or copy.id,
        "parent_id": fork.session_id if has_parent else None,
        "relation": Relation.FORK.value,
        "forked_from_round_id": round_id if has_round else None,
    }
    seq = hidden.show(tx, copy, columns, fork.create_hash)
    if seq is None:
        raise StoreMoved(tx.sql.path)
    changes.record_session_change(tx, seq, ChangeKind.SESSION_CREATED, copy.pk)
    return sessions.session_by_pk(tx.sql, copy.pk).session


def _too_large(session_id: str) -> TooLarge:
    return TooLarge(
        "session_id",
        lambda words: (
            f"session {session_id} has more than {MAX_FORK_PARTS} rounds, turns and tool calls, or more than"
            f" {MAX_FORK_BYTES // 1024 // 1024} MiB: a transaction would keep everybody from writing while it copies"
            f" them. Use {words.operation('fork_session')} by itself, which copies in short steps"
        ),
    )

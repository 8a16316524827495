"""The changes of one store, in order: what this process committed last from memory, everything else from the feed.

``StoreChanges`` reads when it is asked. ``PrefetchedChanges`` is for stores that run on a thread: the loop is given
what the thread has read, and until then nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from attrs import frozen

from mandrake_sessions.connection.commit_poller import CommitPoller
from mandrake_sessions.connection.runner import Runner
from mandrake_sessions.errors import FeedPruned
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Change, Session
from mandrake_sessions.protocol.notifications import concerns_sessions
from mandrake_sessions.store.interface import Commit, Watch
from mandrake_sessions.value import Value

# How many changes are read at once.
READ_LIMIT = 500
# The sessions of so many reads are kept: there are two places in the feed at which something may wait to be sent.
KEPT_READS = 4
# So long after a read on the thread failed it is tried again.
AGAIN_SECONDS = 0.5


class Follower(Protocol):
    """What ``StoreChanges`` tells of what it hears, on the loop's thread."""

    def news(self) -> None:
        """Somebody has committed, or what was asked for was read."""

    def attached(self, *, is_another: bool) -> None:
        """The store was opened again, and is followed again; ``is_another``: it is another store now."""

    def is_behind_of(self, seq: int) -> bool:
        """Whether a subscription has not been sent everything up to ``seq``."""

    def failed(self, error: Exception) -> None:
        """The store cannot be followed."""


@frozen(eq=False, repr=False)
class _Attachment(Value):
    """What it takes to follow a store as it is open now."""

    reconnects: int
    store_id: str
    watch: Watch


@frozen(eq=False, repr=False)
class _Asked(Value):
    """What was known when a read of the feed after ``seq`` was asked for. ``commit_seq``: of this process's last
    commit."""

    seq: int
    commit_seq: int
    times_heard: int
    reconnects: int


class StoreChanges:
    """``store_id``: of the store that is open now, where it is known. ``is_waiting``: whether what was asked for is
    still being read. ``sessions``: those that were read with the changes, until all of these are sent."""

    def __init__(self, manager: SessionManager, runner: Runner, follower: Follower, store_id: str | None) -> None:
        self.manager = manager
        self.sessions: deque[dict[str, Session | None]] = deque(maxlen=KEPT_READS)
        self._runner = runner
        self._follower = follower
        self._poller: CommitPoller | None = None
        # What this process committed last, of which nothing need be read.
        self._commit: Commit | None = None
        self._off_commit: Callable[[], None] = lambda: None
        self._reconnects = -1
        self._store_id = store_id
        self._was_attached = False
        self._attach(store_id)

    @property
    def is_waiting(self) -> bool:
        return False

    def since(self, seq: int, *, look: bool) -> list[Change]:
        """The changes above ``seq``; with ``look=False`` only what this process knows of is, which others' commits wait
        behind till the next look. Raises FeedPruned, SessionsError."""
        if self.manager.store.reconnects != self._reconnects:
            # What the positions mean in the file that is there now is not known until `reopened` has looked.
            return []
        recent = self.recent(seq)
        if recent is None or (look and not recent):
            # The feed is read; what was just committed was in place when it was acknowledged.
            return self._read(seq) if self.manager.store.is_current else []
        if recent and self._poller is not None:
            self._poller.own_commit()
        return recent

    def recent(self, seq: int) -> list[Change] | None:
        """What this process itself committed above ``seq``, where that is known without reading the store: the appends
        of its last transaction, if they are all that came after ``seq``."""
        commit = self._commit
        if commit is None:
            return None
        if seq == commit.seq:
            return []
        return commit.changes if seq == commit.seq_before else None

    def session(self, session_id: str) -> Session | None:
        """A session as it is now."""
        return self.manager.feed.sessions_now({session_id}).get(session_id)

    def reopened(self) -> None:
        """The store may have been opened again. Raises SessionsError."""
        store = self.manager.store
        if store.is_current and store.reconnects != self._reconnects:
            self.close()
            self._attach(None)

    def detach(self) -> None:
        """Close what looks at the store, which is about to be opened again: see ``opening.py``. ``reopened`` looks
        again."""
        self.close()
        self._reconnects = -1

    def close(self) -> None:
        self._off_commit()
        if self._poller is not None:
            self._poller.close()
            self._poller = None

    def _attach(self, store_id: str | None) -> None:
        self._attached(_attach(self.manager, store_id))

    def _attached(self, attachment: _Attachment) -> None:
        is_another = self._store_id not in (None, attachment.store_id)
        self._reconnects, self._store_id = attachment.reconnects, attachment.store_id
        self._poller = CommitPoller(attachment.watch, self._runner, partial(self._hear, attachment.watch))
        self._commit = None
        self._off_commit = self.manager.store.on_commit(self._committed)
        if self._was_attached or is_another:
            self._follower.attached(is_another=is_another)
        self._was_attached = True

    def _read(self, seq: int) -> list[Change]:
        return self.manager.feed.changes_since(seq, limit=READ_LIMIT)

    def _hear(self, watch: Watch) -> None:
        """Somebody has committed. Our own commits are heard of here too; most often there is nothing behind them."""
        if self._follower.is_behind_of(watch.last_seq()):
            self._follower.news()

    def _committed(self, commit: Commit) -> None:
        """Called on whatever thread has committed; of two that do so at once, the earlier may come later."""
        known = self._commit
        if known is None or commit.seq > known.seq:
            self._commit = commit


class PrefetchedChanges(StoreChanges):
    """Reads on a thread. ``since`` gives what was read from that place on, or asks for it (``is_waiting``) and gives
    nothing; ``Follower.news`` is called when it is there."""

    def __init__(self, manager: SessionManager, runner: Runner, follower: Follower, store_id: str | None) -> None:
        # What was read last, or why nothing could be, by the place in the feed that it follows.
        self._found: dict[int, list[Change] | Exception] = {}
        # Nothing stood in the feed after this place when it was read last, up to this commit, and nothing was heard of
        # since. Copies take numbers, and the feed does not tell of them.
        self._nothing_after: int | None = None
        self._nothing_until = 0
        self._times_heard = 0
        self._is_reading = False
        # The attempt to follow the store that goes on now.
        self._attaching: object = None
        super().__init__(manager, runner, follower, store_id)

    @property
    def is_waiting(self) -> bool:
        return self._is_reading or self._attaching is not None

    def session(self, session_id: str) -> Session | None:
        for read in reversed(self.sessions):
            if session_id in read:
                return read[session_id]
        return super().session(session_id)

    def reopened(self) -> None:
        if self._attaching is None:
            super().reopened()

    def close(self) -> None:
        super().close()
        self._attaching = None

    def _attach(self, store_id: str | None) -> None:
        attempt = self._attaching = object()
        self._runner.run(partial(_attach, self.manager, store_id), partial(self._found_attachment, attempt))

    def _found_attachment(self, attempt: object, outcome: _Attachment | Exception) -> None:
        if attempt is not self._attaching:
            if isinstance(outcome, _Attachment):
                self._runner.run(outcome.watch.close, lambda _: None)
            return
        self._attaching = None
        if isinstance(outcome, Exception):
            self._follower.failed(outcome)
            return
        self._attached(outcome)
        self._heard()

    def _hear(self, _: Watch) -> None:
        self._heard()

    def _heard(self) -> None:
        """There may be something after what was read last."""
        self._times_heard += 1
        self._nothing_after = None
        self._found.clear()
        self._follower.news()

    def _read(self, seq: int) -> list[Change]:
        commit = self._commit
        is_read = commit is None or commit.seq <= max(seq, self._nothing_until)
        if self._nothing_after is not None and self._nothing_after <= seq and is_read:
            return []
        found = self._found.get(seq)
        if found is None and not self._is_reading:
            self._is_reading = True
            asked = _Asked(seq, 0 if commit is None else commit.seq, self._times_heard, self._reconnects)
            self._runner.run(partial(self._prefetch, seq), partial(self._prefetched, asked))
        if isinstance(found, Exception):
            if isinstance(found, FeedPruned):
                del self._found[seq]
            raise found
        self._found.pop(seq, None)
        return found or []

    def _prefetch(self, seq: int) -> tuple[list[Change], dict[str, Session | None]]:
        """The changes, and the sessions that they are about as they are now."""
        changes = super()._read(seq)
        session_ids = {change.session_id for change in changes if concerns_sessions(change)}
        found = self.manager.feed.sessions_now(session_ids) if session_ids else {}
        return changes, {session_id: found.get(session_id) for session_id in session_ids}

    def _prefetched(self, asked: _Asked, outcome: tuple[list[Change], dict[str, Session | None]] | Exception) -> None:
        self._is_reading = False
        if asked.reconnects != self._reconnects:
            # The store was closed or opened again meanwhile.
            return
        if isinstance(outcome, Exception):
            self._found = {asked.seq: outcome}
            if not isinstance(outcome, FeedPruned):
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._heard)
        elif outcome[0]:
            changes, sessions = outcome
            self._found = {asked.seq: changes}
            self.sessions.append(sessions)
        elif asked.times_heard == self._times_heard:
            self._nothing_after, self._nothing_until = asked.seq, asked.commit_seq
        self._follower.news()


def _attach(manager: SessionManager, store_id: str | None) -> _Attachment:
    """Raises SessionsError."""
    reconnects = manager.store.reconnects
    return _Attachment(reconnects, manager.feed.store_id() if store_id is None else store_id, manager.store.watch())

"""Old sessions: which there are, and deleting them a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mandrake_sessions.model import PrunableSession
from mandrake_sessions.operations.sessions import SessionOperations
from mandrake_sessions.store.sql import pruning

# A transaction deletes so many sessions at the most, or about so much text: others wait for its end.
SESSIONS_A_STEP = 50
BYTES_A_STEP = 1024 * 1024


class PruningOperations(SessionOperations):
    def untouched_sessions(self, before: int, *, archived: bool = False) -> list[PrunableSession]:
        """Sessions that were last changed, or streamed to, before a time in milliseconds since the epoch, oldest
        first; with ``archived`` only those that are. Never one with a turn that streams.

        Raises:
            StorageFailure: the store cannot be read.
        """
        with self._read() as sql:
            return pruning.untouched_sessions(sql, before, archived=archived)

    def prune_sessions(
        self, found: Sequence[PrunableSession], before: int, *, archived: bool = False
    ) -> Iterator[list[PrunableSession]]:
        """Delete what ``untouched_sessions`` has found with the same arguments, but for what was changed since. Each
        step is one transaction, and gives what it has deleted; what listeners hear of it is what they hear of any
        deletion.

        Raises:
            Busy: another process held the lock for the busy timeout. The steps before are done, this one is not.
            StorageFailure: the store cannot be written. The steps before are done, this one is not.
        """
        for few in _few_at_a_time(found):
            with self._write() as tx:
                gone = [
                    session for session in few if pruning.is_untouched(tx.sql, session.id, before, archived=archived)
                ]
                for session in gone:
                    self.delete_session(session.id)
            yield gone


def _few_at_a_time(found: Sequence[PrunableSession]) -> Iterator[list[PrunableSession]]:
    few: list[PrunableSession] = []
    for session in found:
        few.append(session)
        if len(few) == SESSIONS_A_STEP or sum(other.total_bytes for other in few) >= BYTES_A_STEP:
            yield few
            few = []
    if few:
        yield few

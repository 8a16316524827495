"""Operations that few callers use. What carries them out is loaded at the first call: the start of the program, which
all wait for, takes less time without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from mandrake_sessions.fields import NewFork, SearchWanted, UsageWanted
from mandrake_sessions.late_import import late_import
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.paging import DEFAULT_LIMIT

if TYPE_CHECKING:
    from mandrake_sessions.model import GroupBy, SearchPage, Session, UsageGroup, UsageTotals


class OnDemandOperations(Operations):
    def fork_session(self, session_id: str, **fields: Unpack[NewFork]) -> Session:
        """Copy a session with its rounds, all of them or those up to ``through_round_id``, with all that hangs from
        them; a turn that still streams is copied as ``interrupted``. With an ``id`` of the caller's the same call can
        be sent again.

        The copy is of one state of the store, and is there as a whole or not at all. Other processes can write
        meanwhile, however long the session is; inside a transaction of the caller's they cannot.

        Raises:
            NotFound: no such session, or no such round.
            InvalidValue: the round is one of another session.
            Conflict: ``idInUse`` by a session made otherwise.
            TooLarge: in a transaction, more than 2,000 rounds, turns and tool calls, or more than 4 MiB.
        """
        with late_import():
            from mandrake_sessions.operations.forking import fork_session

        return fork_session(self.store, session_id, fields)

    def search(
        self, query: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None, **wanted: Unpack[SearchWanted]
    ) -> SearchPage:
        """What was said about something, best first. Any text is a query: words, phrases in quotes, ``word*``, and
        parts of words of three letters or more, in any case, with accents or without.

        It looks at what is in the store's search index. What that lacks, a first page puts in before it searches, for
        up to about 0.2 s and not inside a transaction; the page tells how many turns are still missing.

        Raises:
            NotFound: there is no session of ``session_id``.
            InvalidValue: a filter or ``limit`` breaks its rule, or ``cursor`` is that of another search.
            StorageFailure: stores of this kind, or this build of SQLite, cannot be searched.
        """
        with late_import():
            from mandrake_sessions.operations.search import search

        return search(self.store, query, wanted, limit=limit, cursor=cursor)

    def usage(self, *, timezone: str | None = None, **wanted: Unpack[UsageWanted]) -> UsageTotals:
        """All that was used, whatever its time zone: see ``usage_by``."""
        with late_import():
            from mandrake_sessions.operations.usage import usage

        return usage(self.store, wanted, timezone)

    def usage_by(
        self, group_by: GroupBy, *, timezone: str | None = None, **wanted: Unpack[UsageWanted]
    ) -> list[UsageGroup]:
        """What was used, by day, model, session, agent or directory, the keys ascending, None first.

        A turn counts at its ``stream_start_time``, with its tool calls; a round at its ``created_at``; what an agent
        said of a whole response counts at its ``end_time``, or where it has none with its round, and in place of the
        turns' numbers, field by field. Rounds, and what was said of their responses, belong to the model of their last
        turn. Copies of a round are not counted while an older one of the same origin is stored. ``timezone``: a name of
        the IANA database.

        Raises:
            NotFound: no session has the ``session_id``.
            InvalidValue: ``timezone`` or a filter breaks its rule.
            TooLarge: the groups are more than one answer may hold.
        """
        with late_import():
            from mandrake_sessions.operations.usage import usage_by

        return usage_by(self.store, group_by, wanted, timezone)

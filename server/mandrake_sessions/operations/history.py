"""A whole conversation, a page at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import asdict

from mandrake_sessions import rules
from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.model import History, HistoryResponse, HistoryRound, Order
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.paging import DEFAULT_LIMIT, check_limit, decode_index, encode_index, take_page
from mandrake_sessions.quoting import shown
from mandrake_sessions.store.interface import Sql
from mandrake_sessions.store.sql import changes, rounds, sessions, turns
from mandrake_sessions.store.sql.rounds import RoundRow
from mandrake_sessions.store.sql.seq import last_seq

# So many rounds, or about so many bytes of them, are read together.
_READ_ROUNDS = 100
_READ_BYTES = 1024 * 1024

# A round's row with about how many bytes the round takes in an answer, its turns included.
_Weighed = tuple[RoundRow, int]


class HistoryOperations(Operations):
    def history(
        self,
        session_id: str,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        order: Order = "asc",
        include_raw: bool = False,
        include_text: bool = True,
        lazily: bool = False,
    ) -> History:
        """A page of rounds with all that hangs from them: one consistent snapshot, read in a number of statements
        that depends on how many bytes there are, and not on how many rounds.

        ``order``: ``asc`` is the oldest round first. With ``lazily``, inside a snapshot, the rounds are an iterator
        that reads them while it is used; so are the turns of a round where they are long, to be taken before the next
        round is. Raises NotFound.
        """
        if order not in ("asc", "desc"):
            raise InvalidValue("order", f"must be asc or desc, not {shown(order)}")
        session_id = rules.uuid("session_id", session_id)
        after = decode_index(cursor, "history", [session_id, order])
        limit = check_limit(limit)
        with self._read() as sql:
            session = sessions.get_session(sql, session_id)
            found = rounds.list_rounds(sql, session.pk, after, limit + 1, order)
            weighed = _weighed(sql, found, text=include_text, raw=include_raw)
            page, more = take_page(weighed, lambda entry: entry[1], limit)
            seq, store_id = last_seq(sql), changes.store_id(sql)
            given: Any = self._while_asked(self._rounds(sql, page, text=include_text, raw=include_raw, lazily=lazily))
            if not lazily:
                given = list(given)
        position = page[-1][0].index if more else 0
        return History(
            session.session,
            given,
            encode_index("history", [session_id, order], position) if more else None,
            seq,
            store_id,
        )

    def _rounds(self, sql: Sql, page: list[_Weighed], *, text: bool, raw: bool, lazily: bool) -> Iterator[HistoryRound]:
        for few, size in _few(page):
            found = turns.turns_of_rounds(sql, [row.pk for row in few])
            if len(few) == 1 and size > _READ_BYTES:
                yield _assembled(few[0], self._turns(sql, found, text=text, raw=raw, lazily=lazily))
                continue
            by_response: dict[str, list[Any]] = defaultdict(list)
            for turn in turns.load_turns(sql, list(found), text=text, raw=raw):
                by_response[turn.response_id].append(turn)
            for row in few:
                yield _assembled(row, by_response)


def _weighed(sql: Sql, found: Iterable[RoundRow], *, text: bool, raw: bool) -> Iterator[_Weighed]:
    """Each round with its weight, a few read ahead at a time."""
    for few, _ in _few((row, row.weight) for row in found):
        sizes = turns.turn_bytes(sql, [row.pk for row in few], text=text, raw=raw)
        for row in few:
            yield row, row.weight + sizes.get(row.pk, 0)


def _few(page: Iterable[_Weighed]) -> Iterator[tuple[list[RoundRow], int]]:
    """Neighbours that are read together, and what they weigh together; one that is heavy comes alone."""
    few: list[RoundRow] = []
    size = 0
    for row, weight in page:
        if few and (size + weight > _READ_BYTES or len(few) == _READ_ROUNDS):
            yield few, size
            few, size = [], 0
        few.append(row)
        size += weight
    if few:
        yield few, size


def _assembled(row: RoundRow, found: Any) -> HistoryRound:
    """``found``: its turns, or those of several rounds by their response's id."""
    detail = row.detail
    if isinstance(found, dict):
        found = found.get(detail.response.id, [])
    return HistoryRound(
        **asdict(detail.round, recurse=False),
        request=detail.request,
        response=HistoryResponse(**asdict(detail.response, recurse=False), turns=found),
    )

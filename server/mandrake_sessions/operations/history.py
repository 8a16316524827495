"""A whole conversation, a page at a time."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from mandrake_sessions import rules
from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.model import History, HistoryResponse, HistoryRound, Order, Turn
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.operations.turns import weigh_turns
from mandrake_sessions.paging import DEFAULT_LIMIT, check_limit, decode_cursor, encode_cursor, within_page
from mandrake_sessions.store import changes, rounds, sessions, turns
from mandrake_sessions.store.rounds import StoredRound
from mandrake_sessions.store.transaction import last_seq
from mandrake_sessions.store.turns import StoredTurn


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
    ) -> History:
        """A page of rounds with all that hangs from them: one consistent snapshot, read in a number of statements
        that does not depend on how many rounds there are.

        ``order``: ``asc`` is the oldest round first. Raises NotFound.
        """
        if order not in ("asc", "desc"):
            raise InvalidValue("order", f"must be asc or desc, not {order!r}")
        session_id = rules.uuid("session_id", session_id)
        after = decode_cursor(cursor, "history", [session_id, order])
        limit = check_limit(limit)
        with self._read() as connection:
            session = sessions.get_session(connection, session_id)
            pks = rounds.list_round_pks(connection, session.pk, after, limit + 1, order)
            heads = _by_round(turns.turns_of_rounds(connection, pks[:limit]))
            weights = _weigh(connection, heads, raw=include_raw, text=include_text)
            page = within_page(
                rounds.list_rounds(connection, session.pk, after, min(limit, len(pks)), order),
                lambda stored: weights.get(stored.pk, 0) + stored.weight,
            )
            shown = [turn for stored in page for turn in heads.get(stored.pk, ())]
            loaded = turns.load_turns(connection, shown, text=include_text, raw=include_raw)
            seq, store_id = last_seq(connection), changes.store_id(connection)
        more = len(page) < len(pks)
        position = page[-1].detail.round.index if more else 0
        return History(
            session.session,
            _assembled(page, loaded),
            encode_cursor("history", [session_id, order], position) if more else None,
            seq,
            store_id,
        )


def _by_round(found: list[StoredTurn]) -> dict[int, list[StoredTurn]]:
    heads: dict[int, list[StoredTurn]] = {}
    for turn in found:
        heads.setdefault(turn.round_pk, []).append(turn)
    return heads


def _weigh(connection: Any, heads: dict[int, list[StoredTurn]], *, raw: bool, text: bool) -> dict[int, int]:
    """About how many bytes the turns of each round take."""
    every = [turn for round_turns in heads.values() for turn in round_turns]
    weights = weigh_turns(connection, every, raw=raw, text=text)
    return {pk: sum(weights[turn.pk] for turn in round_turns) for pk, round_turns in heads.items()}


def _assembled(page: list[StoredRound], loaded: list[Turn]) -> list[HistoryRound]:
    by_response: dict[str, list[Turn]] = {}
    for turn in loaded:
        by_response.setdefault(turn.response_id, []).append(turn)
    return [
        HistoryRound(
            **asdict(stored.detail.round, recurse=False),
            request=stored.detail.request,
            response=HistoryResponse(
                **asdict(stored.detail.response, recurse=False),
                turns=by_response.get(stored.detail.response.id, []),
            ),
        )
        for stored in page
    ]

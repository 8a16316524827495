"""Rounds with their requests and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from mandrake_sessions import rules
from mandrake_sessions.errors import Conflict
from mandrake_sessions.fields import NewRound, RequestUpdate, ResponseUpdate
from mandrake_sessions.model import (
    ChangeKind,
    Counts,
    Deleted,
    JsonObject,
    Request,
    Response,
    ResponseStatus,
    RoundDetail,
    RoundPage,
)
from mandrake_sessions.operations.base import Operations, check_same, create_hash, id_in_use
from mandrake_sessions.operations.sessions import touch_session
from mandrake_sessions.paging import DEFAULT_LIMIT, check_limit, decode_index, encode_index, take_page
from mandrake_sessions.store.interface import Transaction
from mandrake_sessions.store.sql import changes, rounds, sessions, turns
from mandrake_sessions.store.sql.rounds import NOT_ENDED, Part
from mandrake_sessions.store.sql.seq import last_seq

_UPDATED = {
    Part.ROUND: ChangeKind.ROUND_UPDATED,
    Part.REQUEST: ChangeKind.REQUEST_UPDATED,
    Part.RESPONSE: ChangeKind.RESPONSE_UPDATED,
}


class RoundOperations(Operations):
    def create_round(self, session_id: str, **fields: Unpack[NewRound]) -> RoundDetail:
        """Make a round with its request and its response, all or none. With an ``id`` of the caller's the same call
        can be sent again.

        Raises:
            NotFound: no such session.
            Conflict: ``idInUse``.
        """
        columns = rules.checked(rules.NEW_ROUND, fields)
        session_id = rules.uuid("session_id", session_id)
        given = create_hash(fields, columns, session_id=session_id)
        with self._write() as tx:
            if given is not None and (existing := rounds.find_round(tx.sql, columns["id"])):
                check_same("round", columns["id"], existing.create_hash, given)
                return existing.detail
            rules.check_times(columns)
            session = sessions.get_session(tx.sql, session_id)
            _check_ids_are_free(tx, columns)
            preview = sessions.preview_of(columns["content"])
            index = sessions.take_round_index(tx, session.pk, preview)
            stored = rounds.insert_round(tx, session.pk, index, columns, given)
            active_at = stored.detail.round.created_at
            sessions.update_session(tx, session.pk, {}, stored.pk, active_at=active_at)
            changes.record_round_change(tx, stored.pk, ChangeKind.ROUND_CREATED, stored)
        return stored.detail

    def get_round(self, round_id: str) -> RoundDetail:
        """A round with its request and its response, without turns. Raises NotFound for the round."""
        with self._read() as sql:
            return rounds.get_round(sql, rules.uuid("round_id", round_id)).detail

    def list_rounds(
        self, session_id: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None, lazily: bool = False
    ) -> RoundPage:
        """The rounds of a session by index. With ``lazily`` the page is an iterator that makes its rounds while it is
        used. Raises NotFound."""
        session_id = rules.uuid("session_id", session_id)
        after = decode_index(cursor, "rounds", session_id)
        limit = check_limit(limit)
        with self._read() as sql:
            session = sessions.get_session(sql, session_id)
            found = rounds.list_rounds(sql, session.pk, after, limit + 1)
            page, more = take_page(found, lambda row: row.weight, limit)
            seq, store_id = last_seq(sql), changes.store_id(sql)
            listed: Any = self._while_asked(row.detail.round for row in page)
            if not lazily:
                listed = list(listed)
        return RoundPage(listed, encode_index("rounds", session_id, page[-1].index) if more else None, seq, store_id)

    def update_round(self, round_id: str, *, metadata: JsonObject) -> RoundDetail:
        """Replace the metadata of a round as a whole; ``{}`` empties it. The same metadata again is no change. Gives
        the round with its request and its response. Raises NotFound for the round."""
        columns = rules.checked(rules.ROUND, {"metadata": metadata})
        with self._write() as tx:
            stored = rounds.get_round(tx.sql, rules.uuid("round_id", round_id), lenient=True)
            return _change_part(tx, stored, Part.ROUND, columns)

    def delete_round(self, round_id: str, *, following: bool = False) -> Deleted:
        """Delete a round, and with ``following`` all after it; other rounds keep their index. Raises NotFound."""
        following = rules.boolean("following", following)
        with self._write() as tx:
            first = rounds.get_round(tx.sql, rules.uuid("round_id", round_id), lenient=True)
            following_pks = rounds.following_rounds(tx.sql, first) if following else []
            gone = [first.pk, *following_pks]
            turn_count = sum(_delete_round(tx, rounds.round_by_pk(tx.sql, pk, lenient=True)) for pk in gone)
            sessions.recount_rounds(tx, first.session_pk)
            sessions.update_session(tx, first.session_pk, {}, tx.seq)
        return Deleted(Counts(0, len(gone), len(gone), len(gone), turn_count))

    def get_request(self, request_id: str) -> Request:
        """A request, with its ``content`` and ``blocks``. Raises NotFound for the request."""
        with self._read() as sql:
            request_id = rules.uuid("request_id", request_id)
            return rounds.get_round_of_request(sql, request_id).detail.request

    def update_request(self, request_id: str, **fields: Unpack[RequestUpdate]) -> Request:
        """Change what is given; the session's preview follows. Raises NotFound."""
        columns = rules.checked(rules.REQUEST, fields)
        with self._write() as tx:
            stored = rounds.get_round_of_request(tx.sql, rules.uuid("request_id", request_id), lenient=True)
            detail = _change_part(tx, stored, Part.REQUEST, columns)
            sessions.recount_rounds(tx, stored.session_pk)
            return detail.request

    def get_response(self, response_id: str) -> Response:
        """How a response stands: its status, times and usage, without turns (``list_turns`` gives those). Raises
        NotFound for the response."""
        with self._read() as sql:
            response_id = rules.uuid("response_id", response_id)
            return rounds.get_round_of_response(sql, response_id).detail.response

    def update_response(self, response_id: str, **fields: Unpack[ResponseUpdate]) -> Response:
        """Change what is given. A response that ends gets its ``end_time``, one that is opened again loses it;
        ``usage`` is replaced whole.

        Raises:
            NotFound: no such response.
            Conflict: ``endTime``: an end time for a response that has not ended, or none for one that has.
        """
        columns = rules.checked(rules.RESPONSE, fields)
        with self._write() as tx:
            stored = rounds.get_round_of_response(tx.sql, rules.uuid("response_id", response_id), lenient=True)
            return change_response(tx, stored, columns)


def change_response(tx: Transaction, stored: rounds.StoredRound, columns: dict[str, Any]) -> Response:
    """Change a response, its usage too; ``columns`` as the rules give them. Raises Conflict."""
    _set_end_time(stored.detail.response, columns, tx.now)
    usage_moves = "usage" in columns and rounds.usage_differs(tx.sql, stored, columns["usage"])
    usage = columns.pop("usage", None)
    if usage_moves:
        rounds.replace_usage(tx, stored, usage)
    return _change_part(tx, stored, Part.RESPONSE, columns, differs=usage_moves).response


def _set_end_time(response: Response, columns: dict[str, Any], now: int) -> None:
    """Give or take the end time that goes with the status. Raises Conflict where it was given and contradicts it."""
    status = ResponseStatus(columns.get("status", response.status))
    if status in NOT_ENDED:
        if columns.get("end_time") is not None:
            raise _end_time(f"response {response.id} is {status}, so it has none; end it by its status")
        columns["end_time"] = None
    elif columns.get("end_time") is None:
        if "end_time" in columns and response.end_time is not None:
            raise _end_time(f"response {response.id} is {status}, so it cannot be cleared")
        ended = response.end_time
        columns["end_time"] = max(now, response.created_at) if ended is None else ended


def _end_time(why: str) -> Conflict:
    return Conflict("endTime", lambda words: f"{words.field('end_time')}: {why}")


def _check_ids_are_free(tx: Transaction, columns: Mapping[str, Any]) -> None:
    for part, name in ((Part.REQUEST, "request_id"), (Part.RESPONSE, "response_id")):
        if name in columns and rounds.id_in_use(tx.sql, part, columns[name]):
            raise id_in_use(part, columns[name], name)


def _change_part(
    tx: Transaction, stored: rounds.StoredRound, part: Part, columns: Mapping[str, Any], *, differs: bool = False
) -> RoundDetail:
    """Change a round, its request or its response; values that are there already are no change. ``differs``: something
    beside the columns was changed."""
    if not (differs or rounds.part_differs(tx.sql, stored, part, columns)):
        return rounds.round_by_pk(tx.sql, stored.pk).detail
    seq = tx.next_seq()
    rounds.update_part(tx, stored, part, columns)
    sessions.update_session(tx, stored.session_pk, {}, seq, active_at=columns.get("end_time"))
    changes.record_round_change(tx, seq, _UPDATED[part], stored)
    return rounds.round_by_pk(tx.sql, stored.pk).detail


def _delete_round(tx: Transaction, stored: rounds.StoredRound) -> int:
    """Delete a round with all that hangs from it; gives how many turns that were."""
    turn_pks = turns.turn_pks_of_round(tx.sql, stored.pk)
    round_ = stored.detail.round
    for child_pk in sessions.forks_at(tx.sql, round_.session_id, round_.id):
        touch_session(tx, child_pk, {"forked_from_round_id": None})
    seq = tx.next_seq()
    changes.forget_turns(tx, turn_pks)
    changes.forget_round(tx, stored)
    rounds.delete_round(tx, stored.pk)
    changes.record_round_deleted(tx, seq, stored)
    return len(turn_pks)

"""Turns: the pieces of a response, streamed, ended, and their tool calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

from attrs import evolve

from mandrake_sessions import rules
from mandrake_sessions.errors import Conflict, InvalidValue, NotFound, SessionsError, Unreadable
from mandrake_sessions.fields import NewTurn, Piece, ToolCallUpdate, TurnPiece, TurnUpdate
from mandrake_sessions.limits import MAX_TEXT_BYTES
from mandrake_sessions.model import (
    Appended,
    Counts,
    Deleted,
    ResponseProgress,
    ResponseStatus,
    ToolCall,
    ToolCallDeleted,
    Turn,
    TurnPage,
    TurnStatus,
)
from mandrake_sessions.operations.base import Operations, check_same, create_hash
from mandrake_sessions.operations.rounds import change_response
from mandrake_sessions.paging import DEFAULT_LIMIT, check_limit, decode_index, encode_index, take_page
from mandrake_sessions.store.interface import Transaction
from mandrake_sessions.store.sql import changes, rounds, sessions, texts, tool_calls, turns
from mandrake_sessions.store.sql.leases import NO_LEASE
from mandrake_sessions.store.sql.readable import note
from mandrake_sessions.store.sql.rounds import NOT_ENDED
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sql.streams import PieceWriter, Stream
from mandrake_sessions.store.sql.turns import StoredTurn
from mandrake_sessions.store.sql.values import byte_length

# A turn in one of these stays in it; `interrupted` may still be taken up again.
FINAL = frozenset({TurnStatus.COMPLETED, TurnStatus.ERROR, TurnStatus.CANCELLED})


_TEXTS = ("content", "raw_response")


class TurnOperations(Operations):
    def create_turn(
        self, response_id: str, *, include_text: bool = True, lazily: bool = False, **fields: Unpack[NewTurn]
    ) -> Turn:
        """Begin a turn, or store a whole one with a ``status`` that ends it. With an ``id`` of the caller's the same
        call can be sent again. ``lazily``: see ``get_turn``; in a transaction, for one that was made before.

        Raises:
            NotFound: no such response.
            Conflict: ``idInUse``.
        """
        columns = rules.checked(rules.NEW_TURN, fields)
        response_id = rules.uuid("response_id", response_id)
        given = create_hash(fields, columns, response_id=response_id)
        with self._write() as tx:
            if given is not None and (existing := turns.find_turn(tx.sql, columns["id"])):
                check_same("turn", columns["id"], existing.create_hash, given)
                return self._turn(tx.sql, existing, text=include_text, lazily=lazily)
            rules.check_times(columns)
            stored = _insert(tx, rounds.get_round_of_response(tx.sql, response_id), columns, given)
            turn = turns.load_turn(tx.sql, stored, text=include_text)
            seq = changes.record_turn_created(tx, stored, turn)
            if seq > stored.seq:
                turns.update_turn(tx, stored, {}, seq)
            sessions.update_session(tx, stored.session_pk, {}, seq, active_at=_latest_moment(stored))
        return evolve(turn, seq=seq)

    def append_turn(self, turn_id: str, **piece: Unpack[Piece]) -> Appended:
        """Store the next piece of a turn's text. With ``chunk``, its ordinal, it can be sent again: a piece that is
        stored already is acknowledged and not stored twice. An interrupted turn streams again.

        Raises:
            NotFound: no such turn.
            Conflict: ``turnEnded``; ``chunkGap``, with the ordinal that is ``expected``; ``chunkDiffers``: the piece
                that is stored under this ordinal, and still kept, has another text.
            TooLarge: the text would be longer than 64 MiB.
        """
        (outcome,) = self.append_pieces([{"turn_id": turn_id, **piece}])
        if isinstance(outcome, SessionsError):
            raise outcome
        return outcome

    def append_pieces(self, pieces: Iterable[TurnPiece], *, wait: bool = True) -> list[Appended | SessionsError]:
        """Store pieces of any turns in one transaction; gives for each its receipt, or the error that ``append_turn``
        would raise (InvalidValue, NotFound, Conflict, TooLarge, Unreadable). A piece that fails takes no other with it.

        Raises:
            Busy: another process held the lock for the busy timeout, or, with ``wait=False``, holds it now. No piece
                is stored.
            StorageFailure: the store cannot be written. No piece is stored.
        """
        taken = [checked_piece(piece) for piece in pieces]
        with self.store.transaction(appends_only=True, wait=wait) as tx:
            writer = PieceWriter(tx)
            outcomes = [_append(tx, writer, piece) for piece in taken]
            writer.flush()
        return outcomes

    def update_turn(
        self, turn_id: str, *, include_text: bool = True, lazily: bool = False, **fields: Unpack[TurnUpdate]
    ) -> Turn:
        """Change what is given; ``content`` and ``raw_response`` replace the text. A turn that leaves ``streaming``
        gets its ``stream_end_time``, and its text is final then. ``lazily``: see ``get_turn``; in a transaction.

        Raises:
            NotFound: no such turn.
            Conflict: ``turnEnded``: another status, or another text, for a turn that has ended; ``endTime``: an end
                time for a turn that streams, or none for one that does not.
        """
        columns = rules.checked(rules.TURN_UPDATE, fields)
        with self._write() as tx:
            stored = turns.get_turn(tx.sql, rules.uuid("turn_id", turn_id), lenient=True)
            new_texts: dict[str, str] = {name: columns.pop(name) for name in _TEXTS if name in columns}
            _check_status(stored, columns, tx.now)
            stored = change_turn(tx, stored, columns, _replaced_texts(tx, stored, columns, new_texts))
            return self._turn(tx.sql, stored, text=include_text, lazily=lazily)

    def get_turn(self, turn_id: str, *, include_text: bool = True, lazily: bool = False) -> Turn:
        """With ``lazily``, inside a snapshot, the tool calls and the texts (in slices) of a long turn are iterators
        that read them while they are used. Raises NotFound."""
        with self._read() as sql:
            stored = turns.get_turn(sql, rules.uuid("turn_id", turn_id))
            return self._turn(sql, stored, text=include_text, lazily=lazily)

    def delete_turn(self, turn_id: str) -> Deleted:
        """Delete a turn with its tool calls and text, in the feed too. Raises NotFound."""
        with self._write() as tx:
            stored = turns.get_turn(tx.sql, rules.uuid("turn_id", turn_id), lenient=True)
            detail = rounds.round_by_pk(tx.sql, stored.round_pk, lenient=True)
            seq = tx.next_seq()
            changes.forget_turns(tx, [stored.pk])
            turns.delete_turn(tx, stored.pk)
            changes.record_turn_deleted(tx, seq, stored, detail)
            sessions.update_session(tx, stored.session_pk, {}, seq)
        return Deleted(Counts(turns=1))

    def list_turns(
        self,
        response_id: str,
        *,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        include_raw: bool = False,
        include_text: bool = True,
        lazily: bool = False,
    ) -> TurnPage:
        """The turns of a response by index. With ``lazily``, inside a snapshot, they are an iterator that reads them
        while it is used. Raises NotFound."""
        response_id = rules.uuid("response_id", response_id)
        after = decode_index(cursor, "turns", response_id)
        limit = check_limit(limit)
        with self._read() as sql:
            stored = rounds.get_round_of_response(sql, response_id)
            found = turns.list_turns(sql, stored.pk, after, limit + 1)
            weighed = turns.weighed(sql, found, text=include_text, raw=include_raw)
            weighed_page, more = take_page(weighed, lambda entry: entry[1], limit)
            page = [turn for turn, _ in weighed_page]
            loaded = self._turns(sql, page, text=include_text, raw=include_raw, lazily=lazily)
            seq, store_id = last_seq(sql), changes.store_id(sql)
        return TurnPage(loaded, encode_index("turns", response_id, page[-1].index) if more else None, seq, store_id)

    def latest_turn(self, response_id: str, *, include_text: bool = True, lazily: bool = False) -> Turn | None:
        """The turn of the highest index, None where there is no turn. ``lazily``: see ``get_turn``. Raises NotFound for
        the response."""
        with self._read() as sql:
            stored = rounds.get_round_of_response(sql, rules.uuid("response_id", response_id))
            latest = turns.latest_turn(sql, stored.pk)
            return None if latest is None else self._turn(sql, latest, text=include_text, lazily=lazily)

    def response_status(
        self, response_id: str, *, include_raw: bool = False, include_text: bool = True, lazily: bool = False
    ) -> ResponseProgress:
        """A response with all its turns, and whether none of them streams. ``lazily``: see ``list_turns``. Raises
        NotFound."""
        with self._read() as sql:
            stored = rounds.get_round_of_response(sql, rules.uuid("response_id", response_id))
            found = turns.list_turns(sql, stored.pk)
            loaded = self._turns(sql, found, text=include_text, raw=include_raw, lazily=lazily)
            seq, store_id = last_seq(sql), changes.store_id(sql)
            complete = not turns.is_streaming(sql, stored.pk)
        return ResponseProgress(complete, stored.detail.response, loaded, seq, store_id)

    def upsert_tool_call(self, turn_id: str, tool_call: ToolCallUpdate) -> ToolCall:
        """Store a tool call of a turn; fields that are left out are kept. Raises NotFound for the turn."""
        columns = rules.tool_call("tool_call", tool_call)
        with self._write() as tx:
            stored = turns.get_turn(tx.sql, rules.uuid("turn_id", turn_id))
            changed = tool_calls.upsert_tool_call(tx, stored.pk, columns)
            if changed is not None:
                _record_change(tx, stored, {}, tool_call=changed)
            found = changed or tool_calls.find_tool_call(tx.sql, stored.pk, columns["id"])
            if found is None:
                raise _no_tool_call(columns["id"])
            return found

    def delete_tool_call(self, turn_id: str, tool_call_id: str) -> ToolCallDeleted:
        """Raises NotFound for the turn or the call."""
        tool_call_id = rules.name("tool_call_id", tool_call_id)
        with self._write() as tx:
            stored = turns.get_turn(tx.sql, rules.uuid("turn_id", turn_id))
            if not tool_calls.delete_tool_call(tx, stored.pk, tool_call_id):
                raise _no_tool_call(tool_call_id)
            seq = tx.next_seq()
            after = turns.update_turn(tx, stored, {"updated_at": tx.now}, seq)
            changes.record_tool_call_deleted(tx, seq, after, tool_call_id, turns.differences(stored, after))
            sessions.update_session(tx, stored.session_pk, {}, seq)
        return ToolCallDeleted()


def checked_piece(piece: TurnPiece) -> dict[str, Any] | SessionsError:
    """The piece as it is stored, or what is wrong with it; so the transaction has nothing left to check."""
    try:
        columns = rules.checked(rules.PIECE, piece)
        if "content" not in columns and "raw_response" not in columns:
            raise InvalidValue("content", "is missing; give the next text, the next raw response, or both")
    except SessionsError as error:
        return error
    return columns


def _insert(tx: Transaction, detail: rounds.StoredRound, columns: dict[str, Any], given: bytes | None) -> StoredTurn:
    detached = columns.pop("detached", False)
    streams = columns.get("status", TurnStatus.STREAMING) == TurnStatus.STREAMING
    if streams and columns.get("stream_end_time") is not None:
        raise _end_time(lambda name: f"a turn that streams has no {name}; create it with a status that ends it")
    if not streams and columns.get("stream_end_time") is None:
        began = columns.get("stream_start_time", columns.get("created_at", tx.now))
        columns["stream_end_time"] = began
    # Of a turn that does not stream it says that it is not detached: who takes it up later will be its owner.
    lease = None if detached else tx.own_lease_id() if streams else NO_LEASE
    return turns.insert_turn(tx, detail, columns, given, lease=lease)


def _append(tx: Transaction, writer: PieceWriter, piece: dict[str, Any] | SessionsError) -> Appended | SessionsError:
    if isinstance(piece, SessionsError):
        return piece
    turn_id = piece["turn_id"]
    try:
        stream = writer.stream(turn_id)
        chunk = piece.get("chunk", stream.chunk_count)
        if chunk < stream.chunk_count:
            writer.flush()
            return _acknowledge_again(tx, stream, piece, chunk)
        if chunk > stream.chunk_count:
            raise _chunk_gap(turn_id, stream.chunk_count, chunk)
        if stream.status in FINAL:
            raise _ended(turns.get_turn(tx.sql, turn_id), "its text is final")
        content_bytes = _grown("content", stream.content_bytes, piece.get("content"))
        raw_response_bytes = _grown("raw_response", stream.raw_response_bytes, piece.get("raw_response"))
        if stream.status != TurnStatus.STREAMING:
            stream = _resumed(tx, writer, turn_id)
        writer.add(stream, piece, content_bytes, raw_response_bytes)
    except SessionsError as error:
        if isinstance(error, Unreadable):
            note(tx.sql, error)
        return error
    return Appended(turn_id, stream.seq, chunk, chunk + 1)


def _acknowledge_again(tx: Transaction, stream: Stream, piece: Mapping[str, Any], chunk: int) -> Appended:
    """The receipt of a piece that is stored already. Raises Conflict where it is still kept and has another text."""
    stored = texts.find_piece(tx.sql, stream.pk, chunk)
    if stored is None:
        return Appended(stream.turn_id, stream.seq, chunk, stream.chunk_count)
    if any((piece.get(name) or "") != (text or "") for name, text in stored.texts.items()):
        raise Conflict(
            "chunkDiffers",
            f"chunk {chunk} of turn {stream.turn_id} is stored with another text; nothing was changed. "
            f"The next chunk of this turn is {stream.chunk_count}",
            expected=stream.chunk_count,
            actual=chunk,
        )
    return Appended(stream.turn_id, stored.seq, chunk, stream.chunk_count)


def _resumed(tx: Transaction, writer: PieceWriter, turn_id: str) -> Stream:
    """The stream of an interrupted turn, taken up again."""
    writer.flush()
    stored = turns.get_turn(tx.sql, turn_id)
    change_turn(tx, stored, {"status": TurnStatus.STREAMING.value, "stream_end_time": None})
    del tx.streams[turn_id]
    return writer.stream(turn_id)


def _grown(field: str, before: int, text: str | None) -> int:
    """The length of a text with a piece added. Raises TooLarge."""
    after = before + (byte_length(text) if text else 0)
    if after > MAX_TEXT_BYTES:
        raise rules.text_too_large(field)
    return after


def _check_status(stored: StoredTurn, columns: dict[str, Any], now: int) -> None:
    """Refuse a change of status that may not be, and give or take the end time that goes with a new one."""
    status = TurnStatus(columns.get("status", stored.status))
    if stored.status in FINAL and status is not stored.status:
        raise _ended(stored, f"it cannot become {status}")
    if status is TurnStatus.STREAMING:
        if columns.get("stream_end_time") is not None:
            raise _end_time(lambda name: f"turn {stored.id} streams, so it has no {name}; end it by its status")
        columns["stream_end_time"] = None
    elif stored.status is TurnStatus.STREAMING:
        if columns.get("stream_end_time") is None:
            columns["stream_end_time"] = stored.end_time(now)
    elif "stream_end_time" in columns and columns["stream_end_time"] is None:
        raise _end_time(lambda name: f"turn {stored.id} is {stored.status}, so its {name} cannot be cleared")


def _replaced_texts(
    tx: Transaction, stored: StoredTurn, columns: Mapping[str, Any], new_texts: dict[str, str]
) -> dict[str, str]:
    """The texts that are really replaced. Raises Conflict where the turn's text is final and they differ from it."""
    status = TurnStatus(columns.get("status", stored.status))
    if not new_texts or TurnStatus.STREAMING in (stored.status, status):
        return new_texts
    now = turns.load_turn(tx.sql, stored)
    if any(getattr(now, name) != text for name, text in new_texts.items()):
        raise _ended(stored, "its text is final")
    return {}


def change_turn(
    tx: Transaction, stored: StoredTurn, columns: Mapping[str, Any], new_texts: Mapping[str, str] | None = None
) -> StoredTurn:
    """Write what differs, if anything does, and record it; gives the turn as it is then."""
    present = stored.columns
    moved = {name: value for name, value in columns.items() if present[name] != value}
    if not moved and not new_texts:
        return stored
    ends = stored.status is TurnStatus.STREAMING and "status" in moved
    if ends or new_texts:
        turns.fold_turn(tx, stored)
    # A detached turn stays so.
    streams_again = moved.get("status") == TurnStatus.STREAMING
    taken_up = streams_again and stored.lease is not None
    after = _record_change(tx, stored, moved, new_texts=new_texts, taken_up=taken_up)
    if streams_again:
        _reopen_response(tx, stored.round_pk)
    return after


def interrupt_turn(tx: Transaction, stored: StoredTurn) -> None:
    """Nobody streams the turn any more: it is interrupted, and its response with it if that has not ended."""
    end_time = stored.end_time(tx.now)
    change_turn(tx, stored, {"status": TurnStatus.INTERRUPTED.value, "stream_end_time": end_time})
    detail = rounds.round_by_pk(tx.sql, stored.round_pk, lenient=True)
    if detail.detail.response.status in NOT_ENDED:
        change_response(tx, detail, {"status": ResponseStatus.INTERRUPTED.value, "end_time": end_time})


def _reopen_response(tx: Transaction, round_pk: int) -> None:
    detail = rounds.round_by_pk(tx.sql, round_pk, lenient=True)
    if detail.detail.response.status is ResponseStatus.INTERRUPTED:
        change_response(tx, detail, {"status": ResponseStatus.OPEN.value})


def _record_change(
    tx: Transaction,
    stored: StoredTurn,
    columns: Mapping[str, Any],
    *,
    new_texts: Mapping[str, str] | None = None,
    taken_up: bool = False,
    tool_call: ToolCall | None = None,
) -> StoredTurn:
    seq = tx.next_seq()
    columns = {**columns, "updated_at": tx.now}
    after = turns.update_turn(tx, stored, columns, seq, new_texts=new_texts, taken_up=taken_up)
    changes.record_turn_updated(tx, seq, after, turns.differences(stored, after), tool_call)
    sessions.update_session(tx, stored.session_pk, {}, seq, active_at=_latest_moment(after))
    return after


def _latest_moment(turn: StoredTurn) -> int:
    """When it last moved the conversation."""
    return max(turn.stream_start_time, turn.stream_end_time or 0)


def _end_time(why: Callable[[str], str]) -> Conflict:
    """``why``: the message, given the name of the field."""
    return Conflict("endTime", lambda words: why(words.field("stream_end_time")))


def _no_tool_call(tool_call_id: str) -> NotFound:
    return NotFound("tool_call", tool_call_id, "in this turn; it was deleted, or is in another turn")


def _ended(stored: StoredTurn, why: str) -> Conflict:
    return Conflict(
        "turnEnded",
        f"turn {stored.id} is {stored.status}: {why}; create another turn",
        expected=TurnStatus.STREAMING,
        actual=stored.status,
    )


def _chunk_gap(turn_id: str, expected: int, chunk: int) -> Conflict:
    return Conflict(
        "chunkGap",
        f"turn {turn_id} has {expected} chunks, so the next is {expected}, not {chunk}; send the missing ones first",
        expected=expected,
        actual=chunk,
    )

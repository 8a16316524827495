"""What is said in a round, carried out in a store: its turns, their tool calls, and how its response stands."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import define, field

from mandrake_sessions import rules
from mandrake_sessions.acp.events import Asked, Called, Completed, Ended, Put, Requested, Said, Stood, Used
from mandrake_sessions.acp.known import KnownRound, KnownTurn, holder_id, part_id
from mandrake_sessions.acp.sessions import lost_in_all
from mandrake_sessions.acp.storable import BROKEN, cut, lenient, storable
from mandrake_sessions.acp.usage import own_share
from mandrake_sessions.acp.waiting_files import Lost
from mandrake_sessions.errors import Conflict, NotFound
from mandrake_sessions.importing.assembling import safe_text
from mandrake_sessions.importing.shaping import usable
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import ResponseStatus, RoundDetail, Turn, TurnStatus

_FINAL: Final = (ResponseStatus.COMPLETED, ResponseStatus.CANCELLED, ResponseStatus.ERROR)
_RESUMABLE: Final = (TurnStatus.STREAMING, TurnStatus.INTERRUPTED)


@define(eq=False)
class Answering:
    """Inside a transaction of the caller's, which takes back what is known here where it fails. All raise what the
    store raises; NotFound where somebody has deleted something. ``made``: turns that are noted as there since the
    caller has set it."""

    _manager: SessionManager
    turn_bytes: int
    made: list[tuple[KnownRound, str]] = field(init=False, factory=list)

    def begin(self, session_id: str, event: Asked) -> KnownRound:
        """A round, which is there from now on; it may be already."""
        detail = self._find_round(event.round)
        was_there = detail is not None
        if detail is None:
            fields: dict[str, Any] = {
                "id": event.round,
                "content": safe_text(event.text),
                "origin": event.origin,
                "metadata": dict(event.metadata),
                "created_at": usable(event.at),
            }
            if event.blocks is not None:
                fields["blocks"] = event.blocks
            detail = lenient(lambda given: self._manager.create_round(session_id, **given), fields, rules.ROUND)
        known = _known(detail, event, was_there=was_there)
        self._hold(known, event.at)
        return known

    def find(self, round_id: str) -> KnownRound:
        """One that is in the store. Raises NotFound."""
        return _known(self._manager.get_round(round_id), None, was_there=True)

    def is_there(self, known: KnownRound) -> bool:
        return self._find_round(known.id) is not None

    def drop_missing(self, known: KnownRound) -> bool:
        """Forget open turns that somebody has deleted; gives whether there are any."""
        missing = {turn.id for turn in known.open.values() if self._find_turn(turn.part_id) is None}
        for turn in missing:
            del known.open[turn]
        known.gone |= missing
        had_holder = known.has_holder
        known.has_holder = had_holder and self._find_turn(holder_id(known.id)) is not None
        return bool(missing) or known.has_holder != had_holder

    def look_again(self, known: KnownRound) -> None:
        """The store may be another one, or an older one: what is not there is made again."""
        if not self.is_there(known):
            known.forget()
            return
        known.turns -= {turn for turn in known.turns if self._find_turn(turn) is None}
        for turn in list(known.open.values()):
            if self._find_turn(turn.id) is None:
                del known.open[turn.id]
            else:
                self._learn(turn)
        if known.is_running and not known.waits:
            self._hold(known, 0)

    def request(self, known: KnownRound, event: Requested) -> None:
        fields: dict[str, Any] = {"content": safe_text(event.text), "blocks": event.blocks}
        lenient(lambda given: self._manager.update_request(known.request_id, **given), fields, rules.REQUEST)

    def say(self, known: KnownRound, event: Said, start: int | None) -> None:
        if event.turn in known.gone:
            return
        text = safe_text(event.text)
        turn = known.open.get(event.turn) or self._taken_up(known, event)
        if turn is None:
            first, rest = cut(text, self.turn_bytes)
            turn = self._make(known, event, first)
            self._append(known, turn, rest)
            if start:
                self.lose(known, Lost(event.session, known.id, event.turn, 1, start))
            return
        if start is not None and start < turn.chars:
            text = text[turn.chars - start :]
        if not text and event.turn not in known.open:
            return
        known.open[turn.id] = turn
        turn.ending = None
        self._settle(known, turn)
        try:
            self._append(known, turn, text)
        except Conflict:
            # A commit that failed may have been one after all.
            if start is None or self._learn(turn) not in _RESUMABLE:
                raise
            self._append(known, turn, safe_text(event.text)[turn.chars - start :])

    def put(self, known: KnownRound, event: Put) -> None:
        if event.turn in known.gone:
            return
        first, rest = cut(safe_text(event.text), self.turn_bytes)
        turn = known.open.get(event.turn) or self._taken_up(known, event)
        if turn is None and event.turn in known.turns:
            # Of a round that another recorder has stored to its end, what it said last is there.
            is_done = known.was_there and not known.is_running
            if is_done or not self._is_replaced(event, first):
                return
        if turn is None:
            turn = self._make(known, event, first)
        else:
            known.open[turn.id] = turn
            self._settle(known, turn)
            fields = {"content": first, "kind": event.kind, "metadata": dict(event.metadata), "status": "streaming"}
            self._update(turn.id, fields)
            turn.part, turn.chars, turn.size, turn.chunks = 0, len(first), len(first.encode()), 0
            self._learn_chunks(turn)
            turn.ending, turn.is_paused = None, False
        self._append(known, turn, rest)
        if event.is_ended:
            self.complete(known, Completed(event.session, event.round, event.turn, event.at))

    def complete(self, known: KnownRound, event: Completed) -> None:
        """The last turn that streams goes on with that until another one does."""
        turn = known.open.get(event.turn)
        if turn is None:
            found = None if event.turn in known.gone else self._find_turn(event.turn)
            if found is None:
                return
            turn, status = self._as_known(found)
            if status not in _RESUMABLE:
                return
            known.open[event.turn] = turn
        turn.ending = event
        others = [other for other in known.open.values() if other is not turn and not other.is_paused]
        if others or known.waits or not known.is_running or event.status != "completed":
            self._finish(known, turn)
            if not known.waits:
                self._hold(known, event.at)

    def call(self, known: KnownRound, event: Called) -> None:
        if event.turn in known.gone:
            return
        fields = {name: value for name, value in event.fields.items() if name in rules.TOOL_CALL}
        ending = Completed(event.session, event.round, event.turn, event.at)
        turn = known.open.get(event.turn)
        if turn is not None and turn.ending is not None:
            turn.ending = ending
        elif turn is None and event.turn not in known.turns:
            is_new = self._find_turn(event.turn) is None
            if is_new:
                self._make(known, event, "", tool_calls=[fields])
            self._note(known, event.turn)
            # Nothing is said in it.
            self.complete(known, ending)
            if is_new:
                return
        upsert = self._manager.upsert_tool_call
        lenient(lambda given: upsert(event.turn, given), fields, rules.TOOL_CALL)  # type: ignore[arg-type]

    def stand(self, known: KnownRound, event: Stood) -> None:
        if not known.is_running:
            return
        known.waits = event.status == "requires_action"
        if known.waits:
            for turn in list(known.open.values()):
                if turn.ending is not None:
                    self._finish(known, turn)
                elif not turn.is_paused:
                    self._update(turn.part_id, {"status": "interrupted", "stream_end_time": _late(turn.at, event.at)})
                    turn.is_paused = True
            if known.has_holder and known.turns:
                self._drop_holder(known)
            elif known.has_holder:
                # It has the lease that tells whether we are alive.
                self._update(holder_id(known.id), {"status": "completed", "stream_end_time": usable(event.at)})
        self._manager.update_response(known.response_id, status=ResponseStatus(event.status))
        if not known.waits and not known.streams:
            self._stream_again(known, event.at)

    def use(self, known: KnownRound, event: Used) -> None:
        if event.turn is not None:
            if event.turn not in known.gone:
                self._update(event.turn, dict(event.usage))
            return
        before = self._manager.get_response(known.response_id).usage
        fields = {name: getattr(before, name, None) for name in rules.USAGE} | dict(event.usage)
        fields |= self._own_share(known, event)
        update = self._manager.update_response
        lenient(lambda given: update(known.response_id, usage=given), fields, rules.USAGE)  # type: ignore[arg-type]

    def _own_share(self, known: KnownRound, event: Used) -> Mapping[str, Any]:
        """Of running totals of the session, what is beyond those that the store has. Nothing where it has none: what the
        session used before it was recorded is not this response's."""
        if not event.totals:
            return {}
        session_id = self._manager.get_round(known.id).round.session_id
        before = self._manager.get_session(session_id).metadata.get("totals")
        return own_share(event.totals, before) if isinstance(before, dict) else {}

    def lose(self, known: KnownRound, lost: Lost) -> None:
        """Something was lost: the turn and the response end in an error that says so."""
        if lost.turn is not None and lost.turn not in known.gone and (found := self._find_turn(lost.turn)) is not None:
            known.tells_lost = True
            self._update(lost.turn, {"metadata": _with_lost(found.metadata, lost)})
            if found.status is not TurnStatus.STREAMING:
                self._update(lost.turn, {"error": _sentence(_with_lost(found.metadata, lost)["lost"])})
        before = self._manager.get_round(known.id).round.metadata
        self._manager.update_round(known.id, metadata=_with_lost(before, lost))
        if not known.is_running:
            self._manager.update_response(known.response_id, status=ResponseStatus.ERROR)

    def end(self, known: KnownRound, event: Ended) -> None:
        lost = self._manager.get_round(known.id).round.metadata.get("lost")
        error = event.error
        if lost and not known.tells_lost:
            error = "; ".join(filter(None, (error, _sentence(lost))))
        known.waits = False
        self._end_turns(known, event, error)
        known.is_running = False
        status = "error" if lost and event.status == "completed" else event.status
        fields: dict[str, Any] = {"status": status, "end_time": usable(event.at)}
        if event.stop_reason is not None:
            fields["stop_reason"] = safe_text(event.stop_reason)
        self._manager.update_response(known.response_id, **fields)
        if event.metadata:
            before = self._manager.get_round(known.id).round.metadata
            fields = {"metadata": {**before, **event.metadata}}
            lenient(lambda given: self._manager.update_round(known.id, **given), fields, rules.ROUND)

    def close(self, known: KnownRound, at: int) -> None:
        """Nothing more comes to a round that has ended: what was said late in it is whole."""
        for turn in list(known.open.values()):
            turn.ending = turn.ending or Completed("", known.id, turn.id, at)
            self._finish(known, turn)

    def _end_turns(self, known: KnownRound, event: Ended, error: str | None) -> None:
        told = None
        if known.was_there:
            self._find_left(known)
        for turn in list(known.open.values()):
            if turn.ending is None:
                told = turn
                status = "error" if error is not None and event.status == "completed" else event.status
                turn.ending = Completed(event.session, known.id, turn.id, event.at, status, error)
            self._finish(known, turn)
        if error is not None and told is None:
            # A response has no error; a turn tells it, though nothing else is in it.
            self._hold(known, event.at)
            status = "error" if event.status == "completed" else event.status
            fields = {"status": status, "error": safe_text(error), "stream_end_time": usable(event.at)}
            self._update(holder_id(known.id), fields)
            known.has_holder = False
        elif known.has_holder:
            self._drop_holder(known)

    def _find_left(self, known: KnownRound) -> None:
        """The turns that another recorder of the round has not ended."""
        cursor = None
        while True:
            page = self._manager.list_turns(known.response_id, include_text=False, cursor=cursor)
            for found in page.turns:
                is_left = found.status in _RESUMABLE and found.id not in known.open
                if is_left and found.id == holder_id(known.id):
                    known.has_holder = True
                elif is_left and not any(turn.part_id == found.id for turn in known.open.values()):
                    known.open[found.id] = KnownTurn(found.id, found.kind, found.stream_start_time, {})
            cursor = page.next_cursor
            if cursor is None:
                return

    def _make(
        self,
        known: KnownRound,
        event: Said | Put | Called,
        text: str,
        *,
        tool_calls: list[dict[str, Any]] | None = None,
    ) -> KnownTurn:
        """A new turn, which streams; those before it that have nothing more to say end."""
        kind = "tool_calls" if isinstance(event, Called) else event.kind
        metadata = {} if isinstance(event, Called) else dict(event.metadata)
        turn = KnownTurn(event.turn, kind, usable(event.at), metadata)
        self._create(known, turn, text, tool_calls or [])
        self._note(known, turn.id)
        known.open[turn.id] = turn
        self._settle(known, turn)
        return turn

    def _create(self, known: KnownRound, turn: KnownTurn, text: str, tool_calls: list[Any]) -> None:
        fields: dict[str, Any] = {
            "id": turn.part_id,
            "kind": turn.kind,
            "metadata": turn.metadata,
            "created_at": turn.at,
            "content": text,
        }
        create = self._manager.create_turn

        def made(given: dict[str, Any]) -> None:
            create(known.response_id, include_text=False, **given)

        try:
            made({**fields, "tool_calls": tool_calls})
        except BROKEN:
            calls = [storable(call, rules.TOOL_CALL) for call in tool_calls]
            made({**storable(fields, rules.TURN), "tool_calls": calls})
        turn.chars += len(text)
        turn.size, turn.chunks = len(text.encode()), 0

    def _append(self, known: KnownRound, turn: KnownTurn, text: str) -> None:
        while text:
            piece, text = cut(text, self.turn_bytes - turn.size)
            if piece:
                self._manager.append_turn(turn.part_id, content=piece, chunk=turn.chunks)
                turn.add(piece)
                turn.is_paused = False
            if text:
                with suppress(Conflict):
                    self._update(turn.part_id, {"status": "completed"})
                turn.part += 1
                piece, text = cut(text, self.turn_bytes)
                self._create(known, turn, piece, [])

    def _settle(self, known: KnownRound, but: KnownTurn) -> None:
        """This turn streams now, so that those which have nothing more to say end, and the empty one goes."""
        for turn in list(known.open.values()):
            if turn is not but and turn.ending is not None:
                self._finish(known, turn)
        if known.has_holder:
            self._drop_holder(known)

    def _finish(self, known: KnownRound, turn: KnownTurn) -> None:
        assert turn.ending is not None
        ending = turn.ending
        status, error = ending.status, ending.error
        found = self._manager.get_turn(turn.id, include_text=False)
        if (lost := found.metadata.get("lost")) is not None:
            error = "; ".join(filter(None, (error, _sentence(lost))))
            status = "error" if status == "completed" else status
        fields: dict[str, Any] = {"status": status, "stream_end_time": _late(turn.at, ending.at)}
        if error is not None:
            fields["error"] = safe_text(error)
        self._update(turn.part_id, fields)
        del known.open[turn.id]

    def _hold(self, known: KnownRound, at: int) -> None:
        """A turn streams, though nothing was said yet."""
        if not known.is_running or known.streams:
            return
        name = holder_id(known.id)
        found = self._find_turn(name)
        if found is not None and found.status not in _RESUMABLE:
            self._manager.delete_turn(name)
            found = None
        if found is None:
            begun = usable(at)
            self._manager.create_turn(known.response_id, id=name, kind="message", created_at=begun)
        elif found.status is TurnStatus.INTERRUPTED:
            self._update(name, {"status": "streaming"})
        known.has_holder = True

    def _drop_holder(self, known: KnownRound) -> None:
        known.has_holder = False
        with suppress(NotFound):
            self._manager.delete_turn(holder_id(known.id))

    def _stream_again(self, known: KnownRound, at: int) -> None:
        paused = [turn for turn in known.open.values() if turn.is_paused]
        for turn in paused:
            self._update(turn.part_id, {"status": "streaming"})
            turn.is_paused = False
        if not paused:
            self._hold(known, at)

    def _taken_up(self, known: KnownRound, event: Said | Put) -> KnownTurn | None:
        """A turn that another process has begun, or that has ended: one that may still grow. None: it is to be made."""
        found = self._find_turn(event.turn)
        if found is None:
            if event.turn in known.turns:
                raise NotFound("turn", event.turn)
            return None
        self._note(known, event.turn)
        if isinstance(event, Put) and found.status not in _RESUMABLE:
            return None
        turn, status = self._as_known(found)
        if status not in _RESUMABLE:
            # It goes on in another one.
            turn.size = self.turn_bytes
        return turn

    def _is_replaced(self, event: Put, text: str) -> bool:
        """Whether a turn that has ended has to be made anew, since it says something else now; it is gone then."""
        try:
            if not event.is_ended:
                self._manager.delete_turn(event.turn)
                return True
            self._update(event.turn, {"content": text, "kind": event.kind, "metadata": dict(event.metadata)})
        except Conflict:
            self._manager.delete_turn(event.turn)
            return True
        return False

    def _as_known(self, found: Turn) -> tuple[KnownTurn, TurnStatus]:
        """With the status of its last part."""
        turn = KnownTurn(found.id, found.kind, found.stream_start_time, dict(found.metadata))
        return turn, self._learn(turn)

    def _learn(self, turn: KnownTurn) -> TurnStatus:
        """How long it is in the store, in all its parts; gives the status of the last of them."""
        turn.chars, turn.part = 0, 0
        found = self._manager.get_turn(turn.id)
        while True:
            text = found.content or ""
            turn.chars += len(text)
            turn.size, turn.chunks = len(text.encode()), found.chunk_count
            turn.is_paused = found.status is TurnStatus.INTERRUPTED
            following = self._find_turn(part_id(turn.id, turn.part + 1), include_text=True)
            if following is None:
                return found.status
            turn.part += 1
            found = following

    def _learn_chunks(self, turn: KnownTurn) -> None:
        turn.chunks = self._manager.get_turn(turn.id, include_text=False).chunk_count

    def _note(self, known: KnownRound, turn_id: str) -> None:
        if turn_id not in known.turns:
            known.turns.add(turn_id)
            self.made.append((known, turn_id))

    def _update(self, turn_id: str, fields: dict[str, Any]) -> None:
        update = self._manager.update_turn
        lenient(lambda given: update(turn_id, include_text=False, **given), fields, rules.TURN_UPDATE)

    def _find_turn(self, turn_id: str, *, include_text: bool = False) -> Turn | None:
        with suppress(NotFound):
            return self._manager.get_turn(turn_id, include_text=include_text)
        return None

    def _find_round(self, round_id: str) -> RoundDetail | None:
        with suppress(NotFound):
            return self._manager.get_round(round_id)
        return None


def _known(detail: RoundDetail, asked: Asked | None, *, was_there: bool) -> KnownRound:
    """One that another recorder has left interrupted may go on: what it has written down to be stored follows."""
    response = detail.response
    is_running = response.status not in _FINAL
    return KnownRound(detail.round.id, detail.request.id, response.id, asked, is_running, was_there=was_there)


def _late(start: int, at: int) -> int:
    return max(start, usable(at))


def _with_lost(metadata: Mapping[str, Any], lost: Lost) -> dict[str, Any]:
    return {**metadata, "lost": lost_in_all(metadata.get("lost"), lost)}


def _sentence(lost: Any) -> str:
    size = lost.get("bytes", 0) if isinstance(lost, dict) else 0
    what = f"{size} bytes of text" if size else "a part of this"
    return f"{what} could not be kept: the store could not be written for too long, or was replaced"

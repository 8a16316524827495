"""What is said in a round, carried out in a store: its turns, their tool calls, and how its response stands."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import define

from mandrake_sessions import rules
from mandrake_sessions.acp.events import Asked, Called, Completed, Ended, Put, Requested, Said, Stood, Used
from mandrake_sessions.acp.known import KnownRound, holder_id
from mandrake_sessions.acp.losses import lost_sentence, with_lost
from mandrake_sessions.acp.storable import cut, lenient
from mandrake_sessions.acp.turns import RESUMABLE, Turns, late
from mandrake_sessions.acp.usage import own_share
from mandrake_sessions.acp.waiting_files import Lost
from mandrake_sessions.errors import Conflict, NotFound
from mandrake_sessions.importing.assembling import safe_text
from mandrake_sessions.importing.shaping import usable
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import ResponseStatus, RoundDetail, TurnStatus

_FINAL: Final = (ResponseStatus.COMPLETED, ResponseStatus.CANCELLED, ResponseStatus.ERROR)


@define(eq=False)
class Answering:
    """Inside a transaction of the caller's, which takes back what is known here where it fails. All raise what the
    store raises; NotFound where somebody has deleted something."""

    _manager: SessionManager
    _turns: Turns

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
        self._turns.hold(known, event.at)
        return known

    def find(self, round_id: str) -> KnownRound:
        """One that is in the store. Raises NotFound."""
        return _known(self._manager.get_round(round_id), None, was_there=True)

    def is_there(self, known: KnownRound) -> bool:
        return self._find_round(known.id) is not None

    def look_again(self, known: KnownRound) -> None:
        """The store may be another one, or an older one: what is not there is made again."""
        if not self.is_there(known):
            known.forget()
            return
        known.turns -= {turn for turn in known.turns if self._turns.find(turn) is None}
        for turn in list(known.open.values()):
            if self._turns.find(turn.id) is None:
                del known.open[turn.id]
            else:
                self._turns.learn(turn)
        if known.is_running and not known.waits:
            self._turns.hold(known, 0)

    def request(self, known: KnownRound, event: Requested) -> None:
        fields: dict[str, Any] = {"content": safe_text(event.text), "blocks": event.blocks}
        lenient(lambda given: self._manager.update_request(known.request_id, **given), fields, rules.REQUEST)

    def say(self, known: KnownRound, event: Said, start: int | None) -> None:
        if event.turn in known.gone:
            return
        text = safe_text(event.text)
        turn = known.open.get(event.turn) or self._turns.taken_up(known, event)
        if turn is None:
            first, rest = cut(text, self._turns.turn_bytes)
            turn = self._turns.make(known, event, first)
            self._turns.append(known, turn, rest)
            if start:
                self.lose(known, Lost(event.session, known.id, event.turn, 1, start))
            return
        if start is not None and start < turn.chars:
            text = text[turn.chars - start :]
        if not text and event.turn not in known.open:
            return
        known.open[turn.id] = turn
        turn.ending = None
        self._turns.settle(known, turn)
        try:
            self._turns.append(known, turn, text)
        except Conflict:
            # A commit that failed may have been one after all.
            if start is None or self._turns.learn(turn) not in RESUMABLE:
                raise
            self._turns.append(known, turn, safe_text(event.text)[turn.chars - start :])

    def put(self, known: KnownRound, event: Put) -> None:
        if event.turn in known.gone:
            return
        first, rest = cut(safe_text(event.text), self._turns.turn_bytes)
        turn = known.open.get(event.turn) or self._turns.taken_up(known, event)
        if turn is None and event.turn in known.turns:
            # Of a round that another recorder has stored to its end, what it said last is there.
            is_done = known.was_there and not known.is_running
            if is_done or not self._is_replaced(event, first):
                return
        if turn is None:
            turn = self._turns.make(known, event, first)
        else:
            known.open[turn.id] = turn
            self._turns.settle(known, turn)
            fields = {"content": first, "kind": event.kind, "metadata": dict(event.metadata), "status": "streaming"}
            self._turns.update(turn.id, fields)
            turn.part, turn.chars, turn.size, turn.chunks = 0, len(first), len(first.encode()), 0
            self._turns.learn_chunks(turn)
            turn.ending, turn.is_paused = None, False
        self._turns.append(known, turn, rest)
        if event.is_ended:
            self.complete(known, Completed(event.session, event.round, event.turn, event.at))

    def complete(self, known: KnownRound, event: Completed) -> None:
        """The last turn that streams goes on with that until another one does."""
        turn = known.open.get(event.turn)
        if turn is None:
            found = None if event.turn in known.gone else self._turns.find(event.turn)
            if found is None:
                return
            turn, status = self._turns.as_known(found)
            if status not in RESUMABLE:
                return
            known.open[event.turn] = turn
        turn.ending = event
        others = [other for other in known.open.values() if other is not turn and not other.is_paused]
        if others or known.waits or not known.is_running or event.status != "completed":
            self._turns.finish(known, turn)
            if not known.waits:
                self._turns.hold(known, event.at)

    def call(self, known: KnownRound, event: Called) -> None:
        if event.turn in known.gone:
            return
        fields = {name: value for name, value in event.fields.items() if name in rules.TOOL_CALL}
        ending = Completed(event.session, event.round, event.turn, event.at)
        turn = known.open.get(event.turn)
        if turn is not None and turn.ending is not None:
            turn.ending = ending
        elif turn is None and event.turn not in known.turns:
            is_new = self._turns.find(event.turn) is None
            if is_new:
                self._turns.make(known, event, "", tool_calls=[fields])
            self._turns.note(known, event.turn)
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
                    self._turns.finish(known, turn)
                elif not turn.is_paused:
                    self._turns.update(
                        turn.part_id, {"status": "interrupted", "stream_end_time": late(turn.at, event.at)}
                    )
                    turn.is_paused = True
            if known.has_holder and known.turns:
                self._turns.drop_holder(known)
            elif known.has_holder:
                # It has the lease that tells whether we are alive.
                self._turns.update(holder_id(known.id), {"status": "completed", "stream_end_time": usable(event.at)})
        self._manager.update_response(known.response_id, status=ResponseStatus(event.status))
        if not known.waits and not known.streams:
            self._turns.stream_again(known, event.at)

    def use(self, known: KnownRound, event: Used) -> None:
        if event.turn is not None:
            if event.turn not in known.gone:
                self._turns.update(event.turn, dict(event.usage))
            return
        before = self._manager.get_response(known.response_id).usage
        fields = {name: getattr(before, name, None) for name in rules.USAGE} | dict(event.usage)
        fields |= self._own_share(known, event)
        update = self._manager.update_response
        lenient(lambda given: update(known.response_id, usage=given), fields, rules.USAGE)  # type: ignore[arg-type]

    def _own_share(self, known: KnownRound, event: Used) -> Mapping[str, Any]:
        """Of running totals of the session, what is beyond those that the store has. Nothing where it has none: what
        the session used before it was recorded is not this response's."""
        if not event.totals:
            return {}
        session_id = self._manager.get_round(known.id).round.session_id
        before = self._manager.get_session(session_id).metadata.get("totals")
        return own_share(event.totals, before) if isinstance(before, dict) else {}

    def lose(self, known: KnownRound, lost: Lost) -> None:
        """Something was lost: the turn and the response end in an error that says so."""
        if lost.turn is not None and lost.turn not in known.gone and (found := self._turns.find(lost.turn)) is not None:
            known.tells_lost = True
            self._turns.update(lost.turn, {"metadata": with_lost(found.metadata, lost)})
            if found.status is not TurnStatus.STREAMING:
                self._turns.update(lost.turn, {"error": lost_sentence(with_lost(found.metadata, lost)["lost"])})
        before = self._manager.get_round(known.id).round.metadata
        self._manager.update_round(known.id, metadata=with_lost(before, lost))
        if not known.is_running:
            self._manager.update_response(known.response_id, status=ResponseStatus.ERROR)

    def end(self, known: KnownRound, event: Ended) -> None:
        lost = self._manager.get_round(known.id).round.metadata.get("lost")
        error = event.error
        if lost and not known.tells_lost:
            error = "; ".join(filter(None, (error, lost_sentence(lost))))
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
            self._turns.finish(known, turn)

    def _end_turns(self, known: KnownRound, event: Ended, error: str | None) -> None:
        told = None
        if known.was_there:
            self._turns.find_left(known)
        for turn in list(known.open.values()):
            if turn.ending is None:
                told = turn
                status = "error" if error is not None and event.status == "completed" else event.status
                turn.ending = Completed(event.session, known.id, turn.id, event.at, status, error)
            self._turns.finish(known, turn)
        if error is not None and told is None:
            # A response has no error; a turn tells it, though nothing else is in it.
            self._turns.hold(known, event.at)
            status = "error" if event.status == "completed" else event.status
            fields = {"status": status, "error": safe_text(error), "stream_end_time": usable(event.at)}
            self._turns.update(holder_id(known.id), fields)
            known.has_holder = False
        elif known.has_holder:
            self._turns.drop_holder(known)

    def _is_replaced(self, event: Put, text: str) -> bool:
        """Whether a turn that has ended has to be made anew, since it says something else now; it is gone then."""
        try:
            if not event.is_ended:
                self._manager.delete_turn(event.turn)
                return True
            self._turns.update(event.turn, {"content": text, "kind": event.kind, "metadata": dict(event.metadata)})
        except Conflict:
            self._manager.delete_turn(event.turn)
            return True
        return False

    def _find_round(self, round_id: str) -> RoundDetail | None:
        with suppress(NotFound):
            return self._manager.get_round(round_id)
        return None


def _known(detail: RoundDetail, asked: Asked | None, *, was_there: bool) -> KnownRound:
    """One that another recorder has left interrupted may go on: what it has written down to be stored follows."""
    response = detail.response
    is_running = response.status not in _FINAL
    return KnownRound(detail.round.id, detail.request.id, response.id, asked, is_running, was_there=was_there)

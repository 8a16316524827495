"""The turns of a round that runs: made, said on in, and ended, so that one streams as long as the round runs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from attrs import define, field

from mandrake_sessions import rules
from mandrake_sessions.acp.events import Called, Put, Said
from mandrake_sessions.acp.known import KnownRound, KnownTurn, holder_id, part_id
from mandrake_sessions.acp.losses import lost_sentence
from mandrake_sessions.acp.storable import BROKEN, cut, lenient, storable
from mandrake_sessions.errors import Conflict, NotFound
from mandrake_sessions.importing.assembling import safe_text
from mandrake_sessions.importing.shaping import usable
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Turn, TurnStatus

# A turn that may go on.
RESUMABLE: Final = (TurnStatus.STREAMING, TurnStatus.INTERRUPTED)


@define(eq=False)
class Turns:
    """Inside a transaction of the caller's, as ``Answering``. ``turn_bytes``: what one holds at most. ``made``: those
    that are noted as there since the caller has set it."""

    _manager: SessionManager
    turn_bytes: int
    made: list[tuple[KnownRound, str]] = field(init=False, factory=list)

    def drop_missing(self, known: KnownRound) -> bool:
        """Forget open turns that somebody has deleted; gives whether there are any."""
        missing = {turn.id for turn in known.open.values() if self.find(turn.part_id) is None}
        for turn in missing:
            del known.open[turn]
        known.gone |= missing
        had_holder = known.has_holder
        known.has_holder = had_holder and self.find(holder_id(known.id)) is not None
        return bool(missing) or known.has_holder != had_holder

    def find_left(self, known: KnownRound) -> None:
        """The turns that another recorder of the round has not ended."""
        cursor = None
        while True:
            page = self._manager.list_turns(known.response_id, include_text=False, cursor=cursor)
            for found in page.turns:
                is_left = found.status in RESUMABLE and found.id not in known.open
                if is_left and found.id == holder_id(known.id):
                    known.has_holder = True
                elif is_left and not any(turn.part_id == found.id for turn in known.open.values()):
                    known.open[found.id] = KnownTurn(found.id, found.kind, found.stream_start_time, {})
            cursor = page.next_cursor
            if cursor is None:
                return

    def make(
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
        self.note(known, turn.id)
        known.open[turn.id] = turn
        self.settle(known, turn)
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

    def append(self, known: KnownRound, turn: KnownTurn, text: str) -> None:
        while text:
            piece, text = cut(text, self.turn_bytes - turn.size)
            if piece:
                self._manager.append_turn(turn.part_id, content=piece, chunk=turn.chunks)
                turn.add(piece)
                turn.is_paused = False
            if text:
                with suppress(Conflict):
                    self.update(turn.part_id, {"status": "completed"})
                turn.part += 1
                piece, text = cut(text, self.turn_bytes)
                self._create(known, turn, piece, [])

    def settle(self, known: KnownRound, but: KnownTurn) -> None:
        """This turn streams now, so that those which have nothing more to say end, and the empty one goes."""
        for turn in list(known.open.values()):
            if turn is not but and turn.ending is not None:
                self.finish(known, turn)
        if known.has_holder:
            self.drop_holder(known)

    def finish(self, known: KnownRound, turn: KnownTurn) -> None:
        assert turn.ending is not None
        ending = turn.ending
        status, error = ending.status, ending.error
        found = self._manager.get_turn(turn.id, include_text=False)
        if (lost := found.metadata.get("lost")) is not None:
            error = "; ".join(filter(None, (error, lost_sentence(lost))))
            status = "error" if status == "completed" else status
        fields: dict[str, Any] = {"status": status, "stream_end_time": late(turn.at, ending.at)}
        if error is not None:
            fields["error"] = safe_text(error)
        self.update(turn.part_id, fields)
        del known.open[turn.id]

    def hold(self, known: KnownRound, at: int) -> None:
        """A turn streams, though nothing was said yet."""
        if not known.is_running or known.streams:
            return
        name = holder_id(known.id)
        found = self.find(name)
        if found is not None and found.status not in RESUMABLE:
            self._manager.delete_turn(name)
            found = None
        if found is None:
            begun = usable(at)
            self._manager.create_turn(known.response_id, id=name, kind="message", created_at=begun)
        elif found.status is TurnStatus.INTERRUPTED:
            self.update(name, {"status": "streaming"})
        known.has_holder = True

    def drop_holder(self, known: KnownRound) -> None:
        known.has_holder = False
        with suppress(NotFound):
            self._manager.delete_turn(holder_id(known.id))

    def stream_again(self, known: KnownRound, at: int) -> None:
        paused = [turn for turn in known.open.values() if turn.is_paused]
        for turn in paused:
            self.update(turn.part_id, {"status": "streaming"})
            turn.is_paused = False
        if not paused:
            self.hold(known, at)

    def taken_up(self, known: KnownRound, event: Said | Put) -> KnownTurn | None:
        """A turn that another process has begun, or that has ended: one that may still grow. None: it is to be made."""
        found = self.find(event.turn)
        if found is None:
            if event.turn in known.turns:
                raise NotFound("turn", event.turn)
            return None
        self.note(known, event.turn)
        if isinstance(event, Put) and found.status not in RESUMABLE:
            return None
        turn, status = self.as_known(found)
        if status not in RESUMABLE:
            # It goes on in another one.
            turn.size = self.turn_bytes
        return turn

    def as_known(self, found: Turn) -> tuple[KnownTurn, TurnStatus]:
        """With the status of its last part."""
        turn = KnownTurn(found.id, found.kind, found.stream_start_time, dict(found.metadata))
        return turn, self.learn(turn)

    def learn(self, turn: KnownTurn) -> TurnStatus:
        """How long it is in the store, in all its parts; gives the status of the last of them."""
        turn.chars, turn.part = 0, 0
        found = self._manager.get_turn(turn.id)
        while True:
            text = found.content or ""
            turn.chars += len(text)
            turn.size, turn.chunks = len(text.encode()), found.chunk_count
            turn.is_paused = found.status is TurnStatus.INTERRUPTED
            following = self.find(part_id(turn.id, turn.part + 1), include_text=True)
            if following is None:
                return found.status
            turn.part += 1
            found = following

    def learn_chunks(self, turn: KnownTurn) -> None:
        turn.chunks = self._manager.get_turn(turn.id, include_text=False).chunk_count

    def note(self, known: KnownRound, turn_id: str) -> None:
        if turn_id not in known.turns:
            known.turns.add(turn_id)
            self.made.append((known, turn_id))

    def update(self, turn_id: str, fields: dict[str, Any]) -> None:
        update = self._manager.update_turn
        lenient(lambda given: update(turn_id, include_text=False, **given), fields, rules.TURN_UPDATE)

    def find(self, turn_id: str, *, include_text: bool = False) -> Turn | None:
        with suppress(NotFound):
            return self._manager.get_turn(turn_id, include_text=include_text)
        return None


def late(start: int, at: int) -> int:
    return max(start, usable(at))

"""Events carried out in a store: sessions, rounds and turns as they are said, in order.

A batch is one transaction, and texts of one turn in it are one piece. What is carried out again changes nothing: ids
are given, and a text says where in its turn it begins. While a round runs one of its turns streams, at first an empty
one: a turn's stream belongs to this process, so if the process is killed every other one ends the round as interrupted.
While somebody is asked nothing streams, so that the session is shown as waiting; of a recorder that was killed just
then the next one ends the round (``leftovers.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import evolve

from mandrake_sessions.acp.answering import Answering
from mandrake_sessions.acp.events import (
    Asked,
    Began,
    Called,
    Completed,
    Described,
    Ended,
    Event,
    Put,
    Requested,
    Said,
    Stood,
    Used,
)
from mandrake_sessions.acp.known import KnownRound, KnownSession, KnownTurn
from mandrake_sessions.acp.sessions import Sessions
from mandrake_sessions.acp.turns import Turns
from mandrake_sessions.acp.waiting_files import Entry, Lost
from mandrake_sessions.errors import Busy, NotFound, NotOpen, SessionsError, StoreError, StrangePart, Unreadable
from mandrake_sessions.limits import MAX_TEXT_BYTES
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.operations.leases import interrupt_orphans
from mandrake_sessions.quoting import shorten

logger = logging.getLogger(__name__)

_JOINED_BYTES: Final = 1024 * 1024


class Storing:
    """``store`` batches, in order. The manager may be closed and opened in between. ``turn_bytes``: what a turn holds
    at most."""

    def __init__(self, manager: SessionManager, *, turn_bytes: int = MAX_TEXT_BYTES) -> None:
        self._manager = manager
        self._sessions = Sessions(manager)
        self._turns = Turns(manager, turn_bytes)
        self._answering = Answering(manager, self._turns)
        self._reconnects = manager.store.reconnects
        self._before: dict[str, KnownSession | None] = {}
        self._of_round: dict[type, Callable[[KnownSession, KnownRound, Any, int | None], None]] = {
            Requested: lambda _, known, event, __: self._answering.request(known, event),
            Said: lambda _, known, event, start: self._answering.say(known, event, start),
            Put: lambda _, known, event, __: self._answering.put(known, event),
            Completed: lambda _, known, event, __: self._answering.complete(known, event),
            Called: lambda _, known, event, __: self._answering.call(known, event),
            Stood: lambda _, known, event, __: self._answering.stand(known, event),
            Used: lambda _, known, event, __: self._answering.use(known, event),
            Ended: lambda session, known, event, __: self._end(session, known, event),
            Lost: lambda _, known, event, __: self._answering.lose(known, event),
        }

    @property
    def is_idle(self) -> bool:
        """Whether no round runs."""
        return not any(any(session.running) for session in self._sessions.known.values())

    @property
    def unfinished(self) -> list[Event]:
        """How turns end that stream on until another one does: of these the store does not know it yet."""
        return [
            turn.ending
            for session in self._sessions.known.values()
            for known in session.running
            for turn in known.open.values()
            if turn.ending is not None
        ]

    def store(self, batch: Sequence[Entry]) -> None:
        """All of it but what a single event is to blame for, which is logged and left out.

        Raises Busy, StorageFailure, NotOpen: nothing of it is stored, and it can be given again.
        """
        rest = self._append(joined(batch))
        if not rest:
            return
        if any(isinstance(entry.event, Began) for entry in rest):
            # Another recorder of the session may have been killed.
            with suppress(Busy):
                interrupt_orphans(self._manager.store, wait=False)
        self._before = {}
        made = self._turns.made = []
        try:
            with self._manager.transaction():
                self._look_at_store()
                for entry in rest:
                    self._take(entry)
            self._reconnects = self._manager.store.reconnects
        except BaseException:
            _forget_made(made, 0)
            self._take_back(self._before)
            raise

    def finish(self, at: int, why: str) -> None:
        """Nothing more comes: what was said late is whole, and rounds that still run end. Raises what ``store``
        raises."""
        left: list[Event] = []
        for session in self._sessions.known.values():
            name = session.began.session
            for known in session.rounds.values():
                if known.is_running and not known.is_gone:
                    left.append(Ended(name, known.id, at, "interrupted", error=why))
                else:
                    left += [Completed(name, known.id, turn, at) for turn in known.open]
        if left:
            self.store([Entry(event, None, 0) for event in left])

    def _append(self, entries: list[Entry]) -> list[Entry]:
        """The short way of texts for turns that stream; gives what is to take the long one."""
        turns = [turn for entry in entries if (turn := self._plain(entry)) is not None]
        if len(turns) < len(entries) or self._reconnects != self._manager.store.reconnects:
            return entries
        texts = [entry.event.text for entry in entries if isinstance(entry.event, Said)]
        outcomes = self._manager.append_pieces(
            [
                {"turn_id": turn.part_id, "content": text, "chunk": turn.chunks}
                for turn, text in zip(turns, texts, strict=True)
            ]
        )
        rest: list[Entry] = []
        for entry, turn, text, outcome in zip(entries, turns, texts, outcomes, strict=True):
            if isinstance(outcome, SessionsError):
                rest.append(entry)
            else:
                turn.add(text)
        return rest

    def _plain(self, entry: Entry) -> KnownTurn | None:
        """The turn to which a text is simply appended."""
        event = entry.event
        session = self._sessions.known.get(event.session)
        if not isinstance(event, Said) or not event.text or session is None or session.is_gone:
            return None
        known = session.rounds.get(event.round)
        turn = None if known is None else known.open.get(event.turn)
        if known is None or turn is None or known.is_gone or turn.is_paused or turn.ending is not None:
            return None
        fits = turn.size + len(event.text.encode()) <= self._turns.turn_bytes
        return turn if fits and entry.start in (None, turn.chars) else None

    def look_again(self) -> None:
        """The store was closed, and may be another one when it is opened."""
        self._reconnects = -1

    def _look_at_store(self) -> None:
        """What is known of it may not be so any more."""
        if self._manager.store.reconnects == self._reconnects:
            return
        self._remember(self._sessions.known)
        self._sessions.look_again()
        for session in self._sessions.known.values():
            for known in session.rounds.values():
                if session.id is not None and known.response_id and not known.is_gone:
                    self._answering.look_again(known)

    def _take(self, entry: Entry) -> None:
        """One event, which undoes itself alone where it fails."""
        event = entry.event
        names = self._sessions.above(event)
        self._remember(names)
        before = self._sessions.clones(names)
        made = len(self._turns.made)
        try:
            with self._manager.transaction():
                self._do(entry)
        except NotFound as missing:
            self._undo(before, made)
            self._missed(entry, missing)
        except Exception as error:
            if _is_of_store(error):
                raise
            self._undo(before, made)
            name, session = type(event).__name__, shorten(event.session)
            logger.warning("an event (%s) of session %r is left out: %s", name, session, error)

    def _undo(self, before: Mapping[str, KnownSession | None], made: int) -> None:
        _forget_made(self._turns.made, made)
        self._take_back(before)

    def _do(self, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, Began):
            self._sessions.begin(event)
            return
        session = self._sessions.known.get(event.session)
        if session is None or session.is_gone:
            logger.debug("%s of a session that nothing is known of, or that was deleted", type(event).__name__)
            return
        if isinstance(event, Described):
            self._sessions.describe(session, event)
        elif isinstance(event, Asked):
            self._ask(session, event)
        else:
            known = None if event.round is None else self._round(session, event.round)
            if known is None and isinstance(event, Lost):
                self._sessions.lose(session, event)
            elif known is not None and not known.is_gone:
                self._of_round[type(event)](session, known, event, entry.start)

    def _ask(self, session: KnownSession, event: Asked) -> None:
        session_id = self._sessions.stored(session)
        present = session.rounds.get(event.round)
        if present is not None and (present.response_id or present.is_gone):
            return
        for known in session.rounds.values():
            if not known.is_running:
                self._answering.close(known, event.at)
        session.rounds[event.round] = self._answering.begin(session_id, event)
        session.forget_ended()

    def _end(self, session: KnownSession, known: KnownRound, event: Ended) -> None:
        self._answering.end(known, event)
        # The latest of those that have ended is the last to be forgotten.
        session.rounds[known.id] = session.rounds.pop(known.id)
        session.forget_ended()

    def _round(self, session: KnownSession, round_id: str) -> KnownRound | None:
        """None: there is none, so somebody has deleted it, or it was lost."""
        known = session.rounds.get(round_id)
        if known is None:
            with suppress(NotFound):
                known = session.rounds[round_id] = self._answering.find(round_id)
        elif not known.response_id:
            # It was in a store that is gone.
            if known.asked is None or not known.is_running:
                return None
            known = session.rounds[round_id] = self._answering.begin(self._sessions.stored(session), known.asked)
        return known

    def _missed(self, entry: Entry, missing: NotFound) -> None:
        """Somebody has deleted what the event is about; what is left of that is dropped."""
        session = self._sessions.known.get(entry.event.session)
        logger.debug("%s: %s", type(entry.event).__name__, missing)
        if session is None or session.id is None:
            return
        known = session.rounds.get(getattr(entry.event, "round", None) or "")
        turn = getattr(entry.event, "turn", None)
        if not self._sessions.is_there(session):
            session.is_gone = True
            session.rounds.clear()
        elif known is not None and not self._answering.is_there(known):
            known.is_gone, known.is_running = True, False
            known.open.clear()
        elif known is not None and turn is not None and turn in known.turns:
            known.gone |= {turn}
            known.open.pop(turn, None)
        elif known is not None and self._turns.drop_missing(known):
            self._take(entry)

    def _remember(self, names: Iterable[str]) -> None:
        self._before |= self._sessions.clones(name for name in names if name not in self._before)

    def _take_back(self, before: Mapping[str, KnownSession | None]) -> None:
        for name, session in before.items():
            if session is None:
                self._sessions.known.pop(name, None)
            else:
                self._sessions.known[name] = session


def _is_of_store(error: Exception) -> bool:
    """Whether the store is at fault, and not the event or what it is about."""
    if isinstance(error, Unreadable):
        return isinstance(error, StrangePart)
    return isinstance(error, StoreError | NotOpen)


def _forget_made(made: list[tuple[KnownRound, str]], kept: int) -> None:
    for known, turn in made[kept:]:
        known.turns.discard(turn)
    del made[kept:]


def joined(batch: Sequence[Entry]) -> list[Entry]:
    """The same with neighbouring texts of each turn as one. Texts of several turns may take turns."""
    found: list[Entry] = []
    last: dict[str, int] = {}
    texts: dict[int, list[str]] = {}
    sizes: dict[int, int] = {}
    for entry in batch:
        event = entry.event
        if not isinstance(event, Said):
            last.clear()
            found.append(entry)
            continue
        place = last.get(event.turn)
        if place is None or sizes[place] + len(event.text) > _JOINED_BYTES:
            place = last[event.turn] = len(found)
            texts[place], sizes[place] = [], 0
            found.append(entry)
        texts[place].append(event.text)
        sizes[place] += len(event.text)
    for place, parts in texts.items():
        event = found[place].event
        if len(parts) > 1 and isinstance(event, Said):
            found[place] = evolve(found[place], event=evolve(event, text="".join(parts)))
    return found

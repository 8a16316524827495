"""A store in which sessions are recorded, and the thread that writes there.

Where the store cannot be written, what comes waits (``waiting.py``), and the person is told once, and once when it is
over. What still waits at the end stays in a file, which the next recorder on that store takes up first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from attrs import evolve

from mandrake_sessions.acp.events import Event
from mandrake_sessions.acp.leftovers import end_all_left_waiting
from mandrake_sessions.acp.storing import Storing
from mandrake_sessions.acp.waiting import Bounds, Waiting
from mandrake_sessions.acp.waiting_files import PREFIX, WaitingFile, left_behind, make_waiting_file
from mandrake_sessions.errors import Busy, NoStore, SessionsError
from mandrake_sessions.files import exists
from mandrake_sessions.ids import now_ms
from mandrake_sessions.known_stores import note_used
from mandrake_sessions.limits import MAX_TEXT_BYTES
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.operations.indexing import fill_index
from mandrake_sessions.protocol.words import in_wire_words
from mandrake_sessions.settings import Settings
from mandrake_sessions.store_places import OpenStore, StorePlace

logger = logging.getLogger(__name__)

# A lock of another process is waited for so long at a time: the end must not have to wait for more.
_LOCK_SECONDS: Final = 0.5
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
# A store that is gone is made again after so long: somebody may only be putting another one in its place.
_GONE_SECONDS: Final = 3.0
# A store in which nothing happens is closed after so long.
_IDLE_SECONDS: Final = 30.0
_SEARCHABLE_SECONDS: Final = 1.0
_KILLED: Final = "the recorder was ended before the agent had answered"
_LEFT: Final = (
    f"What is left at the end waits in a file {PREFIX}….jsonl, beside the store or in ~/.mandrake, and the next "
    "recorder stores it"
)


class Home:
    """``tell``: one line for the person. ``turn_bytes``: what a turn holds at most."""

    def __init__(
        self,
        place: StorePlace,
        settings: Settings,
        tell: Callable[[str], None],
        bounds: Bounds,
        *,
        turn_bytes: int = MAX_TEXT_BYTES,
    ) -> None:
        self.place = place
        self._settings = settings
        self._tell = tell
        self._turn_bytes = turn_bytes
        self._stores = OpenStores(evolve(settings, busy_timeout=min(settings.busy_timeout, _LOCK_SECONDS)))
        self._waiting = Waiting(partial(make_waiting_file, place.path), bounds)
        self._manager: SessionManager | None = None
        self._storing: Storing | None = None
        self._has_noted = False
        # When it began to fail, by ``time.monotonic``; and whether that was told.
        self._fails_since: float | None = None
        self._is_told = False
        self._is_locked = False
        self._deadline: float | None = None
        self._is_stored = False
        # What is not stored is left to others by now.
        self._is_left = False
        self._thread = threading.Thread(target=self._run, name="mandrake-sessions-acp-store", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Does not wait for the store."""
        self._waiting.put(event)

    def end(self, deadline: float) -> None:
        """Nothing more comes. ``deadline``: by ``time.monotonic``."""
        self._deadline = deadline
        self._waiting.end()

    def tell_later(self, soon: float) -> None:
        """After ``end``: where not all is stored by then, say what becomes of it."""
        assert self._deadline is not None
        self._thread.join(max(0.0, soon - time.monotonic()))
        if self._thread.is_alive() and self._fails_since is not None and not self._is_told:
            self._is_told = True
            rest = max(0.0, self._deadline - time.monotonic())
            self._tell(f"the end is not stored in {self.place.path} yet, and is tried for {rest:.0f} s more. {_LEFT}")

    def wait(self) -> bool:
        """After ``end``: wait until all is stored, or the deadline has come; gives whether all is stored."""
        assert self._deadline is not None
        # What was begun before the deadline may take a little longer.
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + 2 * _LOCK_SECONDS)
        if not self._thread.is_alive() and self._is_stored:
            return self._waiting.lost_events == 0
        self._is_left = True
        self._leave()
        return False

    def _run(self) -> None:
        try:
            self._is_stored = self._work()
        except Exception:
            logger.exception("%s: what comes is not stored any more", self.place.path)
        with suppress(SessionsError, OSError):
            self._close()

    def _work(self) -> bool:
        """Whether all that came is stored."""
        if not self._take_up():
            return False
        while True:
            batch = self._waiting.take(_IDLE_SECONDS)
            if not batch and self._waiting.is_ended and self._waiting.is_empty:
                break
            if batch and not self._patiently(lambda storing, batch=batch: storing.store(batch)):  # type: ignore[misc]
                return False
            self._waiting.done(() if self._storing is None else self._storing.unfinished)
            if not batch and self._storing is not None and self._storing.is_idle:
                self._rest()
        if self._storing is None:
            return True
        return self._patiently(lambda storing: storing.finish(now_ms(), _KILLED))

    def _take_up(self) -> bool:
        """What other recorders have left for this store comes first. False: the deadline came."""
        for file in left_behind(self.place.path):
            try:
                if not self._take_up_file(file):
                    return False
            except OSError as error:
                logger.warning("%s cannot be read and stays: %s", file.path, error)
            finally:
                file.close()
        return True

    def _take_up_file(self, file: WaitingFile) -> bool:
        storing: Storing | None = None
        while not file.is_read:
            entries, end = file.read(1024 * 1024)

            def store(_: Storing, entries=entries) -> None:  # type: ignore[no-untyped-def]
                nonlocal storing
                assert self._manager is not None
                storing = storing or Storing(self._manager, turn_bytes=self._turn_bytes)
                storing.store(entries)

            if entries and not self._patiently(store):
                return False
            file.position = end
        if not self._patiently(lambda _: None if storing is None else storing.finish(now_ms(), _KILLED)):
            return False
        file.remove()
        return True

    def _patiently(self, work: Callable[[Storing], None]) -> bool:
        """Do some work on the store, as soon as it can be written. False: the deadline came before."""
        pause = _FIRST_PAUSE
        while not self._is_left:
            try:
                work(self._opened())
            except (SessionsError, OSError) as error:
                self._failed(error)
            except Exception:
                logger.exception("%s: something is left out", self.place.path)
                return True
            else:
                self._succeeded()
                return True
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return False
            self._waiting.pause(pause)
            # After a lock was waited for, the next try waits for it too.
            pause = _FIRST_PAUSE if self._is_locked else min(2 * pause, _LONGEST_PAUSE)
        return False

    def _opened(self) -> Storing:
        """Raises SessionsError, OSError."""
        if self._manager is not None and self._storing is not None and self._fails_since is None:
            if not self._manager.store.is_open:
                self._manager.init()
            return self._storing
        is_gone = self._storing is not None and not exists(self.place.path)
        waits = is_gone and self._fails_since is not None and time.monotonic() - self._fails_since < _GONE_SECONDS
        manager = self._stores.open(self.place, make=not waits)
        if manager is None:
            raise NoStore(self.place.path)
        if self._storing is None or manager is not self._manager:
            self._manager = manager
            self._storing = self._storing or Storing(manager, turn_bytes=self._turn_bytes)
            end_all_left_waiting(manager)
        return self._storing

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        if self._fails_since is None:
            self._fails_since = now
        self._is_locked = isinstance(error, Busy)
        logger.info("%s: %s", self.place.path, error)
        is_patient = isinstance(error, Busy | NoStore) and now - self._fails_since < self._settings.busy_timeout
        if not (self._is_told or is_patient):
            self._is_told = True
            why = _why(error)
            self._tell(
                f"what is said cannot be stored in {self.place.path} now, and waits: {why}. "
                f"The conversation goes on; nothing is lost while there is room to wait. {_LEFT}"
            )

    def _succeeded(self) -> None:
        self._fails_since = None
        if self._is_told:
            self._is_told = False
            lost = self._waiting.lost_events
            rest = f"; {lost} messages could not be kept, which is noted where they belong" if lost else ""
            self._tell(f"{self.place.path} can be written again, and what waited is stored{rest}")
        if not self._has_noted and self._manager is not None and not self._settings.no_register:
            self._has_noted = True
            with suppress(SessionsError):
                note_used(OpenStore(self.place, self._manager.feed.store_id(), now_ms()))

    def _rest(self) -> None:
        """Nothing happens: the store is closed until something does."""
        if self._manager is not None and self._storing is not None and self._manager.store.is_open:
            self._storing.look_again()
            with suppress(SessionsError, OSError):
                self._manager.close()

    def _close(self) -> None:
        if self._manager is not None and self._is_stored:
            left = _SEARCHABLE_SECONDS if self._deadline is None else self._deadline - time.monotonic()
            with suppress(SessionsError, OSError):
                fill_index(self._manager.store, patience=0, most=max(0.0, min(_SEARCHABLE_SECONDS, left)))
        self._stores.close()

    def _leave(self) -> None:
        path = self._waiting.leave()
        lost = self._waiting.lost_events
        if path is not None:
            self._tell(
                f"not all is stored in {self.place.path}; the rest is in {path}, and the next recorder stores it"
            )
        if lost:
            self._tell(f"{lost} messages of the conversation are lost: {self.place.path} could not be written")


def _why(error: Exception) -> str:
    if isinstance(error, Busy):
        # We wait for as long as it takes, so a longer patience is no way out.
        return f"it is locked{'' if error.holder is None else f' by {error.holder}'}"
    return in_wire_words(error) if isinstance(error, SessionsError) else str(error)

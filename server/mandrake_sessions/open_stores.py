"""Which stores of a server are open: opening, what fails, and stores whose file went."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Literal

from mandrake_sessions.absent import AbsentStore
from mandrake_sessions.errors import StorageFailure, StorageReason, StoreError, StoreMoved, WorkspaceNotFound
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.settings import Settings
from mandrake_sessions.store.engines import empty_store, is_there, may_make, store_at
from mandrake_sessions.store.interface import EntityStore, StoreFacts
from mandrake_sessions.store.settings import Durability, StoreSettings
from mandrake_sessions.store_names import DEFAULT_STORE
from mandrake_sessions.store_places import StorePlace, StorePlaces

logger = logging.getLogger(__name__)

# Reasons that are about an existing file.
_OF_A_FILE = frozenset(
    {
        StorageReason.CORRUPT,
        StorageReason.MIGRATE,
        StorageReason.SCHEMA_TOO_NEW,
        StorageReason.FOREIGN_DATABASE,
        StorageReason.IO,
    }
)
# Reasons that are about making a file, and that a look from outside can disprove.
_OF_MAKING = frozenset({StorageReason.CREATE_DIRECTORY, StorageReason.OPEN, StorageReason.READ_ONLY})


class OpenStores:
    """The open managers by place; each store is opened at its first use. ``places`` finds the place for a name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.places = StorePlaces(settings)
        # Of each store that was used, its manager while it is open, else the error of opening it. One dictionary, so
        # that no other thread finds neither while the one takes the other's place.
        self._used: dict[StorePlace, SessionManager | StoreError] = {}
        # Every manager that was open once, so that a store whose file went is not taken for a new one.
        self._managers: dict[StorePlace, SessionManager] = {}
        # Those of them whose file is gone. Only a write makes such a file again.
        self._lost: set[StorePlace] = set()
        self._absent: dict[StorePlace, AbsentStore] = {}
        # What they all hold, made for the first of them: each of its own would take 300 KB.
        self._empty: EntityStore | None = None
        # One for each place, so that a store that is slow to open holds no other up.
        self._opening: dict[StorePlace, threading.Lock] = {}

    def apply(self, settings: Settings) -> None:
        """Take other settings; stores that are open keep theirs."""
        self.settings = self.places.settings = settings

    def opened(self, place: StorePlace) -> SessionManager | None:
        """The manager of a store that is open already."""
        found = self._used.get(place)
        return found if isinstance(found, SessionManager) else None

    def once_opened(self, place: StorePlace) -> SessionManager | None:
        """The manager of a store that was open once; opening it again may have failed."""
        return self._managers.get(place)

    def open(self, place: StorePlace, *, make: bool) -> SessionManager | None:
        """Open a store, or open it again after its file moved. Blocks, so the event loop must not call it.

        ``make``: make the file if it is not there. Without it, the result is None then, and what was open is closed.

        Raises:
            WorkspaceNotFound: there is no such directory.
            StoreError: it cannot be opened; ``known`` gives the error until it can.
        """
        with self._opening.setdefault(place, threading.Lock()):
            manager = self._manager(place)
            try:
                if not (self.is_there(place) or make):
                    self._close_lost(place)
                    return None
                manager.init(make=make)
            except WorkspaceNotFound:
                self._close_lost(place)
                raise
            except StoreError as error:
                if place not in self._managers:
                    # It may have failed after the file was open.
                    manager.close()
                if isinstance(error, StoreMoved) and not is_there(place.path):
                    # It went between the look and the opening.
                    self._close_lost(place)
                    return None
                self._used[place] = error
                raise
            self._lost.discard(place)
            self._used[place] = self._managers[place] = manager
            return manager

    def _close_lost(self, place: StorePlace) -> None:
        """The file is gone: close the store. Forget a failure that was about the file, or about making one where one
        could be made now."""
        found = self._used.get(place)
        if isinstance(found, StorageFailure) and (
            found.reason in _OF_A_FILE or (found.reason in _OF_MAKING and may_make(place.path))
        ):
            del self._used[place]
        if isinstance(found, SessionManager):
            del self._used[place]
            self._lost.add(place)
            logger.warning(
                "the database %s was deleted or moved; the next session that is created makes a new one", place.path
            )
            found.store.close_lost()

    def _manager(self, place: StorePlace) -> SessionManager:
        """That of a store that was open once, or one that has not opened its store yet."""
        known = self._managers.get(place)
        if known is not None:
            return known
        settings = StoreSettings(
            durability=Durability(self.settings.durability),
            busy_timeout=self.settings.busy_timeout,
            inside=place.own_directory,
            allow_network_filesystem=self.settings.allow_network_filesystem,
            # A workspace is never made: it was there just now.
            makes_parents=place.workspace is None or not place.is_usual,
            makes_again=False,
        )
        return SessionManager.of(store_at(place.path, settings))

    def facts(self, place: StorePlace) -> StoreFacts:
        """The facts of a store, open or not."""
        return self._manager(place).store.facts()

    def runs_on(self, place: StorePlace) -> Literal["loop", "thread"]:
        """Where the work of a store, open or not, is carried out."""
        return self._manager(place).store.runs_on

    def known(self) -> dict[StorePlace, SessionManager | StoreError | None]:
        """Every store that was used, and the default one: its manager if it is open, else the error of opening it, or
        None if no call has tried."""
        found: dict[StorePlace, SessionManager | StoreError | None] = {}
        # A call to the default store gets these errors itself.
        with suppress(WorkspaceNotFound, StorageFailure):
            found[self.places.place(DEFAULT_STORE)] = None
        return {**found, **self._used}

    def open_stores(self) -> list[tuple[StorePlace, SessionManager]]:
        """A copy, since a thread that opens a store may add to them."""
        return [(place, found) for place, found in self._used.copy().items() if isinstance(found, SessionManager)]

    def _failed(self) -> dict[StorePlace, StoreError]:
        return {place: found for place, found in self._used.copy().items() if isinstance(found, StoreError)}

    def failures(self) -> list[StoreError | None]:
        """The failures of the stores that could not be opened, and of those that are open."""
        return [*self._failed().values(), *(manager.store.failure for _, manager in self.open_stores())]

    def returned_places(self) -> list[StorePlace]:
        """The places whose file was gone and is there again."""
        return [place for place in list(self._lost) if is_there(place.path)]

    def failed_places(self) -> list[StorePlace]:
        """The places whose store could not be opened the last time."""
        return list(self._failed())

    def close(self) -> None:
        self._used.clear()
        while self._managers:
            self._managers.popitem()[1].close()

    def is_there(self, place: StorePlace) -> bool:
        """Whether the store exists. Raises WorkspaceNotFound."""
        place.check_workspace()
        return is_there(place.path)

    def is_absent(self, place: StorePlace) -> bool:
        """Whether the store does not exist, in a workspace that does: reads find it empty."""
        try:
            return not self.is_there(place)
        except WorkspaceNotFound:
            return False

    def absent(self, place: StorePlace) -> AbsentStore:
        """The empty store that answers reads until there is a store. Raises StorageFailure."""
        if place not in self._absent:
            try:
                self._empty = self._empty or empty_store()
            except OSError as error:
                # For example, this process may open no more files.
                raise StorageFailure(
                    StorageReason.OPEN,
                    f"Failed to initialize database {place.path}: {error.strerror}; close what this machine can spare, "
                    "or raise the limit of open files (ulimit -n)",
                    place.path,
                ) from error
            self._absent[place] = AbsentStore(place.path, self._empty)
        return self._absent[place]

    def take_absent(self, place: StorePlace) -> AbsentStore | None:
        """Take out the empty store, if there is one: the store is there now, or is no longer used."""
        return self._absent.pop(place, None)

    def place_of(self, absent: AbsentStore) -> StorePlace | None:
        """The place of an empty store."""
        return next((place for place, known in self._absent.items() if known is absent), None)

    def without_folder(self) -> list[StorePlace]:
        """The places in use that belong to a workspace that is no folder of the client's any more."""
        return self.places.without_folder(dict(self.open_stores()) | self._absent)

    def forget(self, place: StorePlace) -> SessionManager | None:
        """Take a store out; the caller closes it."""
        self._managers.pop(place, None)
        self._lost.discard(place)
        found = self._used.pop(place, None)
        return found if isinstance(found, SessionManager) else None

"""Which store a session is recorded in.

With ``--workspace``, ``--database`` or ``--scope`` one store has all sessions. Else a session is in the store of the
workspace of its directory, as an editor there would find it, or in the user's own where that directory is not there or
cannot be written; a session that another one has started is beside that one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from mandrake_sessions.acp.events import Began, Event
from mandrake_sessions.acp.home import Home
from mandrake_sessions.acp.waiting import Bounds
from mandrake_sessions.files import exists
from mandrake_sessions.folding import hint
from mandrake_sessions.limits import MAX_TEXT_BYTES
from mandrake_sessions.settings import BadSetting, Settings, given_settings
from mandrake_sessions.store_names import StoreName
from mandrake_sessions.store_places import StorePlace, StorePlaces
from mandrake_sessions.time_limits import in_time
from mandrake_sessions.workspaces import find_workspace, own_directory, workspace_database

# A file system may not answer; then the session is in the user's own store.
_LOOK_SECONDS: Final = 2.0
# After the end, a store that cannot be written is told of so soon: whoever reads that may not stay.
_SOON_SECONDS: Final = 1.5
# So many stores at most, each with a thread; further sessions are in the user's own.
_MOST_HOMES: Final = 64


class Homes:
    """``workspace``, ``database``, ``scope``: as the flags of commands say. ``tell``: one line for the person.
    ``bounds``: what waits for each store. ``turn_bytes``: what a turn holds at most.

    Raises BadSetting, StorageFailure, WorkspaceNotFound: the flags or the environment name no store.
    """

    def __init__(
        self,
        workspace: str | None = None,
        database: str | None = None,
        scope: str | None = None,
        *,
        tell: Callable[[str], None] | None = None,
        bounds: Bounds | None = None,
        turn_bytes: int = MAX_TEXT_BYTES,
    ) -> None:
        if scope == "system" and (workspace or database):
            flag = "--workspace" if workspace else "--database"
            raise BadSetting(flag, "cannot be given beside --scope system, which says already which store is meant")
        self._settings = Settings(**given_settings({"workspace": workspace, "database": database}))
        self._places = StorePlaces(self._settings)
        is_named = scope is not None or self._settings.workspace is not None or self._settings.database is not None
        self._named = self._places.place(StoreName(scope or "workspace")) if is_named else None
        self._make = partial(
            Home,
            settings=self._settings,
            tell=tell or _tell,
            bounds=bounds or Bounds(),
            turn_bytes=turn_bytes,
        )
        self._lock = threading.Lock()
        self._homes: dict[str, Home] = {}
        self._of_session: dict[str, Home] = {}

    def put(self, event: Event) -> None:
        """Hand an event over to the store of its session. Waits for no store."""
        home = self._of_session.get(event.session)
        if home is None:
            with self._lock:
                home = self._of_session.get(event.session) or self._home_of(event)
                self._of_session[event.session] = home
        home.put(event)

    def end(self, seconds: float) -> bool:
        """Store what is left, for so long; gives whether all that was put is stored. What is not waits in a file."""
        deadline = time.monotonic() + seconds
        homes = list(self._homes.values())
        for home in homes:
            home.end(deadline)
        soon = time.monotonic() + _SOON_SECONDS
        for home in homes:
            home.tell_later(soon)
        are_stored = [home.wait() for home in homes]
        return all(are_stored)

    def _home_of(self, event: Event) -> Home:
        if isinstance(event, Began) and event.parent in self._of_session:
            return self._of_session[event.parent or ""]
        place = self._named or self._place_of(event.cwd if isinstance(event, Began) else None)
        key = os.path.realpath(place.path)
        if key not in self._homes:
            self._homes[key] = self._make(place)
        return self._homes[key]

    def _place_of(self, directory: str | None) -> StorePlace:
        found = None
        if directory is not None and len(self._homes) < _MOST_HOMES:
            try:
                found = in_time(directory, partial(_workspace_place, directory), _LOOK_SECONDS)
            except (TimeoutError, OSError, ValueError):
                found = None
        return found or self._places.place(StoreName("system"))


def _workspace_place(directory: str) -> StorePlace | None:
    """Of the workspace of a directory; None where there is none that can be written."""
    path = Path(directory)
    if not path.is_absolute() or not path.is_dir():
        return None
    workspace = find_workspace(path)
    database = workspace_database(workspace)
    above = own_directory(database)
    written = [database, above] if exists(database) else [above] if above and exists(above) else [workspace]
    if not all(each is not None and os.access(each, os.W_OK) for each in written):
        return None
    return StorePlace("workspace", str(workspace), str(database), named_by="the session's directory")


def _tell(line: str) -> None:
    hint(f"mandrake-sessions acp: {line}")

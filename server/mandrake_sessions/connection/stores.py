"""The stores that a client may name, each opened at its first use."""

from __future__ import annotations

import threading
from pathlib import Path

from attrs import frozen

from mandrake_sessions.errors import StorageFailure, StorageReason, StoreError, WorkspaceNotFound
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.protocol.stores import StoreName
from mandrake_sessions.settings import Settings
from mandrake_sessions.workspaces import (
    find_workspace,
    own_directory,
    path_of_uri,
    prepare_directory,
    system_database,
    workspace_database,
)


@frozen
class StorePlace:
    """Where a store is: its scope, the workspace it belongs to, and its file. ``is_usual``: the file was not named by
    ``--database``, so its directory is ours."""

    scope: str
    workspace: str | None
    path: str
    is_usual: bool = True


class Stores:
    """From a store's name in params to an open manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._folders: list[str] | None = None
        self._default: Path | None = None
        self._places: dict[StoreName, StorePlace] = {}
        self._open: dict[StorePlace, SessionManager] = {}
        self._failed: dict[StorePlace, StoreError] = {}
        # Every one that was open once, so that one whose file went is not taken for a new one.
        self._managers: dict[StorePlace, SessionManager] = {}
        self._lock = threading.Lock()

    def set_folders(self, uris: list[str]) -> None:
        """The client's workspace folders, in its order; the first is the default."""
        self._folders = uris
        self._places.clear()

    def change_folders(self, added: list[str], removed: list[str]) -> list[StorePlace]:
        """Folders came and went; gives the places that are open and no folder's any more."""
        self._places.clear()
        gone = {path_of_uri(uri) for uri in removed}
        kept = [uri for uri in self._folders or [] if path_of_uri(uri) not in gone]
        self._folders = kept + [uri for uri in added if uri not in kept]
        wanted = {str(path) for path in self._known()}
        return [place for place, _ in self.open_stores() if place.workspace not in (None, *wanted)]

    def forget(self, place: StorePlace) -> SessionManager | None:
        """Take a store out, for its caller to close."""
        self._failed.pop(place, None)
        self._managers.pop(place, None)
        return self._open.pop(place, None)

    @property
    def workspace(self) -> str:
        """The path of the default workspace."""
        return str(self._default_folder())

    def place(self, name: StoreName) -> StorePlace:
        """Where the named store is. Raises WorkspaceNotFound."""
        found = self._places.get(name)
        if found is None:
            found = self._places[name] = self._find(name)
        return found

    def _find(self, name: StoreName) -> StorePlace:
        if name.scope == "system":
            return StorePlace("system", None, str(system_database()))
        default = self._default_folder()
        folder = default if name.workspace is None else self._folder(name.workspace)
        if folder == default and self.settings.database is not None:
            path = Path(self.settings.database).expanduser().absolute()
            return StorePlace("workspace", str(folder), str(path), is_usual=False)
        return StorePlace("workspace", str(folder), str(workspace_database(folder)))

    def opened(self, place: StorePlace) -> SessionManager | None:
        """The manager of a store that is open already."""
        return self._open.get(place)

    def once_opened(self, place: StorePlace) -> SessionManager | None:
        """The manager of a store that was open, and may have failed to open anew."""
        return self._managers.get(place)

    def open(self, place: StorePlace) -> SessionManager:
        """Open a store, or one anew whose file is no longer where it was; blocks, so not for the event loop's thread.

        Raises:
            StoreError: it cannot be opened; ``known`` tells so until it can.
        """
        with self._lock:
            manager = self._managers.get(place) or self._manager(place)
            try:
                _prepare_workspace(place, anew=place in self._managers)
                manager.init()
            except StoreError as error:
                self._open.pop(place, None)
                self._failed[place] = error
                raise
            self._failed.pop(place, None)
            self._open[place] = self._managers[place] = manager
            return manager

    def _manager(self, place: StorePlace) -> SessionManager:
        return SessionManager(
            place.path,
            durability=self.settings.durability,
            busy_timeout=self.settings.busy_timeout,
            inside=own_directory(Path(place.path)) if place.is_usual else None,
            allow_network_filesystem=self.settings.allow_network_filesystem,
        )

    def known(self) -> dict[StorePlace, SessionManager | StoreError | None]:
        """Every store that was used, and the default one: its manager if it is open, else why it could not be opened,
        or None if nobody has tried."""
        found: dict[StorePlace, SessionManager | StoreError | None] = {self.place(StoreName()): None}
        return {**found, **self._failed, **self._open}

    def open_stores(self) -> list[tuple[StorePlace, SessionManager]]:
        """As they are at this moment: a thread that opens one may add to them."""
        return list(self._open.items())

    def failures(self) -> list[StoreError | None]:
        """What is wrong with the stores: with each that could not be opened, and each that is open."""
        return [*self._failed.values(), *(manager.failure for _, manager in self.open_stores())]

    def failed_places(self) -> list[StorePlace]:
        """Stores that could not be opened the last time."""
        return list(self._failed)

    def close(self) -> None:
        self._open.clear()
        while self._managers:
            self._managers.popitem()[1].close()

    def _folder(self, uri: str) -> Path:
        path = path_of_uri(uri)
        if path is None or path not in self._known():
            raise WorkspaceNotFound(uri, [str(known) for known in self._known()])
        return path

    def _known(self) -> list[Path]:
        paths = [path_of_uri(uri) for uri in self._folders or []]
        return list(dict.fromkeys([self._default_folder(), *(path for path in paths if path is not None)]))

    def _default_folder(self) -> Path:
        if self.settings.workspace is not None:
            return Path(self.settings.workspace).expanduser().absolute()
        for uri in self._folders or []:
            path = path_of_uri(uri)
            if path is not None:
                return path
        if self._default is None:
            self._default = find_workspace(Path.cwd())
        return self._default


def _prepare_workspace(place: StorePlace, *, anew: bool) -> None:
    """Make ``.ws`` where the store is a workspace's usual one, and keep it out of git. ``anew``: a workspace that was
    moved away while its store was open is not made again."""
    path = Path(place.path)
    try:
        prepare_directory(path, parents=not anew)
    except OSError as error:
        raise StorageFailure(
            StorageReason.CREATE_DIRECTORY,
            f"Failed to create database directory {path.parent}: {error.strerror}; "
            "check the workspace, or name a file with --database",
            place.path,
        ) from error

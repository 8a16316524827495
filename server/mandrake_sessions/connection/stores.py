"""The stores that a client may name, each opened at its first use."""

from __future__ import annotations

import logging
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from mandrake_sessions.absent import AbsentStore, is_there
from mandrake_sessions.errors import StorageFailure, StorageReason, StoreError, WorkspaceNotFound
from mandrake_sessions.files import exists, explain
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.protocol.stores import StoreName
from mandrake_sessions.quoting import shorten
from mandrake_sessions.settings import Settings
from mandrake_sessions.store.interface import StoreFacts
from mandrake_sessions.workspaces import (
    PathUnknown,
    absolute,
    default_workspace,
    own_directory,
    path_of_uri,
    prepare_directory,
    system_database,
    workspace_database,
)

logger = logging.getLogger(__name__)

# Why an existing file could not be opened; everything else may also be why one could not be made.
_OF_A_FILE = frozenset(
    {
        StorageReason.CORRUPT,
        StorageReason.MIGRATE,
        StorageReason.SCHEMA_TOO_NEW,
        StorageReason.FOREIGN_DATABASE,
        StorageReason.IO,
    }
)
# Why nothing could be made, as far as it can be seen from outside whether it could be now.
_OF_MAKING = frozenset({StorageReason.CREATE_DIRECTORY, StorageReason.OPEN, StorageReason.READ_ONLY})


@frozen(cache_hash=True)
class StorePlace:
    """Where a store is: its scope, the workspace it belongs to, and its file. ``is_usual``: the file was not named by
    ``--database``, so its directory is ours."""

    scope: str
    workspace: str | None
    path: str
    is_usual: bool = True

    @property
    def directory(self) -> str:
        return os.path.dirname(self.path) or "."  # noqa: PTH120, asked for each answer


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
        # Those of them whose file is gone: nobody but a write makes it again.
        self._lost: set[StorePlace] = set()
        self._absent: dict[StorePlace, AbsentStore] = {}
        self._lock = threading.Lock()

    def set_folders(self, uris: list[str]) -> None:
        """The client's workspace folders, in its order; the first is the default."""
        self._folders = uris
        self._places.clear()

    def change_folders(self, added: list[str], removed: list[str]) -> list[StorePlace]:
        """Folders came and went; gives the places that are in use and no folder's any more."""
        self._places.clear()
        gone = {path_of_uri(uri) for uri in removed}
        kept = [uri for uri in self._folders or [] if path_of_uri(uri) not in gone]
        known = {path_of_uri(uri) for uri in kept}
        self._folders = kept + [uri for uri in added if path_of_uri(uri) not in known]
        wanted = {str(path) for path in self._known()}
        used = dict.fromkeys([*self._open, *self._absent])
        return [place for place in used if place.workspace not in (None, *wanted)]

    def forget(self, place: StorePlace) -> SessionManager | None:
        """Take a store out, for its caller to close."""
        self._failed.pop(place, None)
        self._managers.pop(place, None)
        self._lost.discard(place)
        return self._open.pop(place, None)

    def is_there(self, place: StorePlace) -> bool:
        """Whether there is a store to open, so that nothing need be made. Raises WorkspaceNotFound."""
        if place.is_usual and place.workspace is not None:
            check_workspace(place.workspace)
        return is_there(place.path)

    def absent(self, place: StorePlace) -> AbsentStore:
        """What reads of a store that is not there yet are answered from. Raises StorageFailure."""
        if place not in self._absent:
            try:
                self._absent[place] = AbsentStore(place.path)
            except OSError as error:
                # No more files may be opened, say.
                raise StorageFailure(
                    StorageReason.OPEN,
                    f"Failed to initialize database {place.path}: {error.strerror}; close what this machine can spare, "
                    "or raise the limit of open files (ulimit -n)",
                    place.path,
                ) from error
        return self._absent[place]

    def take_absent(self, place: StorePlace) -> AbsentStore | None:
        """The same, if somebody has asked for it, for the last time: the store is there now, or is no longer used."""
        return self._absent.pop(place, None)

    def place_of(self, absent: AbsentStore) -> StorePlace | None:
        """Where a store will be that is not there yet."""
        return next((place for place, known in self._absent.items() if known is absent), None)

    @property
    def workspace(self) -> str | None:
        """The path of the default workspace; None where there is none, or nobody has asked for it."""
        look = self._default_folder if self.settings.database is None else self._folder_without_look
        try:
            folder = look()
        except WorkspaceNotFound:
            return None
        return None if folder is None else str(folder)

    def place(self, name: StoreName) -> StorePlace:
        """Where the named store is. Raises WorkspaceNotFound."""
        found = self._places.get(name)
        if found is None:
            found = self._places[name] = self._find(name)
        return found

    def _find(self, name: StoreName) -> StorePlace:
        if name.scope == "system":
            return StorePlace("system", None, str(system_database()))
        database = self.settings.database
        if database is not None and name.workspace is None:
            folder = self._folder_without_look()
            return StorePlace("workspace", None if folder is None else str(folder), _named(database), is_usual=False)
        default = self._default_folder()
        folder = default if name.workspace is None else self._folder(name.uri or name.workspace)
        if folder == default and database is not None:
            return StorePlace("workspace", str(folder), _named(database), is_usual=False)
        return StorePlace("workspace", str(folder), str(workspace_database(folder)))

    def opened(self, place: StorePlace) -> SessionManager | None:
        """The manager of a store that is open already."""
        return self._open.get(place)

    def once_opened(self, place: StorePlace) -> SessionManager | None:
        """The manager of a store that was open, and may have failed to open anew."""
        return self._managers.get(place)

    def open(self, place: StorePlace, *, make: bool) -> SessionManager | None:
        """Open a store, or one anew whose file is no longer where it was; blocks, so not for the event loop's thread.
        With ``make`` it is made where it is not there; else None is given, and what was open is closed.

        Raises:
            WorkspaceNotFound: there is no such directory.
            StoreError: it cannot be opened; ``known`` tells so until it can.
        """
        with self._lock:
            manager = self._managers.get(place) or self._manager(place)
            try:
                if not (self.is_there(place) or make):
                    self._close_lost(place)
                    return None
                _prepare_workspace(place)
                manager.init()
            except WorkspaceNotFound:
                self._close_lost(place)
                raise
            except StoreError as error:
                self._open.pop(place, None)
                self._failed[place] = error
                raise
            self._failed.pop(place, None)
            self._lost.discard(place)
            self._open[place] = self._managers[place] = manager
            return manager

    def _close_lost(self, place: StorePlace) -> None:
        """The file is gone: close what was open of it. What failed since the file was as it was fails no more, nor what
        failed since nothing could be made, where something could be now."""
        manager = self._open.pop(place, None)
        failed = self._failed.get(place)
        if isinstance(failed, StorageFailure) and (
            failed.reason in _OF_A_FILE or (failed.reason in _OF_MAKING and _may_make(Path(place.path)))
        ):
            del self._failed[place]
        if manager is not None:
            self._lost.add(place)
            logger.warning(
                "the database %s was deleted or moved; the next session that is created makes a new one", place.path
            )
            manager.store.close_lost()

    def _manager(self, place: StorePlace) -> SessionManager:
        return SessionManager(
            place.path,
            durability=self.settings.durability,
            busy_timeout=self.settings.busy_timeout,
            inside=own_directory(Path(place.path)) if place.is_usual else None,
            allow_network_filesystem=self.settings.allow_network_filesystem,
        )

    def facts(self, place: StorePlace) -> StoreFacts:
        """What can be told of a store, open or not."""
        return (self._managers.get(place) or self._manager(place)).store.facts()

    def known(self) -> dict[StorePlace, SessionManager | StoreError | None]:
        """Every store that was used, and the default one: its manager if it is open, else why it could not be opened,
        or None if nobody has tried."""
        found: dict[StorePlace, SessionManager | StoreError | None] = {}
        # Where it cannot be told which one that is, whoever asks for it learns why.
        with suppress(WorkspaceNotFound, StorageFailure):
            found[self.place(StoreName())] = None
        return {**found, **self._failed, **self._open}

    def open_stores(self) -> list[tuple[StorePlace, SessionManager]]:
        """As they are at this moment: a thread that opens one may add to them."""
        return list(self._open.items())

    def failures(self) -> list[StoreError | None]:
        """What is wrong with the stores: with each that could not be opened, and each that is open."""
        return [*self._failed.values(), *(manager.store.failure for _, manager in self.open_stores())]

    def returned_places(self) -> list[StorePlace]:
        """Stores whose file was gone, and is there again."""
        return [place for place in list(self._lost) if is_there(place.path)]

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
            if path is None and os.path.isabs(uri):  # noqa: PTH117
                raise WorkspaceNotFound(
                    uri, f"workspace {shorten(uri)} is a path; send its URI, {shorten(Path(uri).as_uri())}"
                )
            folders = ", ".join(str(known) for known in self._known())
            raise WorkspaceNotFound(
                uri, f"workspace {shorten(uri)} is not a folder of this client; its folders: {shorten(folders)}"
            )
        return path

    def _known(self) -> list[Path]:
        paths = [path_of_uri(uri) for uri in self._folders or []]
        with suppress(WorkspaceNotFound):
            paths.insert(0, self._default_folder())
        return list(dict.fromkeys(path for path in paths if path is not None))

    def _default_folder(self) -> Path:
        """Raises WorkspaceNotFound."""
        named = self._folder_without_look()
        if named is not None:
            return named
        if self._default is None:
            self._default = default_workspace()
        return self._default

    def _folder_without_look(self) -> Path | None:
        """The default folder where somebody has named it, so that it need not be looked for. Raises WorkspaceNotFound
        for a ``--workspace`` that means nothing here."""
        if self.settings.workspace is not None:
            try:
                return absolute(self.settings.workspace)
            except PathUnknown as error:
                raise WorkspaceNotFound(
                    self.settings.workspace,
                    f"workspace {shorten(self.settings.workspace)}: {error}; give an absolute path",
                ) from None
        return next((path for uri in self._folders or [] if (path := path_of_uri(uri)) is not None), None)


def _named(database: str) -> str:
    """The path that ``--database`` means. Raises StorageFailure."""
    try:
        return str(absolute(database))
    except PathUnknown as error:
        raise StorageFailure(
            StorageReason.OPEN,
            f"Failed to initialize database {shorten(database)}: {error}; give an absolute path",
            database,
        ) from None


def check_workspace(directory: str) -> None:
    """Raises WorkspaceNotFound where there is no such directory. Where that cannot be told, opening tells why."""
    try:
        wrong = None if stat.S_ISDIR(os.stat(directory).st_mode) else "is not a directory"  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        wrong = "does not exist"
    except (OSError, ValueError):
        return
    if wrong is not None:
        raise WorkspaceNotFound(
            directory,
            f"the workspace directory {shorten(directory)} {wrong}; check --workspace, or the folders that the "
            "editor has open",
        )


def _may_make(path: Path) -> bool:
    """Whether a file and the directories above it could be made."""
    nearest = next((parent for parent in path.parents if exists(parent)), None)
    return nearest is not None and os.access(nearest, os.W_OK | os.X_OK) and stat.S_ISDIR(nearest.stat().st_mode)


def _prepare_workspace(place: StorePlace) -> None:
    """Make ``.ws`` where the store is a workspace's usual one, and keep it out of git. The workspace itself is there,
    or was moved away just now, and is not made."""
    path = Path(place.path)
    try:
        prepare_directory(path, parents=place.workspace is None)
    except OSError as error:
        raise StorageFailure(
            StorageReason.CREATE_DIRECTORY,
            f"Failed to create database directory {path.parent}: {explain(error, str(path.parent))}; "
            "check the workspace, or name a file with --database",
            place.path,
        ) from error

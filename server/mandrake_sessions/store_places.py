"""Which store a name means: from a scope, a workspace, the settings and the client's folders to its place."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen

from mandrake_sessions.errors import StorageFailure, StorageReason, WorkspaceNotFound
from mandrake_sessions.model import ScopeName
from mandrake_sessions.quoting import shorten
from mandrake_sessions.settings import Settings
from mandrake_sessions.store.engines import path_or_name
from mandrake_sessions.store_names import StoreName
from mandrake_sessions.value import Value
from mandrake_sessions.workspaces import (
    PathUnknown,
    absolute,
    default_workspace,
    normalized,
    own_directory,
    path_of_uri,
    system_database,
    workspace_database,
)

# How many of the client's folders a message names.
_NAMED_FOLDERS = 5


@frozen(cache_hash=True)
class StorePlace:
    """Where a store is: its scope, its workspace, and its file. ``is_usual``: no setting names the file, so
    its directory belongs to the store. ``named_by``: what named the workspace, for whoever has to correct it."""

    scope: ScopeName
    workspace: str | None
    path: str
    is_usual: bool = True
    named_by: str = field(default="", eq=False)

    @property
    def directory(self) -> str:
        return os.path.dirname(self.path) or "."  # noqa: PTH120, asked for each answer

    @property
    def own_directory(self) -> str | None:
        """The directory that belongs to the store alone, if there is one."""
        found = own_directory(Path(self.path)) if self.is_usual else None
        return None if found is None else str(found)

    def check_workspace(self) -> None:
        """Raises WorkspaceNotFound where the store belongs to a workspace that is not there."""
        if self.is_usual and self.workspace is not None:
            _check_directory(self.workspace, self.named_by)


@frozen(eq=False, repr=False)
class OpenStore(Value):
    """One that is open here, as it was when somebody asked."""

    place: StorePlace
    store_id: str
    used_at: int


class StorePlaces:
    """Finds places by the settings and the client's workspace folders. Without folders, as in a command, the default
    workspace is found from the working directory."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # The client's folders by their paths. There may be thousands, and each call looks one up.
        self._folders: dict[str, Path] = {}
        self._default: Path | None = None
        self._found: dict[StoreName, StorePlace] = {}

    def set_folders(self, uris: list[str]) -> None:
        """The client's workspace folders, in its order; the first is the default."""
        self._folders = _folder_paths(uris)
        self._found.clear()

    def change_folders(self, added: list[str], removed: list[str]) -> None:
        """The client has added and removed folders."""
        self._found.clear()
        gone = _folder_paths(removed)
        kept = {name: path for name, path in self._folders.items() if name not in gone}
        self._folders = kept | {name: path for name, path in _folder_paths(added).items() if name not in kept}

    @property
    def workspace(self) -> str | None:
        """The path of the default workspace; None where there is none, or no call has needed it yet."""
        find = self._default_folder if self.settings.database is None else self._named_folder
        try:
            folder = find()
        except WorkspaceNotFound:
            return None
        return None if folder is None else str(folder)

    def place(self, name: StoreName) -> StorePlace:
        """The place of the named store. Raises WorkspaceNotFound, StorageFailure."""
        found = self._found.get(name)
        # What is no URI of a file is no folder's, though it may be the text of a folder's path.
        if found is None or (name.uri is not None and name.workspace == name.uri):
            found = self._found[name] = self._find(name)
        return found

    def without_folder(self, places: Iterable[StorePlace]) -> list[StorePlace]:
        """The places that belong to a workspace which is none of the folders."""
        used: set[str | None] = {None, *self._folders}
        with suppress(WorkspaceNotFound):
            used.add(str(self._default_folder()))
        return [place for place in places if place.workspace not in used]

    def _find(self, name: StoreName) -> StorePlace:
        if name.scope == "system":
            return StorePlace("system", None, str(system_database()))
        database = self.settings.database
        if database is not None and name.workspace is None:
            folder = self._named_folder()
            return StorePlace("workspace", None if folder is None else str(folder), _named(database), is_usual=False)
        default = self._default_folder()
        folder = default if name.workspace is None else self._folder(name.uri or name.workspace, default)
        if folder == default and database is not None:
            return StorePlace("workspace", str(folder), _named(database), is_usual=False)
        return StorePlace("workspace", str(folder), str(workspace_database(folder)), named_by=self._named_by(folder))

    def _named_by(self, folder: Path) -> str:
        if self.settings.workspace is not None and folder == self._named_folder():
            return self.settings.workspace_named_by
        return "the folders that the editor has open" if str(folder) in self._folders else "the working directory"

    def _folder(self, uri: str, default: Path) -> Path:
        path = path_of_uri(uri)
        if path is not None and self._is_folder(str(path), default):
            return path
        if path is None and self._is_folder(uri, default):
            raise WorkspaceNotFound(
                uri, f"workspace {shorten(uri)} is a path; send its URI, {shorten(Path(uri).as_uri())}"
            )
        raise WorkspaceNotFound(
            uri,
            f"workspace {shorten(uri)} is not a folder of this client; name it in initialize or in "
            f"workspace/didChangeWorkspaceFolders; its folders: {self._listed(default)}",
        )

    def _is_folder(self, path: str, default: Path) -> bool:
        return Path(path) == default or path in self._folders

    def _listed(self, default: Path) -> str:
        known = list(dict.fromkeys([str(default), *self._folders]))
        more = len(known) - _NAMED_FOLDERS
        return shorten(", ".join(known[:_NAMED_FOLDERS])) + (f" and {more} more" if more > 0 else "")

    def _default_folder(self) -> Path:
        """Raises WorkspaceNotFound."""
        named = self._named_folder()
        if named is not None:
            return named
        if self._default is None:
            self._default = default_workspace()
        return self._default

    def _named_folder(self) -> Path | None:
        """The default folder, if a setting or the client names it. Raises WorkspaceNotFound for a setting that has no
        meaning here."""
        if self.settings.workspace is not None:
            try:
                return normalized(absolute(self.settings.workspace))
            except PathUnknown as error:
                raise WorkspaceNotFound(
                    self.settings.workspace,
                    f"workspace {shorten(self.settings.workspace)}: {error}; give an absolute path",
                ) from None
        return next(iter(self._folders.values()), None)


def _folder_paths(uris: Iterable[str]) -> dict[str, Path]:
    """The folders that are directories of this machine, in their order."""
    paths = (path_of_uri(uri) for uri in uris)
    return {str(path): path for path in paths if path is not None}


def _named(database: str) -> str:
    """The path that the setting means. Raises StorageFailure."""
    try:
        return str(absolute(path_or_name(database)))
    except PathUnknown as error:
        raise StorageFailure(
            StorageReason.OPEN,
            f"Failed to initialize database {shorten(database)}: {error}; give an absolute path",
            database,
        ) from None


def _check_directory(workspace: str, named_by: str) -> None:
    """Raises WorkspaceNotFound where there is no such directory. Where the system does not tell, opening says why."""
    try:
        wrong = None if stat.S_ISDIR(os.stat(workspace).st_mode) else "is not a directory"  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        wrong = "does not exist"
    except (OSError, ValueError):
        return
    if wrong is not None:
        raise WorkspaceNotFound(workspace, f"the workspace directory {shorten(workspace)} {wrong}; check {named_by}")

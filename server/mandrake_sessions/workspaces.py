"""Finds the path of a database from a workspace, a scope and the working directory."""

from __future__ import annotations

import os
import posixpath
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from mandrake_sessions.errors import InvalidValue, StorageFailure, StorageReason, WorkspaceNotFound
from mandrake_sessions.files import exists
from mandrake_sessions.owners import give_to_owner, make_directory
from mandrake_sessions.quoting import shorten

DATABASE_NAME = "db.sqlite"
REGISTER_NAME = "stores.sqlite"
WORKSPACE_DIRECTORY = ".ws"
# The variable that names the directory of the user's own store.
HOME_VARIABLE = "MANDRAKE_HOME"


def workspace_database(workspace: Path) -> Path:
    """The store of a workspace."""
    return workspace / WORKSPACE_DIRECTORY / DATABASE_NAME


def system_database() -> Path:
    """The store of the user. Raises StorageFailure (``open``) if the user has no home directory."""
    home = os.environ.get(HOME_VARIABLE)
    try:
        return absolute(home or "~/.mandrake") / DATABASE_NAME
    except PathUnknown as error:
        raise StorageFailure(
            StorageReason.OPEN,
            f"Failed to initialize database {home or '~/.mandrake'}/{DATABASE_NAME}: {error}; "
            f"set {HOME_VARIABLE} to an absolute path",
            f"{home or '~/.mandrake'}/{DATABASE_NAME}",
        ) from None


def how_to_name(what: str, path: str, setting: str) -> str:
    """What names ``what`` (a file, another file) in place of the store at ``path``. ``setting``: what names that of a
    workspace."""
    with suppress(StorageFailure):
        if path == str(system_database()):
            return f"another directory with the variable {HOME_VARIABLE}"
    return f"{what} with {setting}"


def register_of_stores() -> Path | None:
    """The file that lists the stores of the user; None if the user has no home directory."""
    try:
        return system_database().with_name(REGISTER_NAME)
    except StorageFailure:
        return None


def own_directory(path: Path) -> Path | None:
    """The directory that belongs to the store alone, if the file has its default place: `.ws`, or the user's own."""
    if path.parent.name == WORKSPACE_DIRECTORY:
        return path.parent
    try:
        return path.parent if path == system_database() else None
    except StorageFailure:
        return None


class PathUnknown(ValueError):
    """A path depends on something that this process does not have. The message names it."""


def absolute(path: str) -> Path:
    """The absolute path, with ``~`` resolved.

    Raises:
        PathUnknown: there is no such user, no home directory, or no working directory.
    """
    home = os.environ.get("HOME", "/")
    if os.name != "nt" and (path == "~" or path.startswith("~/")) and not os.path.isabs(home):  # noqa: PTH117
        raise PathUnknown(f"HOME is {home!r}, and not an absolute path")
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0][1:]
        raise PathUnknown(
            f"there is no user {shorten(user)}" if user else "this user has no home directory, and HOME is not set"
        ) from None
    return expanded if expanded.is_absolute() else working_directory() / expanded


def given_path(argument: str, path: str) -> Path:
    """The same for the path that an argument names. Raises InvalidValue in place of PathUnknown."""
    try:
        return absolute(path)
    except PathUnknown as error:
        raise InvalidValue(argument, f"{shorten(path)}: {error}; give an absolute path") from None


def normalized(path: Path) -> Path:
    """The path in the spelling that ``path_of_uri`` gives of it: without ``..``, ``.`` and extra slashes."""
    return Path(re.sub("^//+", "/", os.path.normpath(path)) if os.name != "nt" else os.path.normpath(path))


def working_directory() -> Path:
    """The working directory. Raises PathUnknown if it was deleted, or the system does not tell."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise PathUnknown("the working directory was deleted") from None
    except OSError as error:
        raise PathUnknown(f"the working directory cannot be determined ({error.strerror})") from None


def default_workspace() -> Path:
    """The workspace, if nobody named one. Raises WorkspaceNotFound if it cannot be found."""
    try:
        return find_workspace(working_directory())
    except PathUnknown as error:
        why = str(error)
        raise WorkspaceNotFound(
            ".",
            lambda words: (
                f"{why}; name a workspace with {words.setting('workspace')}, or a file with {words.setting('db_path')}"
            ),
        ) from None


def find_workspace(directory: Path) -> Path:
    """The workspace of a program that was started in ``directory`` without naming a workspace.

    It is the nearest directory above that has a store of this user's, up to the root of the git work tree and never the
    home directory or above; else that root; else the directory itself. So an agent that starts in ``src/`` finds the
    store that the editor uses.
    """
    directory = _resolved(directory)
    candidates = _below_home(directory)
    root = next((candidate for candidate in candidates if exists(candidate / ".git")), None)
    if root is not None:
        candidates = candidates[: candidates.index(root) + 1]
    for candidate in candidates:
        if _is_own(workspace_database(candidate)):
            return candidate
    return root or directory


def _below_home(directory: Path) -> list[Path]:
    """The directory and those above it, up to the home directory, which is excluded."""
    try:
        home = _resolved(absolute("~"))
    except PathUnknown:
        # A user id without a name and without HOME, as in a container.
        home = None
    found = []
    for candidate in (directory, *directory.parents):
        if home is not None and (candidate == home or candidate in home.parents):
            break
        found.append(candidate)
    return found


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _is_own(path: Path) -> bool:
    """Whether the file exists and belongs to this user. A store that another user left in /tmp makes no workspace."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return False
    return not hasattr(os, "getuid") or owner == os.getuid()


def path_of_uri(uri: str) -> Path | None:
    """The path of a ``file:`` URI; None for every other text."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme != "file" or b"\0" in unquote_to_bytes(parts.path):
        return None
    host = f"//{parts.netloc}" if parts.netloc and parts.netloc.lower() != "localhost" else ""
    path = _path_of(parts.path)
    # One folder has many spellings: `..`, `.`, extra slashes.
    return Path(host + posixpath.normpath(re.sub("/+", "/", path)) if path else host + path)


def _path_of(quoted: str) -> str:
    if os.name != "nt":
        # Names of files are bytes, which need not be UTF-8.
        return os.fsdecode(unquote_to_bytes(quoted))
    from urllib.request import url2pathname  # This import loads an HTTP client, so it is done only where more than
    # unquoting is needed.

    return url2pathname(quoted)


def keep_out_of_git(directory: Path) -> None:
    """Put a ``.gitignore`` of ``*`` beside a workspace's store, so that nobody commits a conversation by accident."""
    # "x" never writes to an existing file, nor through a dangling link, which a repository may contain.
    path = directory / ".gitignore"
    with suppress(FileExistsError), path.open("x") as file:
        give_to_owner(file.fileno(), str(directory))
        file.write("*\n")


def prepare_directory(database: Path, *, parents: bool = True) -> None:
    """Create ``.ws`` if the database has a workspace's default place and the directory does not exist, and keep it out
    of git. Raises OSError."""
    directory = database.parent
    if directory.name != WORKSPACE_DIRECTORY or exists(database) or directory.is_symlink():
        return
    make_directory(directory, parents=parents)
    keep_out_of_git(directory)

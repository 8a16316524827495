"""Which file is meant: from a workspace, a scope and the working directory to the path of a database."""

from __future__ import annotations

import os
import posixpath
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

DATABASE_NAME = "db.sqlite"
WORKSPACE_DIRECTORY = ".ws"


def workspace_database(workspace: Path) -> Path:
    """The store of a workspace."""
    return workspace / WORKSPACE_DIRECTORY / DATABASE_NAME


def system_database() -> Path:
    """The store of the user."""
    home = os.environ.get("MANDRAKE_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".mandrake") / DATABASE_NAME


def own_directory(path: Path) -> Path | None:
    """The directory that is a store's alone, if its file lies in one by default: `.ws`, or the user's own."""
    parent = path.parent
    return parent if parent.name == WORKSPACE_DIRECTORY or path == system_database() else None


def find_workspace(directory: Path) -> Path:
    """The workspace of a program that was started in ``directory`` and told nothing else.

    The nearest directory above that has a store of this user's, as far up as the root of the git work tree around it
    and never the home directory or above; else that root; else the directory itself. So an agent that was started in
    ``src/`` finds the store that the editor uses.
    """
    directory = directory.resolve()
    candidates = _below_home(directory)
    root = next((candidate for candidate in candidates if (candidate / ".git").exists()), None)
    if root is not None:
        candidates = candidates[: candidates.index(root) + 1]
    for candidate in candidates:
        if _is_own(workspace_database(candidate)):
            return candidate
    return root or directory


def _below_home(directory: Path) -> list[Path]:
    """The directory and those above it, up to the home directory, which does not count."""
    home = Path.home().resolve()
    found = []
    for candidate in (directory, *directory.parents):
        if candidate == home or candidate in home.parents:
            break
        found.append(candidate)
    return found


def _is_own(path: Path) -> bool:
    """Whether the file is there and this user's: a store that somebody left in /tmp is nobody's workspace."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return False
    return not hasattr(os, "getuid") or owner == os.getuid()


def path_of_uri(uri: str) -> Path | None:
    """The path of a ``file:`` URI; None for any other, and for what is no URI."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme != "file" or "\0" in unquote(parts.path):
        return None
    host = f"//{parts.netloc}" if parts.netloc and parts.netloc.lower() != "localhost" else ""
    path = _path_of(parts.path)
    # One folder has many spellings: `..`, `.`, slashes at the end or twice.
    return Path(host + posixpath.normpath(re.sub("/+", "/", path)) if path else host + path)


def _path_of(quoted: str) -> str:
    if os.name != "nt":
        return unquote(quoted)
    from urllib.request import url2pathname  # takes an HTTP client with it, so only where it does more than unquote

    return url2pathname(quoted)


def keep_out_of_git(directory: Path) -> None:
    """Put a ``.gitignore`` of ``*`` beside a workspace's store, so that nobody commits a conversation by accident."""
    # "x" writes to nothing that is there, not through a link that leads to nothing either: a repository may bring one.
    with suppress(FileExistsError), (directory / ".gitignore").open("x") as file:
        file.write("*\n")


def prepare_directory(database: Path, *, parents: bool = True) -> None:
    """Make ``.ws`` where the database is a workspace's usual one and not there yet, and keep it out of git. Raises
    OSError."""
    directory = database.parent
    if directory.name != WORKSPACE_DIRECTORY or database.exists() or directory.is_symlink():
        return
    directory.mkdir(mode=0o700, parents=parents, exist_ok=True)
    keep_out_of_git(directory)

"""What all commands share: finding the store, reporting errors, output, and progress on a terminal."""

from __future__ import annotations

import errno
import os
import stat
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from mandrake_sessions.commands.arguments import settings_of
from mandrake_sessions.commands.words import in_command_words
from mandrake_sessions.errors import (
    Conflict,
    InvalidValue,
    NoStore,
    SessionsError,
    StorageFailure,
    StorageReason,
    WorkspaceNotFound,
)
from mandrake_sessions.files import exists, explain
from mandrake_sessions.folding import folded, hint
from mandrake_sessions.quoting import ascii_json, one_line, printable, shorten
from mandrake_sessions.settings import Settings
from mandrake_sessions.store_names import StoreName
from mandrake_sessions.store_places import StorePlace, StorePlaces
from mandrake_sessions.transport.standard_streams import NOBODY_READS, discard_stdout, was_closed
from mandrake_sessions.workspaces import how_to_name

if TYPE_CHECKING:
    from mandrake_sessions.manager import SessionManager

DONE, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 130


class OutputFailed(Exception):
    """Stdout cannot be written, for example on a full disk."""


class Ambiguous(Conflict):
    """A name that may mean several things. ``lines``: a line for each, which follow the message."""

    def __init__(self, message: str, candidates: list[str], lines: list[str]) -> None:
        super().__init__("ambiguous", message, candidates=candidates)
        self.lines = lines


@frozen
class Meant:
    """The store that a command works on: its file, how many seconds to wait for other processes' locks, and whether the
    file may lie on a network file system."""

    database: str
    busy_timeout: float
    allow_network_filesystem: bool


def _store_meant(options: Namespace) -> Meant:
    """Find it from the flags, the environment and the working directory, as ``serve`` does.

    Raises:
        BadSetting: a flag or variable has a wrong value.
        InvalidValue: the path has no meaning here, or is that of a directory.
        StorageFailure: a link leads out of the store's own directory.
        WorkspaceNotFound: there is no such directory.
    """
    from mandrake_sessions.maintenance import check_links

    settings = settings_of(options)
    place = place_of(settings, options.scope)
    place.check_workspace()
    check_links(place.path, place.own_directory)
    return Meant(os.path.realpath(place.path), settings.busy_timeout, settings.allow_network_filesystem)


def place_of(settings: Settings, scope: str) -> StorePlace:
    """Where the store is. No file was used to find it, so whatever is wrong is wrong with an argument.

    Raises InvalidValue, WorkspaceNotFound; StorageFailure: something else is in the usual place.
    """
    try:
        place = StorePlaces(settings).place(StoreName(scope))
    except StorageFailure as failure:
        raise InvalidValue("", failure.worded) from failure
    _check_file(place)
    return place


def _check_file(place: StorePlace) -> None:
    path = place.path
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            raise InvalidValue("database", f"{shorten(path)}: the path is too long for this system") from None
        return
    if is_directory and not place.is_usual:
        raise InvalidValue("database", f"{path} is a directory; name a file")
    if is_directory:
        raise StorageFailure(
            StorageReason.OPEN,
            lambda words: (
                f"{path} is a directory, where the store's file should be; move it away, or "
                f"{how_to_name('name a file', path, words.setting('db_path'))}"
            ),
            path,
        )


def opened(meant: Meant) -> SessionManager:
    """A manager of the store, to be entered."""
    from mandrake_sessions.manager import SessionManager

    return SessionManager(
        meant.database,
        busy_timeout=meant.busy_timeout,
        allow_network_filesystem=meant.allow_network_filesystem,
    )


def ended(options: Namespace, work: Callable[[Meant], int], *, failed: int = FAILED) -> int:
    """Do a command's work on its store; gives the exit code, as ``told`` does."""
    return told(options, lambda: _done_on_store(options, work), failed=failed)


def _done_on_store(options: Namespace, work: Callable[[Meant], int]) -> int:
    meant = _store_meant(options)
    try:
        return work(meant)
    except NoStore as missing:
        if missing.path == meant.database and _has_own_store(options):
            wording = missing.worded
            raise StorageFailure(
                missing.reason, lambda words: f"{wording(words)}, or your own with --scope system", missing.path
            ) from missing
        raise


def _has_own_store(options: Namespace) -> bool:
    """Whether the user has a store of his own, and may have meant it: the options name no other."""
    if options.scope == "system" or options.workspace or options.database:
        return False
    try:
        return exists(place_of(settings_of(options), "system").path)
    except SessionsError:
        return False


def told(options: Namespace, work: Callable[[], int], *, failed: int = FAILED) -> int:
    """Do a command's work; gives the exit code. An expected error becomes one line on stderr.

    A wrong argument gives ``UNUSABLE`` and a stdout that cannot be written ``FAILED``, whichever command it is.
    ``failed`` is for all other errors.
    """
    command: str = options.command
    try:
        code = work()
        with _writing():
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return NOBODY_READS
    except OutputFailed as error:
        discard_stdout()
        return _told(command, error, FAILED)
    except (InvalidValue, WorkspaceNotFound) as error:
        return _told(command, error, UNUSABLE)
    except (SessionsError, OSError) as error:
        return _told(command, error, failed)
    except KeyboardInterrupt:
        hint(f"mandrake-sessions {command}: stopped; nothing was left half-done")
        return STOPPED
    return code


def check_stdin(instead: str) -> None:
    """``instead``: what somebody may do who has nothing to give. Raises InvalidValue: stdin is closed."""
    if was_closed(0):
        raise InvalidValue(
            "", f"stdin is closed, so there is nothing to read; give it with a pipe or a file ({instead})"
        )


def say(line: str = "", *, indent: int = 0) -> None:
    """Write one line to stdout; on a terminal it is folded, with so many blanks before what follows. Control characters
    in it, as in paths and titles, are escaped. Raises OutputFailed."""
    with _writing():
        sys.stdout.write(folded(one_line(line), sys.stdout, indent=indent) + "\n")


def say_line(line: str) -> None:
    """Write one line to stdout in which nothing has to be escaped. Raises OutputFailed."""
    with _writing():
        sys.stdout.write(line + "\n")


def asked(question: str) -> bool:
    """Whether somebody at the terminal says yes."""
    answer = ""
    try:
        sys.stderr.write(folded(f"{one_line(question)} [y/N]", sys.stderr) + " ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
    finally:
        # After Ctrl-C and Ctrl-D the terminal is still on the line of the question.
        if not answer.endswith("\n"):
            sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def say_text(text: str) -> None:
    """Write a part of a line, or lines, to stdout in which nothing has to be escaped. Raises OutputFailed."""
    with _writing():
        sys.stdout.write(text)


def flush() -> None:
    """Whoever reads stdout sees what was written until now. Raises OutputFailed."""
    with _writing():
        sys.stdout.flush()


def say_parts(parts: Iterable[str]) -> None:
    """Write a document to stdout as it is, in UTF-8. Raises OutputFailed."""
    with _writing():
        sys.stdout.flush()
    for part in parts:
        with _writing():
            sys.stdout.buffer.write(part.encode())
    with _writing():
        sys.stdout.buffer.flush()


def say_shown(parts: Iterable[str], *, is_json: bool) -> None:
    """Write a document to stdout for whoever reads it there: what controls a terminal or turns its text is escaped, as
    is what the encoding of stdout does not have. JSON becomes ASCII, and means what it meant. Raises OutputFailed."""
    escaped = ascii_json if is_json else printable
    for part in parts:
        with _writing():
            sys.stdout.write(escaped(part))


@contextmanager
def _writing() -> Iterator[None]:
    """Raises OutputFailed for errors of stdout, except BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"cannot write to stdout: {error.strerror}") from None


def _told(command: str, error: Exception, code: int) -> int:
    told = in_command_words(error)
    if isinstance(error, OSError) and error.filename is not None:
        told = f"{error.filename}: {explain(error, os.fsdecode(error.filename))}"
    hint(f"mandrake-sessions {command}: {told}")
    if isinstance(error, Ambiguous):
        for line in error.lines:
            hint(f"  {line}")
    return code

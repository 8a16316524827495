"""A file that a command writes: it is there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.files import explain, is_file


def into_file(path: str) -> Callable[[Iterable[str]], None]:
    """Gives what writes the parts of a text to a path: a file is there as a whole or not at all, a device or a pipe
    gets the text as it comes. Raises InvalidValue."""
    path = os.path.realpath(path)
    if os.path.isdir(path):  # noqa: PTH112
        raise InvalidValue("output", f"{path} is a directory; name a file in it")
    return lambda parts: _replace(path, parts) if is_file(path) or not os.path.exists(path) else _fill(path, parts)  # noqa: PTH110


def _fill(path: str, parts: Iterable[str]) -> None:
    with _named(path), open(path, "wb") as output:  # noqa: PTH123
        output.writelines(part.encode() for part in parts)


def _replace(path: str, parts: Iterable[str]) -> None:
    directory, name = os.path.split(path)
    # Private, as the store is.
    try:
        handle, partial = tempfile.mkstemp(prefix=f".{name}.", suffix=".partial", dir=directory)
    except OSError as error:
        raise InvalidValue(
            "output", f"{path} cannot be made: {explain(error, directory)}; name another place"
        ) from error
    try:
        with _named(path):
            with os.fdopen(handle, "wb") as output:
                output.writelines(part.encode() for part in parts)
            os.replace(partial, path)  # noqa: PTH105
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)  # noqa: PTH108
        raise


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors of writing, which name no file, name this one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error

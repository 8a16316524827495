"""A file that a command writes: it is there as a whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.files import explain, is_file
from mandrake_sessions.unfinished import unfinished

# Of the name of the file that is written first, which has more in it: at most four bytes each, of 255.
_NAME_CHARACTERS = 50


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
    mode = _mode_of(path)
    with ExitStack() as ending:
        # A new one is private, as the store is.
        try:
            # The name may be as long as names may be.
            made = ending.enter_context(unfinished(name[:_NAME_CHARACTERS], directory))
        except OSError as error:
            raise InvalidValue(
                "output", f"{path} cannot be made: {explain(error, directory)}; name another place"
            ) from error
        with _named(path):
            with made.output as output:
                if mode is not None and hasattr(os, "fchmod"):
                    os.fchmod(output.fileno(), mode)
                output.writelines(part.encode() for part in parts)
            os.replace(made.name, path)  # noqa: PTH105


def _mode_of(path: str) -> int | None:
    """Who may do what with a file that is replaced; None where there is none."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        return None


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors of writing, which name no file, name this one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error

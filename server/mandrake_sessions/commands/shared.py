"""What all of them need: which store is meant, how errors are told, and progress on a terminal."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from mandrake_sessions.connection.stores import Stores, check_workspace
from mandrake_sessions.errors import InvalidValue, SessionsError
from mandrake_sessions.files import explain
from mandrake_sessions.maintenance import Progress, check_links
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.stores import StoreName
from mandrake_sessions.quoting import json_line, one_line
from mandrake_sessions.settings import Settings, from_environment, parse_setting
from mandrake_sessions.workspaces import own_directory

DONE, FAILED, UNUSABLE, STOPPED = 0, 1, 2, 130


@frozen
class Meant:
    """The store that a command is about: its file, how long others' locks are waited for, and whether it may lie where
    other machines share it."""

    database: str
    busy_timeout: float
    allow_network_filesystem: bool


def _store_meant(options: Namespace) -> Meant:
    """From the flags, the environment and the working directory, as ``serve`` finds it.

    Raises:
        BadSetting: a flag or variable has a value that it may not have.
        StorageFailure: a link leads out of the store's own directory.
        WorkspaceNotFound: there is no such directory.
    """
    flags = {
        name: parse_setting(name, value, f"--{name.replace('_', '-')}")
        for name in ("workspace", "database", "busy_timeout")
        if (value := getattr(options, name)) is not None
    }
    settings = Settings(**{**from_environment(), **flags})
    place = Stores(settings).place(StoreName(options.scope))
    if place.is_usual and place.workspace is not None:
        check_workspace(place.workspace)
    directory = own_directory(Path(place.path)) if place.is_usual else None
    check_links(place.path, None if directory is None else str(directory))
    return Meant(os.path.realpath(place.path), settings.busy_timeout, settings.allow_network_filesystem)


def ended(options: Namespace, work: Callable[[Meant], int], *, failed: int = FAILED) -> int:
    """The exit code of a command's work on the store that is meant. What it raises on purpose is one line on stderr."""
    command: str = options.command
    try:
        code = work(_store_meant(options))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; what is left in the buffer must not be an error of its own at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except InvalidValue as error:
        return _told(command, error, UNUSABLE)
    except (SessionsError, OSError) as error:
        return _told(command, error, failed)
    except KeyboardInterrupt:
        sys.stderr.write(f"mandrake-sessions {command}: stopped; nothing was left half-done\n")
        return STOPPED
    return code


def say(line: str = "") -> None:
    """One line on stdout. Paths and titles may hold anything."""
    sys.stdout.write(one_line(line) + "\n")


def say_json(value: Mapping[str, Any]) -> None:
    """One line of JSON on stdout, its names in the case of the wire. On a stdout that is not UTF-8 every character that
    is not ASCII is escaped as JSON has it."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json_line(json.dumps(_in_wire_case(value), ensure_ascii=not is_utf8)) + "\n")


@contextmanager
def shown_progress() -> Iterator[Progress | None]:
    """Shows on stderr how far the block is, where that is a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(doing: str, done: int, total: int) -> None:
            # However short a phase is, it is shown.
            begins = doing != bar.tasks[task].description
            bar.update(task, description=doing, completed=done, total=total or None, refresh=begins)

        yield show


def _in_wire_case(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {camel(name): _in_wire_case(inner) for name, inner in value.items()}
    return [_in_wire_case(inner) for inner in value] if isinstance(value, list) else value


def _told(command: str, error: Exception, code: int) -> int:
    told = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        told = f"{error.filename}: {explain(error, os.fsdecode(error.filename))}"
    text = one_line(told)
    sys.stderr.write(f"mandrake-sessions {command}: {text}\n")
    return code

"""The command ``mandrake-sessions export SESSION``."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Iterable
from contextlib import suppress

from mandrake_sessions.commands.arguments import add_store, usage
from mandrake_sessions.commands.shared import DONE, Meant, ended, opened, say_parts
from mandrake_sessions.errors import InvalidValue, NotFound
from mandrake_sessions.exports import document
from mandrake_sessions.files import explain, is_file
from mandrake_sessions.maintenance import require_file
from mandrake_sessions.maintenance.words import given_path
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.operations.sessions import UNSET
from mandrake_sessions.redaction import detector

DESCRIPTION = (
    "Write a session as one document, of any length: Markdown for people, JSON lines without any loss, or an ATIF "
    "trajectory. Secrets and the names of home directories are replaced, but in JSON lines only with --redact."
)
EXAMPLE = "mandrake-sessions export @last --output talk.md"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION")
    add_store(parser)
    parser.add_argument(
        "session", metavar="SESSION", help="its id, the beginning of its id, or another program's name for it"
    )
    parser.add_argument("--agent", metavar="AGENT", help="the program whose name for the session SESSION is")
    parser.add_argument(
        "--format", choices=("markdown", "jsonl", "atif"), default="markdown", help="(default: markdown)"
    )
    parser.add_argument("--output", metavar="FILE", help="write to a file, in place of what it holds (default: stdout)")
    parser.add_argument("--redact", action=BooleanOptionalAction, help="replace secrets, or leave everything as it is")


def run(options: Namespace) -> int:
    """0: the document is written. 1: it failed. 2: FILE cannot be used."""
    return ended(options, lambda meant: _export(options, meant))


def _export(options: Namespace, meant: Meant) -> int:
    require_file(meant.database)
    write = say_parts if options.output is None else _into(str(given_path("output", options.output)))
    with opened(meant) as manager, manager.snapshot():
        made = document(manager, _session_meant(manager, options, meant), options.format, options.redact)
        write(made.parts)
    if made.redacts:
        sys.stderr.write(f"secrets and home directories that were replaced: {made.replaced}\n")
        if detector.was_missing():
            sys.stderr.write(f"warning: redacted without {detector.PACKAGE}, so fewer kinds of secrets were found\n")
    return DONE


def _session_meant(manager: SessionManager, options: Namespace, meant: Meant) -> str:
    """Its id. Raises NotFound, which says where the ids are."""
    try:
        return manager.find_session(options.session, agent=UNSET if options.agent is None else options.agent).id
    except NotFound as error:
        listing = '{"jsonrpc":"2.0","id":1,"method":"session/list"}'
        where = (
            f"in {meant.database}. To list its sessions: echo {shlex.quote(listing)} | "
            f"mandrake-sessions --database {shlex.quote(meant.database)}"
        )
        raise NotFound(error.entity, error.entity_id, where) from None


def _into(path: str) -> Callable[[Iterable[str]], None]:
    """Writes a file that is there as a whole or not at all; a device or a pipe as it comes."""
    path = os.path.realpath(path)
    if os.path.isdir(path):  # noqa: PTH112
        raise InvalidValue("output", f"{path} is a directory; name a file in it")
    return lambda parts: _replace(path, parts) if is_file(path) or not os.path.exists(path) else _fill(path, parts)  # noqa: PTH110


def _fill(path: str, parts: Iterable[str]) -> None:
    with open(path, "wb") as output:  # noqa: PTH123
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
        with os.fdopen(handle, "wb") as output:
            output.writelines(part.encode() for part in parts)
        os.replace(partial, path)  # noqa: PTH105
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)  # noqa: PTH108
        raise

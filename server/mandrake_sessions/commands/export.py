"""The command ``mandrake-sessions export SESSION…``."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import Looking, add_looking, listed
from mandrake_sessions.commands.moments import day
from mandrake_sessions.commands.naming import Named, add_sessions, named_each
from mandrake_sessions.commands.output_file import into_file
from mandrake_sessions.commands.shared import FAILED, hint, say_parts, shown_progress, told
from mandrake_sessions.commands.titles import title_of
from mandrake_sessions.commands.words import in_command_words
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.exports import document
from mandrake_sessions.maintenance.words import given_path
from mandrake_sessions.model import ExportFormat
from mandrake_sessions.redaction import detector
from mandrake_sessions.settings import BadSetting

DESCRIPTION = (
    "Write sessions as documents, of any length: Markdown for people, JSON lines without any loss, or ATIF "
    "trajectories. Secrets and the names of home directories are replaced, but in JSON lines only with --redact. With "
    "--all and no SESSION it exports every session, archived ones too."
)
EXAMPLE = "mandrake-sessions export @last --output talk.md"
_SUFFIXES: Final[dict[ExportFormat, str]] = {"markdown": "md", "jsonl": "jsonl", "atif": "json"}
# Of a title in the name of a file.
_NAME_CHARACTERS = 40

Write = Callable[[Iterable[str]], None]


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION…|--all")
    add_sessions(parser, least="*")
    parser.add_argument(
        "--format", choices=tuple(_SUFFIXES), help="(default: what the name of FILE ends with, else markdown)"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write to a file, in place of what it holds; or to a file for each session, in a directory, which is made "
        "for several sessions (default: stdout)",
    )
    parser.add_argument("--redact", action=BooleanOptionalAction, help="replace secrets, or leave everything as it is")
    add_looking(parser)


def run(options: Namespace) -> int:
    """0: all is written. 1: something was not. 2: FILE cannot be used."""
    return told(options, lambda: _export(options))


def _export(options: Namespace) -> int:
    if not options.sessions and not options.all:
        raise BadSetting("SESSION", "name one (mandrake-sessions list lists them), or export every one with --all")
    if options.output == "":
        raise BadSetting("--output", "it is empty; name a file or a directory")
    if not options.sessions and (options.scope or options.database):
        # They say which store is meant, and --all only that each session of it is.
        options.all = False
    chosen = options.format or _by_suffix(options.output) or "markdown"
    with Looking(options) as looking:
        meant = named_each(looking, options) if options.sessions else list(_every(looking))
        if options.output is None:
            for each in meant:
                _write(each, chosen, options, say_parts)
            return looking.code
        directory = str(given_path("output", options.output))
        if len(meant) == 1 and not os.path.isdir(directory):  # noqa: PTH112
            _write(meant[0], chosen, options, into_file(directory))
            return looking.code
        return _write_files(meant, chosen, options, directory) or looking.code


def _by_suffix(output: str | None) -> ExportFormat | None:
    ends = {f".{suffix}": name for name, suffix in _SUFFIXES.items()}
    return None if output is None else ends.get(os.path.splitext(output)[1])  # noqa: PTH122


def _every(looking: Looking) -> Iterator[Named]:
    for session in listed(looking, archived=None):
        yield Named(session, looking.manager_of(session.store))


def _write_files(meant: Sequence[Named], chosen: ExportFormat, options: Namespace, directory: str) -> int:
    """A file for each session; gives FAILED if one of them is not there."""
    os.makedirs(directory, exist_ok=True)  # noqa: PTH103
    failed = 0
    with shown_progress() as progress:
        for number, each in enumerate(meant):
            if progress is not None:
                progress("exporting", number, len(meant))
            try:
                _write(each, chosen, options, into_file(os.path.join(directory, _name(each, chosen))))  # noqa: PTH118
            except SessionsError as error:
                failed += 1
                hint(f"session {each.session.id} is not exported: {in_command_words(error)}")
    hint(f"{len(meant) - failed} of {len(meant)} sessions exported to {directory}")
    return FAILED if failed else 0


def _name(each: Named, chosen: ExportFormat) -> str:
    """Which sorts by the day, says what it is about, and is the session's own."""
    about = re.sub(r"\W+", "-", title_of(each.session)).strip("-").lower()[:_NAME_CHARACTERS].strip("-")
    own = each.session.id.replace("-", "")[-8:]
    return "-".join(filter(None, (day(each.session.created_at), about, own))) + f".{_SUFFIXES[chosen]}"


def _write(each: Named, chosen: ExportFormat, options: Namespace, write: Write) -> None:
    with each.manager.snapshot():
        made: Any = document(each.manager, each.session.id, chosen, options.redact)
        write(made.parts)
    if made.redacts and made.replaced:
        hint(f"secrets and home directories that were replaced: {made.replaced}")
    if made.redacts and detector.was_missing():
        hint(f"warning: redacted without {detector.PACKAGE}, so fewer kinds of secrets were found")

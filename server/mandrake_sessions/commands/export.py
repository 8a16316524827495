"""The command ``mandrake-sessions export SESSION…``."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import Looking, add_looking, listed
from mandrake_sessions.commands.moments import day
from mandrake_sessions.commands.naming import Named, add_sessions, named_each
from mandrake_sessions.commands.output_file import into_file
from mandrake_sessions.commands.shared import FAILED, hint, say_parts, shown_progress, told
from mandrake_sessions.commands.words import in_command_words
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.exports import cleaner_of, document, title_in
from mandrake_sessions.fields import SessionsWanted
from mandrake_sessions.maintenance.words import given_path
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import ExportFormat, Session
from mandrake_sessions.redaction import Cleaner, detector
from mandrake_sessions.settings import BadSetting

DESCRIPTION = (
    "Write sessions as documents, of any length: Markdown or a page of HTML for people, JSON lines without any loss, "
    "or ATIF trajectories. Secrets and the names of home directories are replaced, but in JSON lines only with "
    "--redact. With --all and no SESSION it exports every session, archived ones too."
)
EXAMPLE = "mandrake-sessions export @last --output talk.md"
_SUFFIXES: Final[dict[ExportFormat, str]] = {"markdown": "md", "html": "html", "jsonl": "jsonl", "atif": "json"}
# Of a title in the name of a file.
_NAME_CHARACTERS = 40

Write = Callable[[Iterable[str]], None]
# Documents that nobody wants to find Markdown in.
_OF_OTHERS: Final = frozenset({".pdf", ".doc", ".docx", ".odt", ".rtf", ".xml", ".csv", ".yaml", ".yml"})


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
        meant = named_each(looking, options) if options.sessions else list(_every(looking, options.agent))
        if options.output is None:
            if chosen == "html" and len(meant) > 1:
                raise BadSetting("--output", "a page holds one session; name a directory for the pages of several")
            for each in meant:
                _write(each, chosen, options, say_parts)
            return looking.code
        directory = str(given_path("output", options.output))
        if len(meant) == 1 and not os.path.isdir(directory):  # noqa: PTH112
            _write(meant[0], chosen, options, into_file(directory))
            return looking.code
        return _write_files(meant, chosen, options, directory) or looking.code


def _by_suffix(output: str | None) -> ExportFormat | None:
    if output is None or os.path.isdir(output):  # noqa: PTH112
        return None
    ends = {f".{suffix}": name for name, suffix in _SUFFIXES.items()}
    suffix = os.path.splitext(output)[1]  # noqa: PTH122
    if suffix in _OF_OTHERS:
        raise BadSetting("--output", f"{suffix} is none of {', '.join(ends)}; say what it is to be with --format")
    return ends.get(suffix)


def _every(looking: Looking, agent: str | None) -> Iterator[Named]:
    wanted: SessionsWanted = {"archived": None}
    if agent is not None:
        wanted["agent"] = agent
    for session in listed(looking, **wanted):
        yield Named(session, looking.manager_of(session.store))


def _write_files(meant: Sequence[Named], chosen: ExportFormat, options: Namespace, directory: str) -> int:
    """A file for each session; gives FAILED if one of them is not there."""
    os.makedirs(directory, exist_ok=True)  # noqa: PTH103
    names = _names(meant, chosen, options.redact)
    failed = 0
    with shown_progress() as progress:
        for number, each in enumerate(meant):
            if progress is not None:
                progress("exporting", number, len(meant))
            try:
                beside = names[each.manager]
                write = into_file(os.path.join(directory, beside[each.session.id]))  # noqa: PTH118
                _write(each, chosen, options, write, beside)
            except SessionsError as error:
                failed += 1
                hint(f"session {each.session.id} is not exported: {in_command_words(error)}")
    hint(f"{len(meant) - failed} of {len(meant)} sessions exported to {directory}")
    return FAILED if failed else 0


def _names(meant: Iterable[Named], chosen: ExportFormat, redact: bool | None) -> dict[SessionManager, dict[str, str]]:
    """Of the files, by the sessions' ids, for each store: two may have copies of the same session."""
    cleaner = cleaner_of(chosen, redact)
    names: dict[SessionManager, dict[str, str]] = defaultdict(dict)
    for each in meant:
        names[each.manager][each.session.id] = _name(each.session, cleaner) + f".{_SUFFIXES[chosen]}"
    return names


def _name(session: Session, cleaner: Cleaner) -> str:
    """Which sorts by the day, says what it is about, and is the session's own."""
    title = title_in(session, cleaner) or "no title"
    about = re.sub(r"\W+", "-", title).strip("-").lower()[:_NAME_CHARACTERS].strip("-")
    own = session.id.replace("-", "")[-8:]
    return "-".join(filter(None, (day(session.created_at), about, own)))


def _write(
    each: Named, chosen: ExportFormat, options: Namespace, write: Write, places: Mapping[str, str] | None = None
) -> None:
    with each.manager.snapshot():
        made: Any = document(each.manager, each.session.id, chosen, options.redact, places)
        write(made.parts)
    if made.redacts and made.replaced:
        hint(f"secrets and home directories that were replaced: {made.replaced}")
    if made.redacts and detector.was_missing():
        hint(f"warning: redacted without {detector.PACKAGE}, so fewer kinds of secrets were found")

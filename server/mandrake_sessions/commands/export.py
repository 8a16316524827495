"""The command ``mandrake-sessions export SESSION…``."""

from __future__ import annotations

import os
import re
import stat
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

from mandrake_sessions.commands.arguments import path, usage
from mandrake_sessions.commands.filters import add_filters, filters
from mandrake_sessions.commands.formats import ENDINGS, USUAL, add_format, ending_of, format_of_file
from mandrake_sessions.commands.looking import Looking, add_looking, count_listed, listed, tell_nothing
from mandrake_sessions.commands.moments import day
from mandrake_sessions.commands.naming import HOW_TO_NAME, Named, named_each
from mandrake_sessions.commands.output_file import into_file
from mandrake_sessions.commands.progress import shown_bytes, shown_progress
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import DONE, FAILED, say_parts, told
from mandrake_sessions.commands.words import in_command_words
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.exports import cleaner_of, document, title_in
from mandrake_sessions.files import explain
from mandrake_sessions.folding import hint
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import ExportFormat, Session
from mandrake_sessions.quoting import shorten
from mandrake_sessions.redaction import Cleaner, detector
from mandrake_sessions.settings import BadSetting
from mandrake_sessions.workspaces import given_path

DESCRIPTION = (
    "Write sessions as documents, of any length: Markdown or a page of HTML for people, JSON lines without any loss, "
    "or ATIF trajectories. Secrets and the names of home directories are replaced, but in JSON lines only with "
    "--redact. With --all and no SESSION it exports the sessions of every store that you have used, archived ones too, "
    "or those that --agent, --cwd and --since leave."
)
EXAMPLE = "mandrake-sessions export @last --output talk.md"
# Of a title in the name of a file.
_NAME_CHARACTERS = 40

Write = Callable[[Iterable[str]], None]
# Names that end so are files', and not directories'.
_OF_OTHERS: Final = (".txt", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".xml", ".csv", ".yaml", ".yml")
_OF_FILES: Final = frozenset((*ENDINGS, *_OF_OTHERS))


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("SESSION…|--all")
    parser.add_argument("sessions", metavar="SESSION", nargs="*", help=HOW_TO_NAME)
    add_format(parser, default="what the ending of FILE names, else markdown")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=path,
        help="write to a file, in place of what it holds; or to a file for each session, in a directory, which is made "
        "for several sessions and for --all. -: to stdout, which is the default. .md and .markdown name markdown, "
        ".html and .htm html, .jsonl jsonl, .json atif; .txt and no ending are markdown; another one needs --format",
    )
    parser.add_argument("--redact", action=BooleanOptionalAction, help="replace secrets, or leave everything as it is")
    add_looking(parser)
    add_filters(parser, since="those that were active")
    add_json(parser, "with --output: one JSON object a line for each file that was written")


def run(options: Namespace) -> int:
    """0: all is written. 1: something was not. 2: FILE cannot be used."""
    return told(options, lambda: _export(options))


def _export(options: Namespace) -> int:
    _check(options)
    if not options.sessions and (options.scope or options.database):
        # They say which store is meant, and --all only that each session of it is.
        options.all = False
    with Looking(options) as looking:
        wanted: Any = {"archived": None, **filters(options)}
        meant = named_each(looking, options) if options.sessions else list(_every(looking, wanted))
        if not meant:
            count = partial(count_listed, looking, wanted)
            tell_nothing(looking, options, "conversation", count, omits_archived=False)
            return looking.code
        return _write_all(meant, options) or looking.code


def _write_all(meant: Sequence[Named], options: Namespace) -> int:
    output = options.output
    if output is None:
        return _write_to_stdout(meant, options.format or USUAL, options)
    named = str(given_path("output", output))
    if _is_directory(options, len(meant)):
        return _write_files(meant, options.format or USUAL, options, named)
    return _write_file(meant[0], options.format or format_of_file("--output", output), options, named)


def _check(options: Namespace) -> None:
    """Raises BadSetting."""
    if options.output == "-":
        options.output = None
    if not options.sessions and not options.all:
        raise BadSetting("SESSION", "name one (mandrake-sessions list lists them), or export every one with --all")
    if options.output == "":
        raise BadSetting("--output", "it is empty; name a file or a directory")
    if options.json and options.output is None:
        raise BadSetting(
            "--json",
            "it tells which files were written, so it needs --output; for a session as JSON: --format jsonl",
        )


def _is_directory(options: Namespace, count: int) -> bool:
    """Whether the output is a directory for a file of each session. Raises BadSetting."""
    output = options.output
    named = str(given_path("output", output))
    if os.path.isdir(named):  # noqa: PTH112
        return True
    if options.sessions and count == 1 and not output.endswith(("/", os.sep)):
        return False
    suffix = os.path.splitext(named)[1]  # noqa: PTH122
    if os.path.lexists(named):
        raise BadSetting("--output", f"{shorten(output)} is a file; {_WHY_DIRECTORY}, so name a directory")
    if suffix.lower() in _OF_FILES:
        raise BadSetting(
            "--output",
            f"{shorten(output)} looks like a file; {_WHY_DIRECTORY}, so name a directory: leave {suffix} out, and say "
            "with --format what the files are to be",
        )
    return True


_WHY_DIRECTORY: Final = "several sessions, and those of --all, become a file each"


def _every(looking: Looking, wanted: Any) -> Iterator[Named]:
    for session in listed(looking, **wanted):
        yield Named(session, looking.manager_of(session.store))


def _write_to_stdout(meant: Sequence[Named], chosen: ExportFormat, options: Namespace) -> int:
    if chosen == "html" and len(meant) > 1:
        raise BadSetting("--output", "a page holds one session; name a directory for the pages of several")
    # What a terminal or a pipe takes can be seen there.
    with shown_bytes("exporting") if _is_into_file() else nullcontext(iter) as passed:
        for each in meant:
            _tell(_write(each, chosen, options, lambda parts: say_parts(passed(parts))))
    return DONE


def _is_into_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _write_file(each: Named, chosen: ExportFormat, options: Namespace, named: str) -> int:
    write = into_file(named)
    with shown_bytes("exporting") as passed:
        made = _write(each, chosen, options, lambda parts: write(passed(parts)))
    _tell_file(each, made, named, chosen, options)
    return DONE


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
                named = os.path.join(directory, beside[each.session.id])  # noqa: PTH118
                made = _write(each, chosen, options, into_file(named), beside)
                _tell_file(each, made, named, chosen, options)
            except BrokenPipeError:
                raise
            except (SessionsError, OSError) as error:
                failed += 1
                why = explain(error, named) if isinstance(error, OSError) else in_command_words(error)
                hint(f"session {each.session.id} is not exported: {why}")
    if not options.json:
        hint(f"{len(meant) - failed} of {len(meant)} sessions exported to {directory}")
    return FAILED if failed else DONE


def _names(meant: Iterable[Named], chosen: ExportFormat, redact: bool | None) -> dict[SessionManager, dict[str, str]]:
    """Of the files, by the sessions' ids, for each store: two may have copies of the same session."""
    cleaner = cleaner_of(chosen, redact)
    names: dict[SessionManager, dict[str, str]] = defaultdict(dict)
    for each in meant:
        names[each.manager][each.session.id] = _name(each.session, cleaner) + ending_of(chosen)
    return names


def _name(session: Session, cleaner: Cleaner) -> str:
    """Which sorts by the day, says what it is about, and is the session's own."""
    title = title_in(session, cleaner) or "no title"
    about = re.sub(r"\W+", "-", title).strip("-").lower()[:_NAME_CHARACTERS].strip("-")
    own = session.id.replace("-", "")[-8:]
    return "-".join(filter(None, (day(session.created_at), about, own)))


def _write(
    each: Named, chosen: ExportFormat, options: Namespace, write: Write, places: Mapping[str, str] | None = None
) -> Any:
    with each.manager.snapshot():
        made = document(each.manager, each.session.id, chosen, options.redact, places)
        write(made.parts)
    return made


def _tell_file(each: Named, made: Any, named: str, chosen: ExportFormat, options: Namespace) -> None:
    """Say that a file is written."""
    if not options.json:
        _tell(made)
        return
    say_json({"session_id": each.session.id, "path": named, "format": chosen, "replaced": made.replaced})
    _warn(made)


def _tell(made: Any) -> None:
    if made.redacts and made.replaced:
        hint(f"secrets and home directories that were replaced: {made.replaced}")
    _warn(made)


def _warn(made: Any) -> None:
    if made.redacts and detector.was_missing():
        hint(f"warning: redacted without {detector.PACKAGE}, so fewer kinds of secrets were found")

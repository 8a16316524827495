"""The command ``mandrake-sessions prune --older-than DURATION``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from attrs import asdict

from mandrake_sessions.amounts import plural, size_text
from mandrake_sessions.commands.arguments import add_store, usage
from mandrake_sessions.commands.moments import day, duration
from mandrake_sessions.commands.progress import shown_progress
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import (
    DONE,
    Meant,
    asked,
    ended,
    opened,
    say,
)
from mandrake_sessions.commands.table import fitted
from mandrake_sessions.ids import now_ms
from mandrake_sessions.maintenance import Pruned, prune, require_file
from mandrake_sessions.model import PrunableSession
from mandrake_sessions.quoting import one_line

_TITLE_WIDTH = 40
# Blanks before what has no room on the line of a session.
_MARGIN = 6

DESCRIPTION = (
    "Delete sessions that nobody has changed or streamed to for a long time, and return their space to the disk."
)
EXAMPLE = "mandrake-sessions prune --older-than 90d --dry-run"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("--older-than DURATION")
    add_store(parser)
    parser.add_argument("--older-than", metavar="DURATION", required=True, help="such as 30m, 12h, 90d or 6w")
    parser.add_argument("--archived", action="store_true", help="only sessions that are archived")
    parser.add_argument("--dry-run", action="store_true", help="list the sessions with their sizes; delete nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask, not even on a terminal")
    add_json(parser, "one JSON object, for a program")


def run(options: Namespace) -> int:
    """0: it deleted the sessions, or there were none. 1: it failed."""
    before = now_ms() - duration("--older-than", options.older_than)
    return ended(options, lambda meant: _prune(options, meant, before))


def _prune(options: Namespace, meant: Meant, before: int) -> int:
    require_file(meant.database)
    with opened(meant) as manager:
        found = manager.untouched_sessions(before, archived=options.archived)
        if options.dry_run or not found:
            _list(found, options)
            return DONE
        if not _is_wanted(found, options):
            _tell_refused(found, options)
            return DONE
        with shown_progress() as progress:
            done = prune(manager, meant.database, found, before, archived=options.archived, progress=progress)
    _tell(done, options)
    return DONE


def _is_wanted(found: list[PrunableSession], options: Namespace) -> bool:
    """Ask on a terminal; elsewhere nobody can answer."""
    if options.yes or not sys.stdin.isatty():
        return True
    size = size_text(sum(session.total_bytes for session in found))
    return asked(f"Delete {plural(len(found), 'session')} ({size}) for good? --dry-run lists them.")


def _tell_refused(found: list[PrunableSession], options: Namespace) -> None:
    if options.json:
        _say_json(found, None)
    else:
        say("Nothing was deleted.")


def _list(found: list[PrunableSession], options: Namespace) -> None:
    if options.json:
        _say_json(found, None)
        return
    for session in found:
        say(_line(session), indent=_MARGIN)
    size = size_text(sum(session.total_bytes for session in found))
    say(f"{plural(len(found), 'session')} would be deleted, {size}" if found else "No session is that old.")


def _line(session: PrunableSession) -> str:
    title = fitted(one_line(session.title or "(no title)")[:_TITLE_WIDTH], sys.stdout, beside=" " * _MARGIN)
    parts = {
        "texts": session.texts_bytes,
        "raw responses": session.raw_responses_bytes,
        "tool calls": session.tool_calls_bytes,
        "metadata": session.metadata_bytes,
        "feed": session.feed_bytes,
        "originals": session.originals_bytes,
    }
    sizes = ", ".join(f"{name} {size_text(size)}" for name, size in parts.items() if size)
    size = f"{size_text(session.total_bytes):>9} ({sizes})"
    return f"{session.id}  {day(session.last_change)}  {title:<{_TITLE_WIDTH}}  {size}"


def _tell(done: Pruned, options: Namespace) -> None:
    if options.json:
        _say_json(done.sessions, done)
        return
    before, after = size_text(done.bytes_before), size_text(done.bytes_after)
    say(f"{plural(len(done.sessions), 'session')} deleted; the file had {before} and has {after}")


def _say_json(sessions: list[PrunableSession], done: Pruned | None) -> None:
    listed = [asdict(session) | {"total_bytes": session.total_bytes} for session in sessions]
    sizes = {} if done is None else {"bytes_before": done.bytes_before, "bytes_after": done.bytes_after}
    say_json({"deleted": done is not None, "sessions": listed, **sizes})

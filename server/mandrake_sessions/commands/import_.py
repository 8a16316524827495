"""The command ``mandrake-sessions import [SOURCE…]``."""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import define, field

from mandrake_sessions.commands.arguments import add_store, usage
from mandrake_sessions.commands.shared import (
    DONE,
    FAILED,
    STOPPED,
    flush,
    hint,
    place_of,
    say,
    say_json,
    settings_of,
    told,
)
from mandrake_sessions.commands.writing import store_to_write
from mandrake_sessions.errors import InvalidValue
from mandrake_sessions.importing.importer import Importer, Outcome
from mandrake_sessions.importing.readers import readers
from mandrake_sessions.importing.reading import Reader, Source, parents_first
from mandrake_sessions.maintenance.words import given_path, plural, size_text
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.quoting import shorten

DESCRIPTION = (
    "Bring conversations in that other programs have written: all that this user has, or those of SOURCE, a program's "
    "name, a file or a directory. They go into the user's own store, unless --workspace or --database names another. "
    "It can be run again: nothing comes twice, and of what has grown only the new. Nothing that it reads is changed."
)
EXAMPLE = "mandrake-sessions import --dry-run"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("[SOURCE…]")
    parser.add_argument("sources", metavar="SOURCE", nargs="*", help="a program's name, a file or a directory")
    add_store(parser, scope=None)
    parser.add_argument("--dry-run", action="store_true", help="say what there is to bring in; bring in nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for a program")


def run(options: Namespace) -> int:
    """0: all is brought in. 1: something was not; each is named. 2: there is no SOURCE of that name."""
    return told(options, lambda: _import(options))


def _import(options: Namespace) -> int:
    if options.scope is None:
        options.scope = "workspace" if options.workspace or options.database else "system"
    known = readers()
    sources = parents_first(_sources(options.sources, known))
    with _store(options) as manager:
        looked = _looked_at(sources, manager, known)
        _tell_plan(looked, options)
        if options.dry_run or manager is None:
            return DONE
        return _bring(looked, manager, known, options)


def _sources(named: list[str], known: Mapping[str, Reader]) -> list[Source]:
    """What the arguments name, each once. Raises InvalidValue."""
    found: dict[tuple[str, str], Source] = {}
    for name in named or known:
        for source in _named(name, known):
            found.setdefault((source.path, source.key), source)
    return list(found.values())


def _named(name: str, known: Mapping[str, Reader]) -> Iterator[Source]:
    if name in known:
        # The directory of the user may be a link.
        yield from known[name].discover(os.path.expanduser("~"), os.environ)  # noqa: PTH111
        return
    path = given_path("source", name)
    if not Path(path).exists():
        raise InvalidValue(
            "sources", f"there is no file {shorten(name)!r}, and no program of that name; known are {', '.join(known)}"
        )
    for reader in known.values():
        yield from reader.sources_at(os.path.realpath(path))


@contextmanager
def _store(options: Namespace) -> Iterator[SessionManager | None]:
    """The store that they go into; None where there is none yet and none is to be made."""
    if not options.dry_run:
        with store_to_write(options) as manager:
            yield manager
        return
    settings = settings_of(options)
    stores = OpenStores(settings)
    try:
        yield stores.open(place_of(settings, options.scope), make=False)
    finally:
        stores.close()


def _looked_at(sources: list[Source], manager: SessionManager | None, known: Mapping[str, Reader]) -> list[Outcome]:
    if manager is None:
        return [Outcome(source, "new") for source in sources]
    importer = Importer(manager, known)
    with manager.snapshot():
        return [importer.look(source) for source in sources]


def _tell_plan(looked: list[Outcome], options: Namespace) -> None:
    """What there is, how much, and where it goes."""
    if options.json:
        for outcome in looked if options.dry_run else ():
            _say_outcome(outcome)
        return
    for name in dict.fromkeys(outcome.source.reader for outcome in looked):
        of_it = [outcome for outcome in looked if outcome.source.reader == name]
        size = size_text(sum(outcome.source.size for outcome in of_it))
        kinds = [
            f"{sum(outcome.what == what for outcome in of_it)} {word}"
            for what, word in _WORDS.items()
            if any(outcome.what == what for outcome in of_it)
        ]
        say(f"{name}: {plural(len(of_it), 'conversation')}, {size}: {', '.join(kinds)}")
    if not looked:
        say("There is nothing to bring in: no known program has left conversations here.")
    say(f"into {place_of(settings_of(options), options.scope).path}")
    flush()


_WORDS = {
    "new": "new",
    "grown": "changed since",
    "unchanged": "brought in before",
    "live": "recorded here while they went on",
    "deleted": "deleted here",
    "failed": "with a name that cannot be",
}


@define
class _Totals:
    read: int = 0
    sessions: int = 0
    rounds: int = 0
    turns: int = 0
    calls: int = 0
    problems: int = 0
    by_what: dict[str, int] = field(factory=dict)

    def add(self, outcome: Outcome) -> None:
        counts = outcome.counts
        self.read += 1
        self.sessions += counts.sessions
        self.rounds += counts.rounds
        self.turns += counts.turns
        self.calls += counts.calls
        self.problems += outcome.what in ("failed", "rewritten") or bool(outcome.broken)
        self.by_what[outcome.what] = self.by_what.get(outcome.what, 0) + 1


def _bring(looked: list[Outcome], manager: SessionManager, known: Mapping[str, Reader], options: Namespace) -> int:
    totals = _Totals()
    wanted = [outcome.source for outcome in looked if outcome.what in ("new", "grown")]
    with _stopping() as is_stopped, _bar(sum(source.size for source in wanted)) as progress:
        importer = Importer(manager, known, progress.within)
        try:
            for outcome in looked:
                if is_stopped():
                    break
                if outcome.what in ("new", "grown"):
                    outcome = importer.bring(outcome.source, outcome)
                    progress.complete(outcome.source)
                totals.add(outcome)
                _tell(outcome, options)
            importer.finish()
        finally:
            importer.close()
    _tell_totals(totals, len(looked), options)
    if totals.read < len(looked):
        return STOPPED
    return FAILED if totals.problems else DONE


def _tell(outcome: Outcome, options: Namespace) -> None:
    if options.json:
        if outcome.what != "unchanged":
            _say_outcome(outcome)
        return
    path = _shown(outcome.source.path)
    if outcome.what == "failed":
        hint(f"{path}: was not brought in: {outcome.reason}")
    elif outcome.reason is not None:
        hint(f"{path}: {outcome.reason}")
    for broken in outcome.broken:
        left_out = "; the line was left out" if broken.is_left_out else ""
        hint(f"{path}:{broken.line}: {broken.reason}{left_out}")
    if outcome.more_broken:
        hint(f"{path}: {outcome.more_broken} more such lines")


def _say_outcome(outcome: Outcome) -> None:
    source, counts = outcome.source, outcome.counts
    say_json(
        {
            "type": "source", "reader": source.reader, "agent": source.agent, "path": _shown(source.path),
            "external_id": _shown(source.external_id), "bytes": source.size, "what": outcome.what,
            "session_id": outcome.session_id, "rounds": counts.rounds, "turns": counts.turns,
            "tool_calls": counts.calls, "reason": outcome.reason, "more_broken": outcome.more_broken,
            "broken": [{"line": each.line, "reason": each.reason} for each in outcome.broken],
        }
    )  # fmt: skip


def _shown(name: str) -> str:
    """A name of a file, which need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def _tell_totals(totals: _Totals, of: int, options: Namespace) -> None:
    if options.json:
        say_json(
            {
                "type": "end", "sources": of, "read": totals.read, "sessions": totals.sessions, "rounds": totals.rounds,
                "turns": totals.turns, "tool_calls": totals.calls, "problems": totals.problems,
                "is_complete": totals.read == of,
            }
        )  # fmt: skip
        return
    parts = [
        plural(totals.sessions, "session"),
        plural(totals.rounds, "round"),
        plural(totals.turns, "turn"),
        plural(totals.calls, "tool call"),
    ]
    say(f"{', '.join(parts)} brought in")
    if totals.read < of:
        hint(f"Stopped: {totals.read} of {of} conversations were looked at. Run it again to go on.")


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: then the session that is being read is completed. A second one ends it at once."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


class _Shown:
    """Where a bar shows how far it is, if it is shown."""

    def __init__(self, show: Callable[[int], None] | None) -> None:
        self._show = show
        self._before = 0

    def within(self, read: int) -> None:
        """So much of the source was read."""
        if self._show is not None:
            self._show(self._before + read)

    def complete(self, source: Source) -> None:
        self._before += source.size
        self.within(0)


@contextmanager
def _bar(total: int) -> Iterator[_Shown]:
    """A bar on stderr with a rate and a rest, if that is a terminal."""
    if not sys.stderr.isatty():
        yield _Shown(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns: tuple[Any, ...] = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield _Shown(lambda done: bar.update(task, completed=min(done, total)))

"""The command ``mandrake-sessions import [SOURCE…]``."""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from types import FrameType

from attrs import evolve, frozen

from mandrake_sessions.commands.arguments import add_store, add_switch, path, settings_of, usage
from mandrake_sessions.commands.import_report import Totals, tell_outcome, tell_plan, tell_totals
from mandrake_sessions.commands.progress import ShownAmount, shown_amount, shown_work
from mandrake_sessions.commands.results import add_json
from mandrake_sessions.commands.shared import (
    DONE,
    FAILED,
    STOPPED,
    flush,
    place_of,
    say,
    told,
)
from mandrake_sessions.commands.writing import make_searchable, note, store_to_write
from mandrake_sessions.errors import SessionsError
from mandrake_sessions.importing.cycles import look_seldom
from mandrake_sessions.importing.elsewhere import OtherStores
from mandrake_sessions.importing.events import Broken
from mandrake_sessions.importing.finding import find, home
from mandrake_sessions.importing.follower import Follower, Root, roots_of
from mandrake_sessions.importing.importer import Importer
from mandrake_sessions.importing.one_reading import Outcome
from mandrake_sessions.importing.readers import OWN_NAMES, readers
from mandrake_sessions.importing.reading import Reader, Source, storable
from mandrake_sessions.importing.watching import Watching, watch
from mandrake_sessions.maintenance.only_one import only_one
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.operations.housekeeping import housekeeper
from mandrake_sessions.operations.indexing import fill_index
from mandrake_sessions.settings import BadSetting
from mandrake_sessions.workspaces import given_path

DESCRIPTION = (
    "Bring conversations in that other programs have written: all that this user has, or those of SOURCE, a program's "
    "name, a file or a directory. They go into the user's own store, unless --workspace or --database names another. "
    "It can be run again: nothing comes twice, and of what has grown only the new. Nothing that it reads is changed."
)
EXAMPLE = "mandrake-sessions import --dry-run"


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("[SOURCE…]")
    parser.add_argument(
        "sources", metavar="SOURCE", nargs="*", type=path,
        help=f"a program ({', '.join(OWN_NAMES)}), a file or a directory (default: all programs)",
    )  # fmt: skip
    add_store(parser, scope=None)
    add_switch(parser, "no_originals")
    parser.add_argument("--follow", action="store_true", help="stay, and bring in what is written from now on")
    parser.add_argument("--dry-run", action="store_true", help="say what there is to bring in; bring in nothing")
    add_json(parser)


def run(options: Namespace) -> int:
    """0: all is brought in. 1: something was not; each is named; or with --follow another one follows already. 2: there
    is no SOURCE of that name."""
    return told(options, lambda: _import(options))


def _import(options: Namespace) -> int:
    if options.scope is None:
        options.scope = "workspace" if options.workspace or options.database else "system"
    if options.follow and options.dry_run:
        raise BadSetting("--follow", "cannot be given beside --dry-run")
    known = readers()
    with ExitStack() as kept:
        found = find(options.sources, known)
        sources = found.sources
        manager = kept.enter_context(_store(options))
        if options.follow:
            kept.enter_context(_alone(options))
        others = kept.enter_context(_others(known, options))
        watching = None
        if options.follow:
            watching = kept.enter_context(_watching(sources, known, options))
            # What was born before it was watched.
            found = find(options.sources, known)
            sources = found.sources
        looked = _looked_at(sources, manager, known, others)
        tell_plan(found, looked, place_of(settings_of(options), options.scope).path, options)
        if options.dry_run or manager is None:
            return FAILED if found.troubles else DONE
        keeps = not settings_of(options).no_originals
        with _stopping() as is_stopped, shown_amount(_amount(looked)) as progress:
            importer = Importer(manager, known, progress.within, elsewhere=others, keeps=keeps, follows=options.follow)
            kept.enter_context(closing(importer))
            totals = Totals(problems=len(found.troubles))
            importer.read_ahead(looked)
            look_seldom()
            _bring(looked, importer, progress, is_stopped, totals, options)
        tell_totals(totals, len(looked), manager, options)
        if totals.read < len(looked):
            return STOPPED
        if watching is None:
            _make_all_searchable(manager)
        else:
            for source in sources:
                importer.expect(source)
            importer.finish()
            _follow(watching, importer, manager, others, options)
        return FAILED if totals.problems else DONE


@contextmanager
def _alone(options: Namespace) -> Iterator[None]:
    """Nobody else follows into the same store meanwhile. Raises DoneByAnother."""
    database = os.path.realpath(place_of(settings_of(options), options.scope).path)
    advice = "one follows all programs; to follow others than that one does, end it first"
    with only_one(database, "follow", f"another process follows already, into {database}; {advice}"):
        yield


@frozen
class _Watched:
    roots: list[Root]
    watching: Watching


@contextmanager
def _watching(sources: list[Source], known: Mapping[str, Reader], options: Namespace) -> Iterator[_Watched]:
    """What is watched, from before the first look at it."""
    named = [known[name] for name in options.sources if name in known] if options.sources else list(known.values())
    roots = roots_of(named, sources, home(), os.environ)
    paths = [os.path.realpath(given_path("source", name)) for name in options.sources if name not in known]
    roots += [Root(path, list(known.values())) for path in paths]
    with closing(watch(list(dict.fromkeys(each.path for each in roots)))) as watching:
        yield _Watched(roots, watching)


def _follow(
    watched: _Watched, importer: Importer, manager: SessionManager, others: OtherStores, options: Namespace
) -> None:
    """Until somebody ends it."""
    settings = settings_of(options)
    # Whoever looks in every store sees this one from now on.
    note(options, manager)
    if not options.json:
        say("Following; Ctrl-C ends it.")
    flush()
    told = _Told(options)
    house = housekeeper(manager.store, settings.feed_max_bytes, settings.feed_max_age)
    Follower(
        importer, watched.roots, watched.watching, others, lambda: make_searchable(manager), house, told.tell
    ).run()


class _Told:
    """What a follower says of each source: what is wrong once, and what begins; with ``--json`` whatever comes."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        # By the paths of their files.
        self._failed: dict[str, str | None] = {}
        self._broken: dict[str, set[int]] = {}

    def tell(self, outcome: Outcome) -> None:
        path = outcome.source.path
        before = self._failed.pop(path, None)
        if outcome.what in ("failed", "rewritten"):
            self._failed[path] = outcome.reason
            if before == outcome.reason and outcome.what == "failed":
                return
            if before == outcome.reason:
                outcome = evolve(outcome, what="grown", reason=None)
        outcome = evolve(outcome, broken=self._new_ones(path, outcome.broken))
        comes = ("failed", "rewritten", "new", "grown", "live") if self._options.json else ("failed", "rewritten")
        if outcome.what in comes or outcome.broken:
            tell_outcome(outcome, self._options)
        elif outcome.counts.sessions and not self._options.json:
            say(f"{outcome.source.agent}: {storable(outcome.source.external_id)} has begun")
        flush()

    def _new_ones(self, path: str, broken: list[Broken]) -> list[Broken]:
        """Those that were not told yet: a round that goes on is read again from its beginning."""
        if not broken:
            return broken
        told = self._broken.setdefault(path, set())
        new = [each for each in broken if each.offset not in told]
        told.update(each.offset for each in new)
        return new


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


@contextmanager
def _others(known: Mapping[str, Reader], options: Namespace) -> Iterator[OtherStores]:
    """The user's other stores, which were asked what was recorded in them."""
    settings = settings_of(options)
    places = []
    for scope in ("workspace", "system"):
        with suppress(SessionsError):
            places.append(place_of(settings, scope))
    others = OtherStores(place_of(settings, options.scope), places, {reader.agent for reader in known.values()})
    try:
        others.look()
        yield others
    finally:
        others.close()


def _looked_at(
    sources: list[Source], manager: SessionManager | None, known: Mapping[str, Reader], others: OtherStores
) -> list[Outcome]:
    if manager is None:
        live = {id(source): others.find(source) for source in sources}
        return [Outcome(source, "new" if live[id(source)] is None else "live") for source in sources]
    with closing(Importer(manager, known, elsewhere=others)) as importer, manager.snapshot():
        return [importer.look(source) for source in sources]


def _amount(looked: list[Outcome]) -> int:
    return sum(outcome.source.size for outcome in looked if outcome.what in ("new", "grown"))


def _bring(
    looked: list[Outcome],
    importer: Importer,
    progress: ShownAmount,
    is_stopped: Callable[[], bool],
    totals: Totals,
    options: Namespace,
) -> None:
    # Nothing is told of what may still be undone.
    waiting: list[Outcome] = []
    for outcome in looked:
        if is_stopped():
            break
        is_read = outcome.what in ("new", "grown")
        outcome = importer.bring(outcome.source, outcome)
        if is_read:
            progress.complete(outcome.source.size)
        waiting.append(outcome)
        if not importer.has_uncommitted:
            _tell_each(waiting, totals, options)
    importer.finish()
    _tell_each(waiting, totals, options)


def _make_all_searchable(manager: SessionManager) -> None:
    """However much came: who searches next finds all of it. Whoever fills the index already is left to it."""
    flush()
    with (
        _stopping() as is_stopped,
        shown_work("Putting what came into the search index; Ctrl-C leaves that for later"),
        suppress(SessionsError, OSError),
    ):
        fill_index(manager.store, patience=0, is_stopped=is_stopped)


def _tell_each(waiting: list[Outcome], totals: Totals, options: Namespace) -> None:
    for outcome in waiting:
        totals.add(outcome)
        tell_outcome(outcome, options)
    waiting.clear()


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

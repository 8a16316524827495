"""Where reading commands look: the store of the workspace, and what the user's own store has of the workspace; or, with
``--all``, every store of the user."""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol, TypeVar, Unpack

from attrs import frozen

from mandrake_sessions.commands.arguments import add_store, is_text, meant, settings_of
from mandrake_sessions.commands.shared import DONE, FAILED, place_of
from mandrake_sessions.commands.words import in_command_words
from mandrake_sessions.errors import InvalidValue, NotFound, StoreError
from mandrake_sessions.fields import SessionsWanted
from mandrake_sessions.files import exists, stays_empty
from mandrake_sessions.folding import hint
from mandrake_sessions.known_stores import KnownStore, find_known_store, known_stores
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import SessionOfStore, StoreRef, UnavailableReason, UnavailableStore
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.operations.joining import JoinedSessions, Joining
from mandrake_sessions.settings import BadSetting
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.visits import Part, Visits, raise_for_all
from mandrake_sessions.workspaces import HOME_VARIABLE

R = TypeVar("R")


def add_looking(parser: ArgumentParser) -> None:
    """The flags that say where a command looks."""
    add_store(parser, scope=None)
    parser.add_argument("--all", action="store_true", help="look in every store that you have used")


@frozen
class Spot:
    """A store that is there. ``cwd``: only the sessions about this directory count; None: all of them."""

    place: StorePlace
    manager: SessionManager
    cwd: str | None


class Looking:
    """The stores that the options mean, open while it is entered. A store that cannot be read is told on stderr, and
    ``is_whole`` is False then; ``has_missed`` tells it of the last look everywhere. ``spots``: those that are there, in
    the order in which they are looked at; ``missing``: the others, each with what a spot has as ``cwd``."""

    def __init__(self, options: Namespace, *, waits: bool = False) -> None:
        """``waits``: a file that the options name need not be there yet. Raises BadSetting."""
        if options.all and (options.scope or options.database):
            flag = "--scope" if options.scope else "--database"
            raise BadSetting("--all", f"cannot be given beside {flag}, which says already where to look")
        self._options = options
        self._waits = waits
        self._settings = settings_of(options)
        self._stores = OpenStores(self._settings)
        self.is_whole = True
        self.has_missed = False
        self.spots: list[Spot] = []
        self.missing: list[tuple[StorePlace, str | None]] = []
        self._warned: set[str] = set()
        # Paths of those that could not be opened, which has been told.
        self._failed: set[str] = set()
        self._kept = ExitStack()

    def __enter__(self) -> Looking:
        """Raises what opening the only store raises, and InvalidValue: the file that the options name is not there."""
        self._kept.callback(self._stores.close)
        try:
            places = list(self._places())
            for place, cwd in places:
                self._open(place, cwd, is_only=len(places) == 1)
        except BaseException:
            self._kept.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    @property
    def code(self) -> int:
        """The exit code of a command that has told what it found."""
        return DONE if self.is_whole else FAILED

    def joined(self, joining: Joining[Any, R], *, everywhere: bool = False) -> R:
        """What the stores give. ``everywhere``: whatever the options say, all of them.

        Raises:
            InvalidValue: ``joining`` cannot be had.
            NotFound: no store has what it names.
        """
        parts = [self._part(spot, joining, everywhere=everywhere) for spot in self.spots]
        if everywhere or self._options.all:
            parts += [Part(store, joining) for store in self.visited()]
        Visits(parts).run()
        raise_for_all(parts)
        unavailable = [part.unavailable for part in parts if part.unavailable is not None]
        if everywhere:
            self.has_missed = any(each.reason is not UnavailableReason.GONE for each in unavailable)
        else:
            self.tell(unavailable)
        return joining.result(unavailable)

    def visited(self) -> list[KnownStore]:
        """The other stores that the user has used, which are not open here."""
        here = {spot.place.path for spot in self.spots}
        return [store for store in known_stores((), ()) if store.path not in here]

    def spot_of(self, ref: StoreRef) -> Spot | None:
        """That of a store; None if it is only visited."""
        return next((spot for spot in self.spots if spot.manager.feed.store_id() == ref.store_id), None)

    def manager_of(self, ref: StoreRef) -> SessionManager:
        """That of a store which has given something; opened if it was only visited. Raises NotFound, StoreError."""
        if (spot := self.spot_of(ref)) is not None:
            return spot.manager
        known = find_known_store(ref.store_id, (), ())
        place = None if known is None else StorePlace(known.scope, known.workspace, known.path, is_usual=False)
        manager = None if place is None else self._stores.open(place, make=False)
        if manager is None:
            raise NotFound("store", ref.store_id, "any more; run it again")
        return manager

    def _part(self, spot: Spot, joining: Joining[Any, Any], *, everywhere: bool) -> Part:
        """That of a store that is open, with its answer."""
        place = spot.place
        known = KnownStore(spot.manager.feed.store_id(), place.scope, place.workspace, place.path, 0)
        narrows = spot.cwd is not None and not everywhere
        part = Part(known, joining, joining.narrowed(spot.cwd) if narrows and spot.cwd else joining)
        part.read(spot.manager.store)
        return part

    def _places(self) -> Iterator[tuple[StorePlace, str | None]]:
        scope = self._options.scope
        workspace = None if scope == "system" else place_of(self._settings, "workspace")
        if workspace is not None:
            workspace.check_workspace()
            yield workspace, None
        if scope == "workspace" or self._options.database:
            return
        is_narrow = scope is None and not self._options.all and getattr(self._options, "cwd", None) is None
        directory = None if workspace is None else workspace.workspace
        try:
            own = place_of(self._settings, "system")
        except InvalidValue:
            if workspace is None or os.environ.get(HOME_VARIABLE):
                raise
            # A user without a home directory has no store of his own.
            return
        if is_narrow and directory is not None and not is_text(directory):
            # No session is about it: a path that is stored is text.
            return
        yield own, directory if is_narrow else None

    def _open(self, place: StorePlace, cwd: str | None, *, is_only: bool) -> None:
        is_empty = stays_empty(place.path)
        try:
            manager = self._stores.open(place, make=False)
        except StoreError as error:
            if is_only:
                raise
            why = in_command_words(error)
            self.warn(why if why.startswith(place.path) else f"{place.path}: {why}")
            self._failed.add(place.path)
            return
        if manager is not None:
            self.spots.append(Spot(place, manager, cwd))
            return
        if self._options.database and not self._waits and not exists(place.path):
            raise InvalidValue("database", f"there is no file {place.path}")
        self.missing.append((place, cwd))
        if is_empty:
            self.warn(_emptied(place.path))

    def tell(self, unavailable: Iterable[UnavailableStore]) -> None:
        """Warn of stores that cannot be read, of each once."""
        for store in unavailable:
            if stays_empty(store.path):
                self.warn(_emptied(store.path))
            elif store.reason is not UnavailableReason.GONE and store.path not in self._failed:
                more = f"mandrake-sessions doctor --database {shlex.quote(store.path)}"
                self.warn(f"{store.path} cannot be read: {store.reason}; {more} tells more")

    def warn(self, text: str) -> None:
        """Tell it on stderr, once: what follows is not the whole."""
        self.is_whole = False
        if text not in self._warned:
            self._warned.add(text)
            hint(f"mandrake-sessions {self._options.command}: warning: {text}")


def _emptied(path: str) -> str:
    return f"{path} is empty, and no store; restore a backup, or the next session that is stored makes a new one"


def listed(
    looking: Looking, limit: int | None = None, *, everywhere: bool = False, **wanted: Unpack[SessionsWanted]
) -> Iterator[SessionOfStore]:
    """The sessions of the stores that are looked at, or with ``everywhere`` of all, the one that moved last first, as
    they are asked for: all of them, or ``limit``. Raises InvalidValue."""
    given = 0
    cursor = None
    while limit is None or given < limit:
        size = MAX_LIMIT if limit is None else min(limit - given, MAX_LIMIT)
        joining = JoinedSessions(limit=size, cursor=cursor, sort="active", **wanted)
        page = looking.joined(joining, everywhere=everywhere)
        for session in page.sessions:
            given += 1
            yield session
        cursor = page.next_cursor
        if cursor is None:
            return


def count_listed(looking: Looking, wanted: Any, *, everywhere: bool, archived: bool | None = None) -> str:
    """How many sessions there are with these filters, as ``Counting`` says it."""
    joining = JoinedSessions(limit=MAX_LIMIT, sort="active", **with_archived(wanted, archived))
    page = looking.joined(joining, everywhere=everywhere)
    return at_least(sum(1 for _ in page.sessions), has_more=page.next_cursor is not None)


def at_least(number: int, *, has_more: bool) -> str:
    """A number of things that were counted as far as a page goes; empty for 0."""
    return f"{number} or more" if has_more else str(number or "")


class Counting(Protocol):
    """How much there is of what somebody looks for, in all stores or where the command looks; empty for nothing.
    ``archived``: in archived sessions; None: as the options say."""

    def __call__(self, *, everywhere: bool, archived: bool | None = None) -> str: ...


def with_archived(wanted: Any, archived: bool | None) -> Any:
    """The same filters, for ``Counting``."""
    return wanted if archived is None else {**wanted, "archived": archived}


def tell_nothing(
    looking: Looking,
    options: Namespace,
    what: str,
    count: Counting,
    *,
    omits_archived: bool = True,
    has_more: bool = False,
) -> None:
    """The line on stderr for somebody who has found nothing. ``omits_archived``: archived sessions do not count without
    ``--archived``. ``has_more``: not all of it was looked at."""
    agents = other_agents(looking, options)
    if not looking.is_whole:
        hint(f"No {what} found in what could be read{agents}.")
    elif has_more:
        hint(f"No {what} found in what could be searched{agents}.")
    elif ways := _other_ways(options, count, may_be_archived=omits_archived and not options.archived):
        hint(f"No {what} found {'in any store' if options.all else 'here'}; {ways}{agents}.")
    elif options.all:
        hint(f"No {what} found in any store{agents}.{_how_to_begin(looking)}")
    else:
        hint(f"No {what} found, here or in any other store{agents}.{_how_to_begin(looking)}")


def _other_ways(options: Namespace, count: Counting, *, may_be_archived: bool) -> str:
    """The flags with which something is found, each with how much, as a part of a message."""
    found = []
    if may_be_archived:
        found.append(("--archived", count(everywhere=options.all, archived=True)))
    if not options.all:
        found.append(("--all", count(everywhere=True)))
    if may_be_archived and not options.all and not any(number for _, number in found):
        found.append(("--all --archived", count(everywhere=True, archived=True)))
    return ", and ".join(f"{flags} finds {number}" for flags, number in found if number)


def _how_to_begin(looking: Looking) -> str:
    """A sentence for somebody who has stored nothing yet."""
    if next(listed(looking, 1, everywhere=True, archived=None), None) is not None:
        return ""
    return " Other programs may have left some: mandrake-sessions import"


def other_agents(looking: Looking, options: Namespace) -> str:
    """Where somebody asked for the sessions of an agent that has none: those that there are, as a part of a message."""
    if options.agent is None:
        return ""
    found = agents_of(looking)
    if not found or options.agent in found:
        return ""
    more = "" if len(found) <= _AGENTS_NAMED else " …"
    near = meant(options.agent, found).removeprefix("; ")
    advice = f" ({near})" if near else ""
    where = "there" if options.all else "here"
    return f"{advice}; agents {where}: {', '.join(sorted(found)[:_AGENTS_NAMED])}{more}"


def agents_of(looking: Looking) -> set[str]:
    """The programs whose sessions the stores have."""
    return {each.agent for each in listed(looking, _LOOKED_THROUGH, archived=None) if each.agent}


# How many sessions are looked through for their agents, and how many agents are named.
_LOOKED_THROUGH = 1000
_AGENTS_NAMED = 10

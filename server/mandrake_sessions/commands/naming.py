"""Which session a person means: by an id or its beginning, another program's name for it, its place in the list, or a
part of its title."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.amounts import plural
from mandrake_sessions.commands.filters import add_agent, filters
from mandrake_sessions.commands.looking import Looking, count_listed, listed
from mandrake_sessions.commands.moments import ago
from mandrake_sessions.commands.shared import Ambiguous
from mandrake_sessions.commands.titles import title_of
from mandrake_sessions.errors import NotFound
from mandrake_sessions.known_stores import find_known_store
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Session, SessionOfStore
from mandrake_sessions.operations.naming import JoinedNames
from mandrake_sessions.quoting import nearest_name, shorten
from mandrake_sessions.settings import BadSetting

_PLACE = re.compile(r"@(last|[1-9][0-9]{0,5})")
_NO_PLACE = re.compile(r"@(-[0-9]+|0+)")
# So many are named where a name is ambiguous.
_MAX_CANDIDATES = 20
_TITLE_CHARACTERS = 60


def add_session(parser: ArgumentParser) -> None:
    """The argument that names a session, and the flag of whose session it is."""
    parser.add_argument("session", metavar="SESSION", help=HOW_TO_NAME)
    add_agent(parser)


def add_sessions(parser: ArgumentParser) -> None:
    """The same for several sessions."""
    parser.add_argument("sessions", metavar="SESSION", nargs="+", help=HOW_TO_NAME)
    add_agent(parser)


HOW_TO_NAME: Final = (
    "an id or another program's name for it, or the beginning of either, @last, @2 (as list numbers them), or a part "
    "of its title"
)


@frozen
class Named:
    """A session, and the store that it is in."""

    session: Session
    manager: SessionManager


def for_each_named(options: Namespace, work: Callable[[Named], object]) -> int:
    """Do something with each session that the options name, once all are found; gives the exit code. Raises what
    ``named`` raises."""
    with Looking(options) as looking:
        for each in named_each(looking, options):
            work(each)
        return looking.code


def named_each(looking: Looking, options: Namespace) -> list[Named]:
    """All sessions that the options name, each once. Raises what ``named`` raises."""
    found = [named(looking, options, name) for name in options.sessions]
    return list({(id(each.manager), each.session.id): each for each in found}.values())


def named(looking: Looking, options: Namespace, name: str | None = None) -> Named:
    """The session that the options name, or the one of another name, where they look.

    Raises:
        NotFound: there is none.
        Ambiguous: it may be one of several.
    """
    return _opened(looking, found_session(looking, options, name))


def found_session(looking: Looking, options: Namespace, name: str | None = None) -> SessionOfStore:
    """The same, without opening its store where that is only visited. Raises what ``named`` raises."""
    name = options.session if name is None else name
    assert name is not None
    if _NO_PLACE.fullmatch(name):
        raise BadSetting("SESSION", f"{name} is no place in the list: they count from @1, which is @last")
    if not name.strip():
        raise BadSetting("SESSION", "it is empty, which names no session; mandrake-sessions list lists them")
    place = _PLACE.fullmatch(name)
    if place is not None:
        return _at(looking, options, name, 1 if place[1] == "last" else int(place[1]))
    found = _all_named(looking, options, name)
    if len(found) > 1:
        raise _ambiguous(name, found)
    if not found:
        raise NotFound("session", name, _where(looking, options, name))
    return found[0]


def _at(looking: Looking, options: Namespace, name: str, number: int) -> SessionOfStore:
    wanted: Any = filters(options) | {"archived": options.archived}
    found = list(listed(looking, number, **wanted))
    if len(found) < number:
        where = _empty(looking, options)
        if where is None:
            where = f"among {len(found)} {'in all stores' if options.all else 'here'}; {_how_to_list(options)}"
        if not options.all:
            where += f", and --all finds {count_listed(looking, wanted, everywhere=True) or _none_either(looking)}"
        raise NotFound("session", name, where)
    return found[-1]


def _empty(looking: Looking, options: Namespace) -> str | None:
    """What to say where no session is stored at all; None where one is, or something could not be read."""
    if not looking.is_whole or next(listed(looking, 1, archived=None), None) is not None:
        return None
    where = "in any store" if options.all else "here"
    return f"{where}: none is stored yet (record, append and new make one; import brings in those of other programs)"


def _how_to_list(options: Namespace, name: str = "") -> str:
    """``name``: one that fits nothing; it may be a place in the list that lacks its sign."""
    near = f"@{name.lower()}" if _PLACE.fullmatch(f"@{name.lower()}") else None
    if name.startswith("@"):
        near = nearest_name(name.lower(), ["@last"], cutoff=0.6)
    meant = "" if near is None else f"did you mean {near}? "
    flags = f"{' --all' if options.all else ''}{' --archived' if options.archived else ''}"
    return f"{meant}mandrake-sessions list{flags} lists them"


def _none_either(looking: Looking) -> str:
    return "none either" if looking.is_whole and not looking.has_missed else "none in what could be read"


def _all_named(looking: Looking, options: Namespace, name: str, *, everywhere: bool = False) -> list[SessionOfStore]:
    """Those that the name fits. Nobody means a title where it is a whole id, or another program's name."""
    found = looking.joined(JoinedNames(name, options.agent), everywhere=everywhere)
    if options.agent is not None:
        found = [each for each in found if each.agent == options.agent or each.id == name.lower()]
    if any(name.lower() == each.id or name == each.external_id for each in found):
        return found
    ids = {each.id for each in found}
    titled = _titled(looking, options, name, everywhere=everywhere)
    return [*found, *(each for each in titled if each.id not in ids)]


def _titled(looking: Looking, options: Namespace, text: str, *, everywhere: bool) -> list[SessionOfStore]:
    """Those whose title it is, where line ends are blanks; or else those that have it in what the list shows of them.
    They are looked for by its longest word, which is the same in all of these."""
    whole: list[SessionOfStore] = []
    parts: list[SessionOfStore] = []
    word = max(text.split(), key=len)
    for each in listed(looking, everywhere=everywhere, query=word, archived=None, **filters(options)):
        if has_title(each, text):
            whole.append(each)
        elif has_part(each, text) and len(parts) <= _MAX_CANDIDATES:
            parts.append(each)
        if len(whole) > _MAX_CANDIDATES:
            break
    return whole or parts


def has_part(session: Session, text: str) -> bool:
    """Whether the text is in the title, as the list shows it."""
    return " ".join(text.split()).casefold() in title_of(session).casefold()


def has_title(session: Session, text: str) -> bool:
    """Whether the text is all of the title, and not a part of it."""
    return " ".join(text.split()).casefold() == title_of(session).casefold()


def _opened(looking: Looking, session: SessionOfStore) -> Named:
    return Named(session, looking.manager_of(session.store))


def _ambiguous(name: str, found: list[SessionOfStore]) -> Ambiguous:
    # One that was brought into two stores has the same id in both.
    by_store = len({each.id for each in found}) < len(found)
    lines = [_candidate(each, by_store=by_store) for each in found[:_MAX_CANDIDATES]]
    if len(found) > _MAX_CANDIDATES:
        lines.append("and more")
    advice = "give the beginning of an id"
    if by_store:
        advice += ", and the store with --database, --workspace or --scope"
    message = f"{shorten(repr(name))} may mean one of these sessions; {advice}:"
    return Ambiguous(message, [each.id for each in found], lines)


def _candidate(session: SessionOfStore, *, by_store: bool) -> str:
    """A session, with what tells it from another one of the same title. ``by_store``: its store too."""
    about = [f"active {_when(session.active_at)}", plural(session.round_count, "round")]
    if session.agent is not None:
        about.insert(0, session.agent)
    if session.parent_id is not None:
        about.append(f"{'child' if session.relation is None else session.relation.value} of {session.parent_id}")
    if by_store:
        known = find_known_store(session.store.store_id, (), ())
        about.append(f"in {session.store.scope if known is None else known.path}")
    return f"{session.id}  {shorten(title_of(session), _TITLE_CHARACTERS)}  ({', '.join(about)})"


def _when(moment: int) -> str:
    told = ago(moment)
    return f"{told} ago" if " " in told else told


def _where(looking: Looking, options: Namespace, name: str) -> str:
    empty = _empty(looking, options)
    if options.all:
        where = "in any store" if looking.is_whole else "in what could be read"
        return empty or f"{where}; {_how_to_list(options, name)}"
    found = len(_all_named(looking, options, name, everywhere=True))
    if found:
        number = f"{_MAX_CANDIDATES} or more" if found > _MAX_CANDIDATES else found
        return f"here, but in another store: add --all, which finds {number}"
    return f"{empty or f'here; {_how_to_list(options, name)}'}, and --all finds {_none_either(looking)}"

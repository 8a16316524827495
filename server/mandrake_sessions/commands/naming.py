"""Which session a person means: by an id or its beginning, another program's name for it, its place in the list, or a
part of its title."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Final

from attrs import frozen

from mandrake_sessions.commands.arguments import typed
from mandrake_sessions.commands.looking import Looking, listed
from mandrake_sessions.commands.shared import Ambiguous
from mandrake_sessions.commands.titles import title_of
from mandrake_sessions.errors import NotFound
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Session, SessionOfStore
from mandrake_sessions.operations.naming import JoinedNames
from mandrake_sessions.quoting import shorten
from mandrake_sessions.settings import BadSetting

_PLACE = re.compile(r"@(last|[1-9][0-9]{0,5})")
# So many are named where a name is ambiguous.
_MAX_CANDIDATES = 20
_TITLE_CHARACTERS = 60


def add_session(parser: ArgumentParser) -> None:
    """The argument that names a session, and the flag of whose name it is."""
    parser.add_argument("session", metavar="SESSION", help=HOW_TO_NAME)
    parser.add_argument(
        "--agent", metavar="AGENT", type=typed, help="the program whose name for the session SESSION is"
    )


def add_sessions(parser: ArgumentParser, least: str = "+") -> None:
    """The same for several sessions; ``least``: argparse's word for how many, ``*`` where there may be none."""
    parser.add_argument("sessions", metavar="SESSION", nargs=least, help=HOW_TO_NAME)
    agent_help = "the program whose names these are; with --all, only its own"
    parser.add_argument("--agent", metavar="AGENT", type=typed, help=agent_help)


HOW_TO_NAME: Final = (
    "an id or its beginning, another program's name for it, @last, @2 (as in list), or a part of its title"
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
    given = options.session if name is None else name
    assert given is not None
    name = typed(given)
    if not name.strip():
        raise BadSetting("SESSION", "it is empty, which names no session; mandrake-sessions list lists them")
    place = _PLACE.fullmatch(name)
    if place is not None:
        return _at(looking, name, 1 if place[1] == "last" else int(place[1]))
    found = _all_named(looking, name, options.agent)
    if len(found) > 1:
        raise _ambiguous(name, found)
    if not found:
        raise NotFound("session", name, _where(looking, options, name))
    return found[0]


def _at(looking: Looking, name: str, number: int) -> SessionOfStore:
    found = list(listed(looking, number))
    if len(found) < number:
        raise NotFound("session", name, f"among {len(found)} here; mandrake-sessions list numbers them")
    return found[-1]


def _all_named(looking: Looking, name: str, agent: str | None) -> list[SessionOfStore]:
    """Those that the name fits. Nobody means a title where it is a whole id, or another program's name."""
    found = looking.joined(JoinedNames(name, agent))
    if agent is None and not any(name.lower() == each.id or name == each.external_id for each in found):
        ids = {each.id for each in found}
        found = [*found, *(each for each in _titled(looking, name) if each.id not in ids)]
    return found


def _titled(looking: Looking, text: str) -> list[SessionOfStore]:
    """Those whose title it is, where line ends are blanks; or else those that have it in what the list shows of them.
    They are looked for by its longest word, which is the same in all of these."""
    whole: list[SessionOfStore] = []
    parts: list[SessionOfStore] = []
    for each in listed(looking, query=max(text.split(), key=len), archived=None):
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
    lines = [f"{each.id}  {shorten(title_of(each), _TITLE_CHARACTERS)}" for each in found[:_MAX_CANDIDATES]]
    if len(found) > _MAX_CANDIDATES:
        lines.append("and more")
    message = f"{shorten(repr(name))} may mean one of these sessions; give the beginning of an id:"
    return Ambiguous(message, [each.id for each in found], lines)


def _where(looking: Looking, options: Namespace, name: str) -> str:
    if options.all:
        return "in any store; mandrake-sessions list --all lists them"
    if looking.joined(JoinedNames(name, options.agent), everywhere=True):
        return "here, but in another store: add --all"
    return "here; mandrake-sessions list lists them, with --all those of every store"

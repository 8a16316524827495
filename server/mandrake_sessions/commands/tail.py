"""The command ``mandrake-sessions tail [SESSION]``."""

from __future__ import annotations

import queue
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import Looking, Spot, add_looking
from mandrake_sessions.commands.naming import HOW_TO_NAME, found_session
from mandrake_sessions.commands.shared import flush, say_entity, say_line, say_text, told
from mandrake_sessions.commands.styles import BOLD, DIM, styled
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.errors import NotFound
from mandrake_sessions.following import Following, Heard
from mandrake_sessions.model import Change, ChangeKind, Session, TurnStatus
from mandrake_sessions.quoting import one_line, printable

DESCRIPTION = (
    "Show what is said while it is said: in one session, or in all where you look, whichever program stores it. Ctrl-C "
    "ends it."
)
EXAMPLE = "mandrake-sessions tail"
_ENDED = {
    TurnStatus.ERROR: "error",
    TurnStatus.CANCELLED: "cancelled",
    TurnStatus.INTERRUPTED: "interrupted",
}


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("[SESSION]")
    parser.add_argument("session", metavar="SESSION", nargs="?", help=HOW_TO_NAME)
    parser.add_argument("--agent", metavar="AGENT", help="the program whose name for the session SESSION is")
    parser.add_argument("--json", action="store_true", help="each change as one JSON object a line, for a program")
    add_looking(parser)


def run(options: Namespace) -> int:
    """0: somebody ended it. 1: there is no such session, or nothing to follow."""
    return told(options, lambda: _tail(options))


def _tail(options: Namespace) -> int:
    heard: queue.SimpleQueue[Heard | Exception] = queue.SimpleQueue()
    with Looking(options) as looking:
        session_id = _follow(looking, options, heard.put)
        shown = _Shown(session_id, as_json=options.json)
        try:
            while True:
                item = heard.get()
                if isinstance(item, Exception):
                    raise item
                shown.take(item)
        except KeyboardInterrupt:
            return looking.code


def _follow(looking: Looking, options: Namespace, hear: Callable[[Heard | Exception], None]) -> str | None:
    """Hear of what is said from now on where the options mean; gives the session's id, if they name one. Raises
    NotFound, Ambiguous."""
    session = None if options.session is None else found_session(looking, options)
    spot = None if session is None else looking.spot_of(session.store)
    if session is not None and spot is None:
        store_id = session.store.store_id
        Following(lambda: [each for each in looking.visited() if each.store_id == store_id], hear, looking.tell)
        return session.id
    if not (looking.spots or options.all):
        raise NotFound("store", options.workspace or ".", "yet; the first session that is stored makes it")
    for each in looking.spots if spot is None else [spot]:
        each.manager.add_listener(partial(_hear, hear, each))
    if session is None and options.all:
        Following(looking.visited, hear, looking.tell)
    return None if session is None else session.id


def _hear(hear: Callable[[Heard], None], spot: Spot, change: Change) -> None:
    hear(Heard(change, spot.place, spot.cwd, partial(_session, spot, change.session_id)))


class _Shown:
    """What is on the screen: whose text stands on the last line."""

    def __init__(self, session_id: str | None, *, as_json: bool) -> None:
        self._session_id = session_id
        self._as_json = as_json
        self._turn_id: str | None = None
        self._is_line_open = False
        self._is_wanted: dict[tuple[object, str], bool] = {}

    def take(self, heard: Heard) -> None:
        if not self._wanted(heard):
            return
        change = heard.change
        if self._as_json:
            say_entity(change)
        elif change.kind is ChangeKind.ROUND_CREATED and change.request is not None:
            self._head(heard, change.request.content, "asked")
        elif change.kind is ChangeKind.TURN_CREATED and change.turn is not None:
            self._text(heard, change.turn.content or "")
            self._end(change.turn.status)
        elif change.kind is ChangeKind.TURN_APPENDED:
            self._text(heard, change.content or "")
        elif change.kind is ChangeKind.TURN_UPDATED and change.changes is not None:
            self._end(change.changes.get("status"))
        flush()

    def _wanted(self, heard: Heard) -> bool:
        session_id = heard.change.session_id
        if self._session_id is not None:
            return session_id == self._session_id
        key = heard.store, session_id
        if key not in self._is_wanted:
            self._is_wanted[key] = heard.cwd is None or _is_about(heard.session(), heard.cwd)
        return self._is_wanted[key]

    def _text(self, heard: Heard, text: str) -> None:
        if not text:
            return
        if heard.change.turn_id != self._turn_id:
            self._head(heard, "", "says")
            self._turn_id = heard.change.turn_id
        say_text(printable(text))
        self._is_line_open = not text.endswith("\n")

    def _head(self, heard: Heard, text: str, what: str) -> None:
        self._close_line()
        session = heard.session()
        name = "" if session is None else f"{short_id(session)}  {title_of(session)}"
        say_line(styled(f"{one_line(name)}  {what}", DIM))
        self._turn_id = None
        if text:
            for line in printable(text).split("\n"):
                say_line(styled(f"> {line}", BOLD))

    def _end(self, status: Any) -> None:
        if status is None or status == TurnStatus.STREAMING:
            return
        self._close_line()
        if word := _ENDED.get(TurnStatus(status)):
            say_line(styled(f"({word})", DIM))
        self._turn_id = None

    def _close_line(self) -> None:
        if self._is_line_open:
            say_line("")
        self._is_line_open = False


def _session(spot: Spot, session_id: str) -> Session | None:
    try:
        return spot.manager.get_session(session_id)
    except NotFound:
        return None


def _is_about(session: Session | None, cwd: str) -> bool:
    return session is not None and session.cwd is not None and (session.cwd + "/").startswith(cwd.rstrip("/") + "/")

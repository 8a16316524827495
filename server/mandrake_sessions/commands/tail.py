"""The command ``mandrake-sessions tail [SESSION]``."""

from __future__ import annotations

import queue
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.looking import Looking, Spot, add_looking
from mandrake_sessions.commands.naming import HOW_TO_NAME, named
from mandrake_sessions.commands.shared import flush, say_entity, say_line, say_text, told
from mandrake_sessions.commands.styles import BOLD, DIM, styled
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.errors import NotFound
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


Heard = queue.SimpleQueue[tuple[Spot, Change]]


def _hear(heard: Heard, spot: Spot, change: Change) -> None:
    heard.put((spot, change))


def _tail(options: Namespace) -> int:
    heard: Heard = queue.SimpleQueue()
    with Looking(options) as looking:
        session_id = None if options.session is None else named(looking, options).session.id
        if not looking.spots:
            raise NotFound("store", options.workspace or ".", "yet; the first session that is stored makes it")
        for spot in looking.spots:
            spot.manager.add_listener(partial(_hear, heard, spot))
        shown = _Shown(session_id, as_json=options.json)
        try:
            while True:
                spot, change = heard.get()
                shown.take(spot, change)
        except KeyboardInterrupt:
            return looking.code


class _Shown:
    """What is on the screen: whose text stands on the last line."""

    def __init__(self, session_id: str | None, *, as_json: bool) -> None:
        self._session_id = session_id
        self._as_json = as_json
        self._turn_id: str | None = None
        self._is_line_open = False
        self._is_wanted: dict[tuple[int, str], bool] = {}

    def take(self, spot: Spot, change: Change) -> None:
        if not self._wanted(spot, change.session_id):
            return
        if self._as_json:
            say_entity(change)
        elif change.kind is ChangeKind.ROUND_CREATED and change.request is not None:
            self._head(spot, change, change.request.content, "asked")
        elif change.kind is ChangeKind.TURN_CREATED and change.turn is not None:
            self._text(spot, change, change.turn.content or "")
            self._end(change.turn.status)
        elif change.kind is ChangeKind.TURN_APPENDED:
            self._text(spot, change, change.content or "")
        elif change.kind is ChangeKind.TURN_UPDATED and change.changes is not None:
            self._end(change.changes.get("status"))
        flush()

    def _wanted(self, spot: Spot, session_id: str) -> bool:
        if self._session_id is not None:
            return session_id == self._session_id
        key = id(spot), session_id
        if key not in self._is_wanted:
            self._is_wanted[key] = spot.cwd is None or _is_about(_session(spot, session_id), spot.cwd)
        return self._is_wanted[key]

    def _text(self, spot: Spot, change: Change, text: str) -> None:
        if not text:
            return
        if change.turn_id != self._turn_id:
            self._head(spot, change, "", "says")
            self._turn_id = change.turn_id
        say_text(printable(text))
        self._is_line_open = not text.endswith("\n")

    def _head(self, spot: Spot, change: Change, text: str, what: str) -> None:
        self._close_line()
        session = _session(spot, change.session_id)
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

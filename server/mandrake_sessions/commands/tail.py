"""The command ``mandrake-sessions tail [SESSION]``."""

from __future__ import annotations

import json
import queue
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from attrs import evolve

from mandrake_sessions.amounts import plural
from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.filters import add_filters, filters, is_about
from mandrake_sessions.commands.looking import Looking, Spot, add_looking, other_agents
from mandrake_sessions.commands.naming import HOW_TO_NAME, found_session
from mandrake_sessions.commands.results import add_json
from mandrake_sessions.commands.shared import flush, say_line, say_text, told
from mandrake_sessions.commands.styles import BOLD, DIM, styled
from mandrake_sessions.commands.table import fitted
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.errors import NotFound
from mandrake_sessions.folding import hint
from mandrake_sessions.following import Following, Heard
from mandrake_sessions.known_stores import KnownStore
from mandrake_sessions.model import (
    Change,
    ChangeKind,
    ResponseStatus,
    Session,
    ToolCall,
    ToolCallStatus,
    TurnStatus,
    UnavailableReason,
    UnavailableStore,
)
from mandrake_sessions.protocol import notifications
from mandrake_sessions.quoting import one_line, printable, shorten

DESCRIPTION = (
    "Show what is said while it is said: in one session, or in all where you look, whichever program stores it. Ctrl-C "
    "ends it."
)
EXAMPLE = "mandrake-sessions tail"
# A signal that comes just before the thread waits does not wake it.
_LOOK_SECONDS = 0.5
# Of what a tool is given so much is shown, and so many calls are remembered.
_ARGUMENT_CHARACTERS = 100
_CALLS_KEPT = 10_000
_ENDED = {
    TurnStatus.ERROR: "error",
    TurnStatus.CANCELLED: "cancelled",
    TurnStatus.INTERRUPTED: "interrupted",
}


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("[SESSION]")
    parser.add_argument("session", metavar="SESSION", nargs="?", help=HOW_TO_NAME)
    add_looking(parser)
    add_filters(parser)
    add_json(parser, "each change as one JSON object a line: the notification of the protocol, and its store")


def run(options: Namespace) -> int:
    """0: Ctrl-C ended it. 1: there is no such session, or a store could not be read. 130: Ctrl-C came before it
    followed."""
    return told(options, lambda: _tail(options))


def _tail(options: Namespace) -> int:
    heard: queue.SimpleQueue[Heard | Exception] = queue.SimpleQueue()
    with Looking(options, waits=True) as looking:
        try:
            shown = _Shown(options, _follow(looking, options, heard.put), looking.spots)
            while True:
                with suppress(queue.Empty):
                    item = heard.get(timeout=_LOOK_SECONDS)
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
    _tell_what(looking, options, session)
    if session is None and (others := other_agents(looking, options)):
        hint(f"No session of the agent {one_line(options.agent)} is stored yet{others}.")
    if session is not None and spot is None:
        store_id = session.store.store_id
        Following(lambda: [each for each in looking.visited() if each.store_id == store_id], hear, looking.tell)
        return session.id
    for each in looking.spots if spot is None else [spot]:
        each.manager.add_listener(partial(_hear, hear, each))
    if session is not None:
        return session.id
    if options.all:
        # Stores that are made later too.
        Following(looking.visited, hear, looking.tell)
    else:
        _wait_for_missing(looking, hear)
    return None


def _tell_what(looking: Looking, options: Namespace, session: Session | None) -> None:
    """Somebody at a terminal is told what will be shown, which may come late."""
    if not sys.stderr.isatty():
        return
    if session is not None:
        hint(f"Following {short_id(session)}  {title_of(session)}; Ctrl-C ends it.")
    elif options.all:
        hint("Following every store that you have used; Ctrl-C ends it.")
    elif not looking.missing or any(spot.cwd is None for spot in looking.spots):
        hint(f"Following {' and '.join(map(_what_of, looking.spots))}; Ctrl-C ends it.")
    elif looking.spots:
        spot, (later, _) = looking.spots[0], looking.missing[0]
        hint(f"Following {_what_of(spot)}, and {later.path} once it is made; Ctrl-C ends it.")
    else:
        others = sum(store.available and not store.is_copy for store in looking.visited())
        more = f"; --all follows {plural(others, 'other store')}" if others else ""
        hint(f"Waiting for the first session that is stored in {looking.missing[0][0].path}{more}. Ctrl-C ends it.")


def _what_of(spot: Spot) -> str:
    return spot.place.path if spot.cwd is None else f"{spot.place.path} for what is about {spot.cwd}"


def _wait_for_missing(looking: Looking, hear: Callable[[Heard | Exception], None]) -> None:
    """Hear of what is said in stores that are not there yet, once they are."""
    for place, cwd in looking.missing:
        later = KnownStore("", place.scope, place.workspace, place.path, 0)
        Following(partial(list, [later]), partial(_hear_about, hear, cwd), partial(_tell_unless_gone, looking))


def _tell_unless_gone(looking: Looking, unavailable: list[UnavailableStore]) -> None:
    """Also the file is not there yet that is empty: somebody has just begun to make the store."""
    looking.tell(store for store in unavailable if store.reason is not UnavailableReason.GONE)


def _hear_about(hear: Callable[[Heard | Exception], None], cwd: str | None, heard: Heard | Exception) -> None:
    hear(heard if isinstance(heard, Exception) else evolve(heard, cwd=cwd))


def _hear(hear: Callable[[Heard], None], spot: Spot, change: Change) -> None:
    hear(Heard(change, spot.place, spot.cwd, partial(_session, spot, change.session_id)))


class _Shown:
    """What is on the screen: whose text stands on the last line."""

    def __init__(self, options: Namespace, session_id: str | None, spots: list[Spot]) -> None:
        """``session_id``: only what is said there is shown. ``spots``: the stores that are open. Raises BadSetting."""
        self._session_id = session_id
        self._spots = spots
        self._as_json = options.json
        self._filters = filters(options)
        self._turn_id: str | None = None
        self._is_line_open = False
        self._is_wanted: dict[tuple[object, str], bool] = {}
        # Of turns that stream.
        self._kinds: dict[str, str] = {}
        # Tool calls that were told, as they stood then.
        self._calls: dict[tuple[str | None, str], ToolCallStatus] = {}
        # Responses that wait for somebody.
        self._waiting: set[str | None] = set()
        # Those that were told since somebody asked last.
        self._errors: set[tuple[str, Any]] = set()

    def take(self, heard: Heard) -> None:
        if not self._wanted(heard):
            return
        change = heard.change
        if self._as_json:
            say_line(json.dumps(self._as_notification(heard)))
        elif change.kind is ChangeKind.ROUND_CREATED and change.request is not None:
            self._errors.clear()
            self._head(heard, change.request.content, "asked")
        elif change.kind is ChangeKind.TURN_CREATED and change.turn is not None:
            self._kinds[change.turn.id] = change.turn.kind
            self._text(heard, change.turn.content or "")
            for call in change.turn.tool_calls:
                self._call(heard, call)
            self._end(heard, change.turn.status, change.turn.error)
        elif change.kind is ChangeKind.TURN_APPENDED:
            self._text(heard, change.content or "")
        elif change.kind is ChangeKind.TOOL_CALL_UPDATED and change.tool_call is not None:
            self._call(heard, change.tool_call)
        elif change.kind is ChangeKind.RESPONSE_UPDATED and change.response is not None:
            self._wait(heard, change.response.status)
        elif change.kind is ChangeKind.TURN_UPDATED and change.changes is not None:
            self._end(heard, change.changes.get("status"), change.changes.get("error"))
        flush()

    def _as_notification(self, heard: Heard) -> dict[str, Any]:
        """The change as subscribers are told of it, with the notification's name and the store."""
        change = heard.change
        if notifications.concerns_turns(change):
            method, params = "turn/updated", notifications.turn_updated("", change, raw=True, text=True)
        else:
            method, params = "session/updated", notifications.session_updated("", change, heard.session())
        del params["subscriptionId"]
        return {"method": method, **params, "store": self._store_of(heard)}

    def _store_of(self, heard: Heard) -> dict[str, Any]:
        """What ``store`` says in the rows of lists."""
        store = heard.store
        own = (spot.manager.feed.store_id() for spot in self._spots if spot.place == store)
        store_id = store.store_id if isinstance(store, KnownStore) else next(own, None)
        return {"storeId": store_id or None, "scope": store.scope, "workspace": store.workspace}

    def _wanted(self, heard: Heard) -> bool:
        session_id = heard.change.session_id
        if self._session_id is not None:
            return session_id == self._session_id
        key = heard.store, session_id
        if key not in self._is_wanted:
            self._is_wanted[key] = self._fits(heard)
        return self._is_wanted[key]

    def _fits(self, heard: Heard) -> bool:
        """Whether it is about one of the sessions that are asked for."""
        directories = [cwd for cwd in (heard.cwd, self._filters.get("cwd")) if cwd is not None]
        agent = self._filters.get("agent")
        if agent is None and not directories:
            return True
        session = heard.session()
        if session is None or agent not in (None, session.agent):
            return False
        return all(is_about(session, cwd) for cwd in directories)

    def _text(self, heard: Heard, text: str) -> None:
        if not text:
            return
        if heard.change.turn_id != self._turn_id:
            kind = self._kinds.get(heard.change.turn_id or "", "message")
            self._head(heard, "", "says" if kind == "message" else f"says ({one_line(kind)})")
            self._turn_id = heard.change.turn_id
        say_text(printable(text))
        self._is_line_open = not text.endswith("\n")

    def _call(self, heard: Heard, call: ToolCall) -> None:
        """What an agent does, once; and that it failed."""
        key = heard.change.turn_id, call.id
        name = one_line(call.title or call.method_name or "a tool")
        if key not in self._calls:
            given = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
            about = "" if call.arguments in (None, {}) else f": {shorten(one_line(given), _ARGUMENT_CHARACTERS)}"
            self._head(heard, "", f"calls {name}{about}")
        if call.status is ToolCallStatus.FAILED and self._calls.get(key) is not call.status:
            self._head(heard, "", f"{name} failed")
        self._calls[key] = call.status
        while len(self._calls) > _CALLS_KEPT:
            del self._calls[next(iter(self._calls))]

    def _wait(self, heard: Heard, status: ResponseStatus) -> None:
        """Whether somebody has to answer before the agent goes on, once."""
        waits = status is ResponseStatus.REQUIRES_ACTION
        if waits and heard.change.response_id not in self._waiting:
            self._head(heard, "", "waits for an answer")
        (self._waiting.add if waits else self._waiting.discard)(heard.change.response_id)

    def _head(self, heard: Heard, text: str, what: str) -> None:
        self._close_line()
        session = heard.session()
        beside = f"  {what}" if session is None else f"{short_id(session)}    {what}"
        title = "" if session is None else fitted(one_line(title_of(session)), sys.stdout, beside)
        say_line(styled(f"{'' if session is None else short_id(session)}  {title}  {what}", DIM))
        self._turn_id = None
        if text:
            for line in printable(text).split("\n"):
                say_line(styled(f"> {line}", BOLD))

    def _end(self, heard: Heard, status: Any, error: Any) -> None:
        if status is None or status == TurnStatus.STREAMING:
            return
        self._kinds.pop(heard.change.turn_id or "", None)
        word = _ENDED.get(TurnStatus(status))
        # All turns of a program that failed have its error.
        is_told = word is not None and (error is None or (heard.change.session_id, error) not in self._errors)
        if not is_told and heard.change.turn_id != self._turn_id:
            # The text of another turn goes on.
            return
        self._close_line()
        if is_told:
            say_line(styled(f"({word}: {one_line(str(error))})" if error else f"({word})", DIM))
            self._errors.add((heard.change.session_id, error))
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

"""The command ``mandrake-sessions search QUERY``."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mandrake_sessions.amounts import plural
from mandrake_sessions.commands.arguments import add_limit, usage
from mandrake_sessions.commands.filters import add_filters, filters
from mandrake_sessions.commands.looking import Looking, add_looking, at_least, tell_nothing, with_archived
from mandrake_sessions.commands.moments import ago
from mandrake_sessions.commands.pager import say_lines
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import told
from mandrake_sessions.commands.styles import BOLD, DIM, FOUND, styled
from mandrake_sessions.commands.table import fitted
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.folding import columns_of, fold, hint
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.model import AllHits, HitOfStore, SearchField
from mandrake_sessions.operations.joined_search import JoinedSearch
from mandrake_sessions.quoting import one_line
from mandrake_sessions.settings import BadSetting

DESCRIPTION = (
    "Search conversations, the best hits first: in titles, requests, answers, thoughts, tool calls and their results. "
    'All words have to be there; "words in quotes" have to stand beside each other.'
)
EXAMPLE = "mandrake-sessions search flaky test"
_USUAL_LIMIT = 10
# So many of those are named whose search index lacks something.
_STORES_NAMED = 5
# What people call the texts in which something is found.
_FIELDS = {
    SearchField.TITLE: "title",
    SearchField.REQUEST: "request",
    SearchField.CONTENT: "answer",
    SearchField.ARGUMENTS: "tool call",
    SearchField.RESPONSE: "tool result",
}
# Columns on the left of a snippet, and how many it has at least.
_MARGIN = 4
_LEAST_ROOM = 20


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("QUERY")
    parser.add_argument("query", metavar="QUERY", nargs="+", help="what to look for")
    add_looking(parser)
    parser.add_argument(
        "--role", choices=("user", "agent", "tool"), help="only in titles and requests, in answers, or in tool calls"
    )
    add_filters(parser, since="texts", archived=True)
    add_limit(parser, f"at most so many hits (default: {_USUAL_LIMIT})", _USUAL_LIMIT)
    add_json(parser)


def run(options: Namespace) -> int:
    """0: it searched, and found something or not. 1: a store could not be searched."""
    return told(options, lambda: _search(options))


def _search(options: Namespace) -> int:
    query = " ".join(options.query)
    if not query.strip():
        raise BadSetting("QUERY", "it is empty; give a word to look for")
    wanted: dict[str, Any] = {
        "query": query,
        "role": options.role,
        "archived": options.archived,
        **filters(options, since="since"),
    }
    with Looking(options) as looking:
        first = JoinedSearch(limit=min(options.limit, MAX_LIMIT), **wanted)
        pages = list(_pages(looking, first, wanted, options.limit))
        hits = [hit for page in pages for hit in page.hits]
        lacking = _Lacking(looking, first.pending)
        if lacking.here and (wrong := _not_indexed(looking)) is not None:
            looking.warn(wrong)
            lacking.is_final = True
        if options.json:
            for hit in hits:
                say_json(hit)
        elif hits:
            say_lines(line for number, hit in enumerate(hits) for line in _lines(hit, is_first=number == 0))
        if not hits:
            has_more = any(first.pending.values())
            tell_nothing(looking, options, "text", partial(_count, looking, wanted), has_more=has_more)
        if pages[-1].next_cursor is not None and not options.json:
            hint(f"There are more: --limit {options.limit * 10} shows further ones.")
        lacking.tell()
        return looking.code


class _Lacking:
    """Turns that the search indexes lack, by the ids of their stores. ``is_final``: those of the stores that are open
    here are not put in soon."""

    def __init__(self, looking: Looking, pending: Mapping[str, int]) -> None:
        own = {spot.manager.feed.store_id() for spot in looking.spots}
        self.here = sum(number for store_id, number in pending.items() if store_id in own)
        self.is_final = False
        self._others = {store_id: number for store_id, number in pending.items() if number and store_id not in own}
        self._looking = looking

    def tell(self) -> None:
        if self.here:
            again = "" if self.is_final else "; search again in a moment"
            hint(f"{plural(self.here, 'turn')} could not be searched yet{again}.")
        if not self._others:
            return
        # Nothing is written to a store that is only visited, so nobody puts them in.
        lacking = [store for store in self._looking.visited() if store.store_id in self._others and not store.is_copy]
        for store in lacking[:_STORES_NAMED]:
            there = shlex.join(["mandrake-sessions", "search", f"--database={store.path}"])
            hint(
                f"{plural(self._others[store.store_id], 'turn')} of {store.path} could not be searched: its search"
                f" index lacks them until somebody opens that store, as with: {there} QUERY"
            )
        if len(lacking) > _STORES_NAMED:
            hint(f"The same is so of {plural(len(lacking) - _STORES_NAMED, 'other store')}.")


def _not_indexed(looking: Looking) -> str | None:
    """Why a search in a moment would find no more; None where nothing is known to be wrong."""
    for spot in looking.spots:
        store = spot.manager.store
        if not store.may_be_written:
            return f"{spot.place.path} may only be read here, so nobody puts into its search index what that lacks"
        if store.search is not None and store.search.trouble is not None:
            return store.search.trouble
    return None


def _pages(looking: Looking, first: JoinedSearch, wanted: dict[str, Any], limit: int) -> Iterator[AllHits]:
    joining = first
    while True:
        page = looking.joined(joining)
        yield page
        limit -= len(page.hits)
        if page.next_cursor is None or limit <= 0:
            return
        joining = JoinedSearch(limit=min(limit, MAX_LIMIT), cursor=page.next_cursor, **wanted)


def _count(looking: Looking, wanted: dict[str, Any], *, everywhere: bool, archived: bool | None = None) -> str:
    """How many texts there are."""
    joining = JoinedSearch(limit=MAX_LIMIT, **with_archived(wanted, archived))
    page = looking.joined(joining, everywhere=everywhere)
    return at_least(len(page.hits), has_more=page.next_cursor is not None)


def _lines(hit: HitOfStore, *, is_first: bool) -> Iterator[str]:
    if not is_first:
        yield ""
    who = one_line(hit.session.agent or "")
    plain = "  ".join(filter(None, (who, _FIELDS[hit.field], ago(hit.at))))
    head = short_id(hit.session)
    is_narrow = sys.stdout.isatty() and columns_of(sys.stdout) < len(f"{head}  {plain}") + _LEAST_ROOM
    beside = f"{head}  " if is_narrow else f"{head}    {plain}"
    title = styled(fitted(one_line(title_of(hit.session)), sys.stdout, beside), BOLD)
    yield "  ".join((styled(head, DIM), title, *([] if is_narrow else [styled(plain, DIM)])))
    if is_narrow:
        for line in fold(plain, columns_of(sys.stdout) - _MARGIN).split("\n"):
            yield f"{' ' * _MARGIN}{styled(line, DIM)}"
    for line in _in_lines(_marked(hit)):
        if line.strip():
            yield f"{' ' * _MARGIN}{line}"


def _in_lines(snippet: str) -> Iterator[str]:
    """The lines of a snippet; on a terminal none is longer than it is wide, with the margin."""
    if not sys.stdout.isatty():
        yield from snippet.splitlines()
        return
    from rich.console import Console
    from rich.text import Text

    room = max(_LEAST_ROOM, columns_of(sys.stdout) - _MARGIN)
    console = Console(width=room, force_terminal=True, highlight=False)
    with console.capture() as captured:
        console.print(Text.from_ansi(snippet))
    yield from map(str.rstrip, captured.get().splitlines())


def _marked(hit: HitOfStore) -> str:
    """The snippet, in which what was looked for stands out. ``ranges`` count UTF-16 units."""
    units = hit.snippet.encode("utf-16-le", errors="surrogatepass")
    parts = []
    last = 0
    for start, stop in hit.ranges:
        parts += [_text(units[2 * last : 2 * start]), styled(_text(units[2 * start : 2 * stop]), FOUND)]
        last = stop
    return "".join((*parts, _text(units[2 * last :])))


def _text(units: bytes) -> str:
    lines = units.decode("utf-16-le", errors="surrogatepass").split("\n")
    return "\n".join(map(one_line, lines))

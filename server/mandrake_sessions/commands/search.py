"""The command ``mandrake-sessions search QUERY``."""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from mandrake_sessions.commands.arguments import directory, typed, usage, whole_number
from mandrake_sessions.commands.looking import Looking, add_looking, elsewhere
from mandrake_sessions.commands.moments import ago, since
from mandrake_sessions.commands.shared import hint, say_entity, say_line, told
from mandrake_sessions.commands.styles import BOLD, DIM, FOUND, styled
from mandrake_sessions.commands.table import fitted
from mandrake_sessions.commands.titles import short_id, title_of
from mandrake_sessions.limits import MAX_LIMIT
from mandrake_sessions.maintenance.words import plural
from mandrake_sessions.model import AllHits, HitOfStore
from mandrake_sessions.operations.joined_search import JoinedSearch
from mandrake_sessions.quoting import one_line

DESCRIPTION = (
    "Search conversations, the best hits first: in titles, requests, answers, thoughts, tool calls and their results. "
    'All words have to be there; "words in quotes" have to stand beside each other.'
)
EXAMPLE = "mandrake-sessions search flaky test"
_USUAL_LIMIT = 10
# Columns on the left of a snippet, and how many it has at least.
_MARGIN = 4
_LEAST_ROOM = 20


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage("QUERY")
    parser.add_argument("query", metavar="QUERY", nargs="+", type=typed, help="what to look for")
    add_looking(parser)
    parser.add_argument(
        "--role", choices=("user", "agent", "tool"), help="only in titles and requests, in answers, or in tool calls"
    )
    parser.add_argument(
        "--agent", metavar="AGENT", type=typed, help="only in sessions of this program, such as claude-code"
    )
    parser.add_argument("--cwd", metavar="PATH", help="only in sessions about this directory, or one below it")
    parser.add_argument("--since", metavar="WHEN", help="only texts since then: 12h, 2d, 6w or 2026-01-31")
    parser.add_argument("--archived", action="store_true", help="in sessions that are archived, instead of the others")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=whole_number,
        default=_USUAL_LIMIT,
        help=f"at most so many hits (default: {_USUAL_LIMIT})",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for a program")


def run(options: Namespace) -> int:
    """0: it searched, and found something or not. 1: a store could not be searched."""
    return told(options, lambda: _search(options))


def _search(options: Namespace) -> int:
    wanted: dict[str, Any] = {
        "query": " ".join(options.query),
        "role": options.role,
        "agent": options.agent,
        "cwd": directory("--cwd", options.cwd),
        "since": since("--since", options.since),
        "archived": options.archived,
    }
    with Looking(options) as looking:
        pages = list(_pages(looking, wanted, options.limit))
        hits = [hit for page in pages for hit in page.hits]
        wrong = _not_indexed(looking) if pages[0].pending else None
        if wrong is not None:
            looking.warn(wrong)
        for number, hit in enumerate(hits):
            if options.json:
                say_entity(hit)
            else:
                _show(hit, is_first=number == 0)
        if not hits and not options.json:
            hint(elsewhere(looking, options, "text", lambda: _count(looking, wanted)))
        if pages[-1].next_cursor is not None and not options.json:
            hint(f"There are more: --limit {options.limit * 10} shows further ones.")
        if pages[0].pending:
            again = "; search again in a moment" if wrong is None else ""
            hint(f"{plural(pages[0].pending, 'turn')} could not be searched yet{again}.")
        return looking.code


def _not_indexed(looking: Looking) -> str | None:
    """Why a search in a moment would find no more; None where nothing is known to be wrong."""
    for spot in looking.spots:
        store = spot.manager.store
        if not store.may_be_written:
            return f"{spot.place.path} may only be read here, so nobody puts into its search index what that lacks"
        if store.search is not None and store.search.trouble is not None:
            return store.search.trouble
    return None


def _pages(looking: Looking, wanted: dict[str, Any], limit: int) -> Iterator[AllHits]:
    cursor = None
    while limit > 0:
        page = looking.joined(JoinedSearch(limit=min(limit, MAX_LIMIT), cursor=cursor, **wanted))
        yield page
        cursor = page.next_cursor
        limit -= len(page.hits)
        if cursor is None:
            return


def _count(looking: Looking, wanted: dict[str, Any]) -> int:
    """How many texts there are in all stores, but no more than one page."""
    return len(looking.joined(JoinedSearch(limit=MAX_LIMIT, **wanted), everywhere=True).hits)


def _show(hit: HitOfStore, *, is_first: bool) -> None:
    if not is_first:
        say_line("")
    who = one_line(hit.session.agent or "")
    plain = "  ".join(filter(None, (who, hit.field, ago(hit.at))))
    title = fitted(one_line(title_of(hit.session)), sys.stdout, beside=f"{short_id(hit.session)}    {plain}")
    say_line(f"{styled(short_id(hit.session), DIM)}  {styled(title, BOLD)}  {styled(plain, DIM)}")
    for line in _in_lines(_marked(hit)):
        say_line(f"    {line}")


def _in_lines(snippet: str) -> Iterator[str]:
    """The lines of a snippet; on a terminal none is longer than it is wide, with the margin."""
    if not sys.stdout.isatty():
        yield from snippet.splitlines()
        return
    from rich.console import Console
    from rich.text import Text

    room = max(_LEAST_ROOM, shutil.get_terminal_size().columns - _MARGIN)
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

"""The command ``mandrake-sessions usage``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mandrake_sessions.amounts import plural
from mandrake_sessions.commands.arguments import usage
from mandrake_sessions.commands.filters import WHEN, add_filters, filters
from mandrake_sessions.commands.looking import Looking, add_looking, listed, tell_nothing
from mandrake_sessions.commands.moments import check_order, local_timezone, since
from mandrake_sessions.commands.pager import say_lines
from mandrake_sessions.commands.results import add_json, say_json
from mandrake_sessions.commands.shared import told
from mandrake_sessions.commands.table import Column, table
from mandrake_sessions.commands.titles import ID_CHARACTERS, title_of
from mandrake_sessions.model import CurrencyTotal, UnavailableStore, UsageGroup
from mandrake_sessions.operations.usage import JoinedUsage

DESCRIPTION = (
    "Sum up what agents used: tokens and costs, in each currency, of all conversations, or by day, model, session, "
    "agent or directory."
)
EXAMPLE = "mandrake-sessions usage --by day --since 6w"
# With what stands for the sum of what has none.
_WAYS = {
    "day": "(no day)",
    "model": "(no model)",
    "session": "(no session)",
    "agent": "(no agent)",
    "cwd": "(no directory)",
}
# A smaller cost has more than two digits behind the point.
_LEAST_SHOWN = 0.01
_COLUMNS = (
    Column("COST", is_number=True),
    Column("INPUT", is_number=True, may_go=2),
    Column("OUTPUT", is_number=True, may_go=1),
    Column("THOUGHT", is_number=True, may_go=7),
    Column("CACHE READ", is_number=True, may_go=5),
    Column("CACHE WRITTEN", is_number=True, may_go=6),
    Column("ROUNDS", is_number=True, may_go=4),
    Column("TOOL CALLS", is_number=True, may_go=3),
)


def declare(parser: ArgumentParser) -> None:
    """Its arguments."""
    parser.usage = usage()
    parser.add_argument("--by", choices=tuple(_WAYS), help="a sum for each day, model …, instead of one for all")
    add_looking(parser)
    add_filters(parser, since="what was used")
    parser.add_argument("--until", metavar="WHEN", help=f"only what was used before then: {WHEN}")
    parser.add_argument("--timezone", metavar="ZONE", help="whose days count, such as Europe/Berlin (default: yours)")
    add_json(parser)


def run(options: Namespace) -> int:
    """0: it summed up. 1: a store could not be read."""
    return told(options, lambda: _usage(options))


class _Sums(JoinedUsage):
    def result(self, unavailable: list[UnavailableStore]) -> list[UsageGroup]:  # noqa: ARG002
        return self.groups


def _usage(options: Namespace) -> int:
    check_order(options)
    wanted: Any = {**filters(options, since="since"), "until": since("--until", options.until)}
    zone = options.timezone or local_timezone()
    with Looking(options) as looking:
        groups = looking.joined(_Sums(options.by, timezone=zone, **wanted))
        if options.json:
            for group in groups:
                say_json(group)
        elif groups:
            _show(groups, options.by, _titles(looking, groups) if options.by == "session" else None)
        if not groups:
            count = partial(_count, looking, _Sums(timezone=zone, **wanted))
            # It counts archived sessions as others.
            tell_nothing(looking, options, "usage", count, omits_archived=False)
        return looking.code


def _count(looking: Looking, sums: _Sums, *, everywhere: bool, archived: bool | None = None) -> str:  # noqa: ARG001
    groups = looking.joined(sums, everywhere=everywhere)
    return "".join(f"that of {plural(group.rounds, 'round')}" for group in groups)


def _titles(looking: Looking, groups: list[UsageGroup]) -> dict[str, str]:
    """What stands for each session, by its id."""
    ids = {group.key for group in groups if group.key is not None}
    found: dict[str, str] = {}
    sessions = listed(looking, archived=None)
    while len(found) < len(ids) and (session := next(sessions, None)) is not None:
        if session.id in ids:
            found[session.id] = title_of(session)
    return found


def _show(groups: list[UsageGroup], by: str | None, titles: dict[str, str] | None) -> None:
    """``titles``: of the sessions, where each has its sum."""
    without_key = "all" if by is None else _WAYS[by]
    if by not in (None, "day"):
        groups = sorted(groups, key=_size, reverse=True)
    heading = "" if by is None else by.upper()
    columns: tuple[Column, ...] = (Column(heading, is_rest=True, keeps_end=by == "cwd"), *_COLUMNS)
    rows = [row for group in groups for row in _rows(group, group.key or without_key)]
    if titles is not None:
        columns = (Column(heading, is_dim=True), *_COLUMNS, Column("TITLE", is_rest=True))
        rows = [(row[0][:ID_CHARACTERS], *row[1:], titles.get(row[0], "")) for row in rows]
    say_lines(table(columns, rows))


def _size(group: UsageGroup) -> tuple[float, int]:
    """What it cost; of what cost the same, how many tokens it used."""
    return sum(total.cost for total in group.totals), sum(
        total.input_tokens + total.output_tokens for total in group.totals
    )


def _rows(group: UsageGroup, key: str) -> Iterator[tuple[str, ...]]:
    """One for each currency; rounds and tool calls stand in the first."""
    counts = (f"{group.rounds:,}", f"{group.tool_calls:,}")
    for number, total in enumerate(group.totals or [None]):
        name = key if number == 0 else ""
        yield (name, *_numbers(total), *(counts if number == 0 else ("", "")))


def _amount(cost: float) -> str:
    """With so many digits that it does not look like nothing."""
    return f"{cost:,.2f}" if abs(cost) >= _LEAST_SHOWN else f"{cost:.9f}".rstrip("0").rstrip(".")


def _numbers(total: CurrencyTotal | None) -> tuple[str, ...]:
    if total is None:
        return ("",) * 6
    tokens: tuple[Callable[[CurrencyTotal], int], ...] = (
        lambda t: t.input_tokens,
        lambda t: t.output_tokens,
        lambda t: t.thought_tokens,
        lambda t: t.cache_read_tokens,
        lambda t: t.cache_write_tokens,
    )
    # Many programs say nothing of what it cost.
    cost = f"{_amount(total.cost)} {total.currency}" if total.cost else ""
    return (cost, *(f"{number(total):,}" for number in tokens))

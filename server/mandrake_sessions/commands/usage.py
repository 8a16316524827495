"""The command ``mandrake-sessions usage``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from typing import Any

from mandrake_sessions.commands.arguments import directory, usage
from mandrake_sessions.commands.looking import Looking, add_looking
from mandrake_sessions.commands.moments import local_timezone, since
from mandrake_sessions.commands.shared import hint, say_entity, say_line, told
from mandrake_sessions.commands.table import Column, table
from mandrake_sessions.model import CurrencyTotal, UnavailableStore, UsageGroup
from mandrake_sessions.operations.usage import JoinedUsage

DESCRIPTION = (
    "Sum up what agents used: tokens and costs, in each currency, of all conversations, or by day, model, session, "
    "agent or directory."
)
EXAMPLE = "mandrake-sessions usage --by day --since 6w"
_WAYS = ("day", "model", "session", "agent", "cwd")
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
    parser.add_argument("--by", choices=_WAYS, help="a sum for each day, model …, instead of one for all")
    add_looking(parser)
    parser.add_argument("--agent", metavar="AGENT", help="only sessions of this program, such as claude-code")
    parser.add_argument("--cwd", metavar="PATH", help="only sessions about this directory, or one below it")
    parser.add_argument("--since", metavar="WHEN", help="only what was used since then: 12h, 2d, 6w or 2026-01-31")
    parser.add_argument("--until", metavar="WHEN", help="only what was used before then")
    parser.add_argument("--timezone", metavar="ZONE", help="whose days count, such as Europe/Berlin (default: yours)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for a program")


def run(options: Namespace) -> int:
    """0: it summed up. 1: a store could not be read."""
    return told(options, lambda: _usage(options))


class _Sums(JoinedUsage):
    def result(self, unavailable: list[UnavailableStore]) -> list[UsageGroup]:  # noqa: ARG002
        return self.groups


def _usage(options: Namespace) -> int:
    wanted: dict[str, Any] = {
        "agent": options.agent,
        "cwd": directory("--cwd", options.cwd),
        "since": since("--since", options.since),
        "until": since("--until", options.until),
    }
    zone = options.timezone or local_timezone()
    with Looking(options) as looking:
        groups = looking.joined(_Sums(options.by, timezone=zone, **wanted))
        if options.json:
            for group in groups:
                say_entity(group)
        elif not groups:
            hint("Nothing was used." if options.all else "Nothing was used here; --all looks in every store.")
        else:
            _show(groups, options.by)
        return looking.code


def _show(groups: list[UsageGroup], by: str | None) -> None:
    heading = Column("" if by is None else by.upper(), is_rest=True)
    if by not in (None, "day"):
        groups = sorted(groups, key=_cost, reverse=True)
    for line in table((heading, *_COLUMNS), [row for group in groups for row in _rows(group)]):
        say_line(line)


def _cost(group: UsageGroup) -> float:
    return sum(total.cost for total in group.totals)


def _rows(group: UsageGroup) -> Iterator[tuple[str, ...]]:
    """One for each currency; rounds and tool calls stand in the first."""
    counts = (f"{group.rounds:,}", f"{group.tool_calls:,}")
    for number, total in enumerate(group.totals or [None]):
        name = (group.key or "(none)") if number == 0 else ""
        yield (name, *_numbers(total), *(counts if number == 0 else ("", "")))


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
    return (f"{total.cost:,.2f} {total.currency}", *(f"{number(total):,}" for number in tokens))

"""What was used: tokens, costs, rounds, turns and tool calls, in all and by what people ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Unpack, get_args

from mandrake_sessions import rules
from mandrake_sessions.errors import InvalidValue, TooLarge
from mandrake_sessions.fields import UsageWanted
from mandrake_sessions.model import CurrencyTotal, GroupBy, UsageGroup, UsageTotals
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.paging import PAGE_BYTES
from mandrake_sessions.store.interface import Sql
from mandrake_sessions.store.sql import sessions
from mandrake_sessions.store.sql.usage import (
    COUNTS,
    Grouping,
    OneByOne,
    UsageFilter,
    UsageRow,
    usage_rows,
)
from mandrake_sessions.store.sql.values import cost_of
from mandrake_sessions.timezones import DEFAULT_TIMEZONE, day_name, offsets

# About how many bytes of an answer a group takes, and each of its totals.
_GROUP_BYTES: Final = 100
_TOTAL_BYTES: Final = 220


class UsageOperations(Operations):
    def usage(self, *, timezone: str | None = None, **wanted: Unpack[UsageWanted]) -> UsageTotals:
        """All that was used, whatever its time zone: see ``usage_by``."""
        rules.optional(rules.timezone)("timezone", timezone)
        with self._read() as sql:
            groups = _groups(sql, _filter(sql, wanted), Grouping())
        return groups.get(None, _Group()).as_totals()

    def usage_by(
        self, group_by: GroupBy, *, timezone: str | None = None, **wanted: Unpack[UsageWanted]
    ) -> list[UsageGroup]:
        """What was used, by day, model, session, agent or directory, the keys ascending, None first.

        A turn counts at its ``stream_start_time``, with its tool calls; a round at its ``created_at``; what an agent
        said of a whole response counts at its ``end_time``, or where it has none with its round, and in place of the
        turns' numbers, field by field. Rounds, and what was said of their responses, belong to the model of their last
        turn. Copies of a round are not counted while an older one of the same origin is stored. ``timezone``: a name of
        the IANA database.

        Raises:
            NotFound: no session has the ``session_id``.
            InvalidValue: ``timezone`` or a filter breaks its rule.
            TooLarge: the groups are more than one answer may hold.
        """
        if group_by not in get_args(GroupBy):
            raise InvalidValue("group_by", f"must be one of {', '.join(get_args(GroupBy))}, not {group_by!r}")
        zone = rules.optional(rules.timezone)("timezone", timezone) or DEFAULT_TIMEZONE
        grouping = Grouping(group_by, offsets(zone)) if group_by == "day" else Grouping(group_by)
        with self._read() as sql:
            found = _groups(sql, _filter(sql, wanted), grouping)
        keys = sorted(found, key=lambda key: (key is not None, key))
        return [found[key].as_group(day_name(key) if isinstance(key, int) else key) for key in keys]


class _Group:
    """What has one key, while it is being added up."""

    def __init__(self) -> None:
        self._counts = [0] * len(COUNTS)
        self._amounts: dict[str, list[int]] = {}

    def add(self, row: UsageRow) -> int:
        """About how many bytes it makes the answer longer."""
        self._counts = [sum(pair) for pair in zip(self._counts, row.counts, strict=True)]
        if row.currency is None:
            return 0
        before = self._amounts.get(row.currency)
        amounts = row.amounts if before is None else map(sum, zip(before, row.amounts, strict=True))
        self._amounts[row.currency] = list(amounts)
        return _TOTAL_BYTES if before is None else 0

    def as_totals(self) -> UsageTotals:
        return UsageTotals(self._totals(), *self._counts)

    def as_group(self, key: str | None) -> UsageGroup:
        return UsageGroup(key, self._totals(), *self._counts)

    def _totals(self) -> list[CurrencyTotal]:
        return [_total(currency, amounts) for currency, amounts in sorted(self._amounts.items()) if any(amounts)]


def _total(currency: str, amounts: list[int]) -> CurrencyTotal:
    *tokens, input_cost, output_cost, further_cost, _whole = amounts
    costs = (input_cost, output_cost, input_cost + output_cost + further_cost)
    return CurrencyTotal(currency, *tokens, *map(cost_of, costs))


def _groups(sql: Sql, wanted: UsageFilter, grouping: Grouping) -> dict[Any, _Group]:
    """By their keys. Raises TooLarge."""
    try:
        return _added_up(usage_rows(sql, wanted, grouping))
    except OneByOne:
        return _added_up(usage_rows(sql, wanted, grouping, one_by_one=True))


def _added_up(rows: Iterator[UsageRow]) -> dict[Any, _Group]:
    groups: dict[Any, _Group] = {}
    size = 0
    for row in rows:
        group = groups.get(row.key)
        if group is None:
            group = groups[row.key] = _Group()
            size += _GROUP_BYTES + (len(row.key) if isinstance(row.key, str) else 0)
        size += group.add(row)
        if size > PAGE_BYTES:
            raise TooLarge(
                "group_by",
                lambda words: (
                    f"the groups are more than the 8 MiB that one answer holds; ask for fewer of them, with "
                    f"{words.field('since')} and {words.field('until')}, {words.field('agent')} or {words.field('cwd')}"
                ),
            )
    return groups


def _filter(sql: Sql, wanted: UsageWanted) -> UsageFilter:
    """Raises InvalidValue, NotFound."""
    since, until = (rules.optional(rules.count)(name, wanted.get(name)) for name in ("since", "until"))
    agent = rules.optional(rules.text)("agent", wanted.get("agent"))
    cwd = rules.optional(rules.directory)("cwd", wanted.get("cwd"))
    session_pk = None
    if (session_id := rules.optional(rules.uuid)("session_id", wanted.get("session_id"))) is not None:
        session_pk = sessions.pk_of_session(sql, session_id)
    of = None
    if (agent, cwd) != (None, None):
        of = sessions.SessionFilter(archived=None, agent=agent, cwd=None if cwd is None else cwd.rstrip("/"))
    return UsageFilter(session_pk, of, since, until)

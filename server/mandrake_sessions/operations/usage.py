"""What was used: tokens, costs, rounds, turns and tool calls, in all and by what people ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, Unpack, get_args

from mandrake_sessions import rules
from mandrake_sessions.errors import InvalidValue, TooLarge
from mandrake_sessions.fields import UsageWanted
from mandrake_sessions.model import CurrencyTotal, GroupBy, StoreRef, UsageGroup, UsageTotals
from mandrake_sessions.quoting import must_be_one_of
from mandrake_sessions.store.interface import EntityStore, Sql
from mandrake_sessions.store.sql import session_lists, sessions
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

# Groups are not paged: an answer holds so many bytes of them.
_ANSWER_BYTES: Final = 8 * 1024 * 1024
# About how many bytes of an answer a group takes, and each of its totals.
_GROUP_BYTES: Final = 100
_TOTAL_BYTES: Final = 220


def usage(store: EntityStore, wanted: UsageWanted, timezone: str | None) -> UsageTotals:
    """``OnDemandOperations.usage``"""
    grouping = _grouping(None, timezone)
    with store.reading() as sql:
        groups = _groups(sql, _filter(sql, wanted), grouping)
    return groups.get(None, _Group()).as_totals()


def usage_by(store: EntityStore, group_by: GroupBy, wanted: UsageWanted, timezone: str | None) -> list[UsageGroup]:
    """``OnDemandOperations.usage_by``"""
    grouping = _grouping(group_by, timezone)
    with store.reading() as sql:
        found = _groups(sql, _filter(sql, wanted), grouping)
    return _in_order(found)


class JoinedUsage:
    """What was used in every store, added up: see ``usage_by``. Without ``group_by`` it is one group, of key None.

    Raises InvalidValue.
    """

    def __init__(
        self, group_by: GroupBy | None = None, *, timezone: str | None = None, **wanted: Unpack[UsageWanted]
    ) -> None:
        self.is_grouped = group_by is not None
        self._grouping = _grouping(group_by, timezone)
        self._wanted = wanted
        _checked(wanted)
        self._sum = _Sum()
        self._lock = threading.Lock()

    def read(self, _: StoreRef, entities: EntityStore) -> dict[Any, _Group]:
        """Raises NotFound, TooLarge."""
        with entities.reading() as sql:
            return _groups(sql, _filter(sql, self._wanted), self._grouping)

    def add(self, part: dict[Any, _Group]) -> None:
        """Raises TooLarge."""
        with self._lock:
            for key, group in part.items():
                for row in group.rows(key):
                    self._sum.add(row)

    @property
    def groups(self) -> list[UsageGroup]:
        return _in_order(self._sum.groups)

    @property
    def totals(self) -> UsageTotals:
        return self._sum.groups.get(None, _Group()).as_totals()


def _grouping(group_by: GroupBy | None, timezone: str | None) -> Grouping:
    """Raises InvalidValue."""
    if group_by is not None and group_by not in get_args(GroupBy):
        raise InvalidValue("group_by", must_be_one_of(get_args(GroupBy), group_by))
    zone = rules.optional(rules.timezone)("timezone", timezone) or DEFAULT_TIMEZONE
    if group_by is None:
        return Grouping()
    return Grouping(group_by, offsets(zone)) if group_by == "day" else Grouping(group_by)


def _in_order(found: dict[Any, _Group]) -> list[UsageGroup]:
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

    def rows(self, key: Any) -> Iterator[UsageRow]:
        """What was added, as a few rows."""
        yield UsageRow(key, None, tuple(self._counts), ())
        for currency, amounts in self._amounts.items():
            yield UsageRow(key, currency, (0,) * len(COUNTS), tuple(amounts))

    def as_totals(self) -> UsageTotals:
        return UsageTotals(self._totals(), *self._counts)

    def as_group(self, key: str | None) -> UsageGroup:
        return UsageGroup(key, self._totals(), *self._counts)

    def _totals(self) -> list[CurrencyTotal]:
        return [_total(currency, amounts) for currency, amounts in sorted(self._amounts.items()) if any(amounts)]


def _total(currency: str, amounts: list[int]) -> CurrencyTotal:
    *tokens, input_cost, output_cost, further_cost = amounts
    costs = (input_cost, output_cost, input_cost + output_cost + further_cost)
    return CurrencyTotal(currency, *tokens, *map(cost_of, costs))


def _groups(sql: Sql, wanted: UsageFilter, grouping: Grouping) -> dict[Any, _Group]:
    """By their keys. Raises TooLarge."""
    try:
        return _added_up(usage_rows(sql, wanted, grouping))
    except OneByOne:
        return _added_up(usage_rows(sql, wanted, grouping, one_by_one=True))


def _added_up(rows: Iterator[UsageRow]) -> dict[Any, _Group]:
    found = _Sum()
    for row in rows:
        found.add(row)
    return found.groups


class _Sum:
    """Groups by their keys, as many as one answer may hold."""

    def __init__(self) -> None:
        self.groups: dict[Any, _Group] = {}
        self._size = 0

    def add(self, row: UsageRow) -> None:
        """Raises TooLarge."""
        group = self.groups.get(row.key)
        if group is None:
            group = self.groups[row.key] = _Group()
            self._size += _GROUP_BYTES + (len(row.key) if isinstance(row.key, str) else 0)
        self._size += group.add(row)
        if self._size > _ANSWER_BYTES:
            raise TooLarge(
                "group_by",
                lambda words: (
                    f"the groups are more than the 8 MiB that one answer holds; ask for fewer of them, with "
                    f"{words.field('since')} and {words.field('until')}, {words.field('agent')} or {words.field('cwd')}"
                ),
            )


_RULES: Final[Mapping[str, rules.Rule]] = {
    "since": rules.count,
    "until": rules.count,
    "agent": rules.text,
    "cwd": rules.directory,
    "session_id": rules.uuid,
}


def _checked(wanted: UsageWanted) -> dict[str, Any]:
    """Raises InvalidValue."""
    return {name: rules.optional(rule)(name, wanted.get(name)) for name, rule in _RULES.items()}


def _filter(sql: Sql, wanted: UsageWanted) -> UsageFilter:
    """Raises InvalidValue, NotFound."""
    given = _checked(wanted)
    session_id, agent, cwd = given["session_id"], given["agent"], given["cwd"]
    session_pk = None if session_id is None else sessions.pk_of_session(sql, session_id)
    of = None
    if (agent, cwd) != (None, None):
        of = session_lists.SessionFilter(archived=None, agent=agent, cwd=None if cwd is None else cwd.rstrip("/"))
    return UsageFilter(session_pk, of, given["since"], given["until"])

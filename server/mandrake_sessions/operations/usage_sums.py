"""The sums of ``session/usage``: what was used, added up by what people ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import add
from typing import Any, Final

from mandrake_sessions.errors import TooLarge
from mandrake_sessions.model import CurrencyTotal, UsageGroup, UsageTotals
from mandrake_sessions.store.sql.usage import UsageRow
from mandrake_sessions.store.sql.usage_sources import COUNTS
from mandrake_sessions.store.sql.values import cost_of

# Groups are not paged: an answer holds so many bytes of them.
_ANSWER_BYTES: Final = 8 * 1024 * 1024
# About how many bytes of an answer a group takes, and each of its totals.
_GROUP_BYTES: Final = 100
_TOTAL_BYTES: Final = 220


class Group:
    """What has one key, while it is being added up."""

    def __init__(self) -> None:
        self._counts = [0] * len(COUNTS)
        self._amounts: dict[str, list[int]] = {}

    def add(self, row: UsageRow) -> int:
        """About how many bytes it makes the answer longer."""
        self._counts = list(map(add, self._counts, row.counts))
        return 0 if row.currency is None else self._add_amounts(row.currency, row.amounts)

    def add_group(self, other: Group) -> int:
        """The same."""
        self._counts = list(map(add, self._counts, other._counts))
        return sum(self._add_amounts(currency, amounts) for currency, amounts in other._amounts.items())

    def _add_amounts(self, currency: str, amounts: Sequence[int]) -> int:
        before = self._amounts.get(currency)
        self._amounts[currency] = list(amounts if before is None else map(add, before, amounts))
        return _TOTAL_BYTES if before is None else 0

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


class Sum:
    """Groups by their keys, as many as one answer may hold."""

    def __init__(self) -> None:
        self.groups: dict[Any, Group] = {}
        self._size = 0

    def add(self, row: UsageRow) -> None:
        """Raises TooLarge."""
        self._grow(self._group(row.key).add(row))

    def add_groups(self, groups: Mapping[Any, Group]) -> None:
        """Raises TooLarge."""
        for key, group in groups.items():
            self._grow(self._group(key).add_group(group))

    def _group(self, key: Any) -> Group:
        found = self.groups.get(key)
        if found is None:
            found = self.groups[key] = Group()
            self._size += _GROUP_BYTES + (len(key) if isinstance(key, str) else 0)
        return found

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > _ANSWER_BYTES:
            raise TooLarge(
                "group_by",
                lambda words: (
                    f"the groups are more than the 8 MiB that one answer holds; ask for fewer of them, with "
                    f"{words.field('since')} and {words.field('until')}, {words.field('agent')} or {words.field('cwd')}"
                ),
            )

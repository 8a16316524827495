"""What a conversation used: a response's own ``usage`` counts field by field, its turns where that says nothing."""

from __future__ import annotations

from collections import defaultdict

from attrs import Factory, define

from mandrake_sessions.currencies import DEFAULT_CURRENCY
from mandrake_sessions.model import Response, Turn
from mandrake_sessions.store.sql.usage_sources import TOKENS
from mandrake_sessions.store.sql.values import COST_UNITS, cost_of


@define
class Totals:
    """``costs``: by currency, in integers of 10⁻⁹, so that sums are exact. ``add`` each turn of a response,
    then ``close`` the response."""

    tokens: dict[str, int] = Factory(lambda: dict.fromkeys(TOKENS, 0))
    costs: dict[str, int] = Factory(lambda: defaultdict(int))

    def add(self, turn: Turn) -> None:
        for name in TOKENS:
            self.tokens[name] += getattr(turn, name) or 0
        if units := cost_units(turn):
            self.costs[turn.currency] += units

    def close(self, response: Response) -> None:
        usage = response.usage
        if usage is None:
            return
        for name in TOKENS:
            if (said := getattr(usage, name)) is not None:
                self.tokens[name] = said
        if usage.cost is not None:
            self.costs.clear()
            self.costs[usage.currency or DEFAULT_CURRENCY] = round(usage.cost * COST_UNITS)

    def join(self, other: Totals) -> None:
        for name, count in other.tokens.items():
            self.tokens[name] += count
        for currency, units in other.costs.items():
            self.costs[currency] += units

    def cost(self, currency: str) -> float:
        return cost_of(self.costs[currency])


def cost_units(turn: Turn) -> int:
    """Its whole cost, or that of its parts."""
    if turn.cost is not None:
        return round(turn.cost * COST_UNITS)
    return round(turn.input_cost * COST_UNITS) + round(turn.output_cost * COST_UNITS)


def cost_of_turn(turn: Turn) -> float:
    return cost_of(cost_units(turn))

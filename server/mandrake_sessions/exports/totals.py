"""What a conversation used: a response's own ``usage`` counts field by field, its turns where that says nothing."""

from __future__ import annotations

from collections import defaultdict

from attrs import Factory, define

from mandrake_sessions.model import Response, Turn

_FIELDS = ("input_tokens", "output_tokens", "thought_tokens", "cache_read_tokens", "cache_write_tokens")
# Costs are kept as integers of so many parts, so that sums are exact.
_UNITS = 10**9


@define
class Totals:
    """``costs``: by currency, in integers of 10⁻⁹. ``add`` each turn of a response, then ``close`` the response."""

    tokens: dict[str, int] = Factory(lambda: dict.fromkeys(_FIELDS, 0))
    costs: dict[str, int] = Factory(lambda: defaultdict(int))

    def add(self, turn: Turn) -> None:
        for name in _FIELDS:
            self.tokens[name] += getattr(turn, name) or 0
        if units := cost_units(turn):
            self.costs[turn.currency] += units

    def close(self, response: Response) -> None:
        usage = response.usage
        if usage is None:
            return
        for name in _FIELDS:
            if (said := getattr(usage, name)) is not None:
                self.tokens[name] = said
        if usage.cost is not None:
            self.costs.clear()
            self.costs[usage.currency or "USD"] = round(usage.cost * _UNITS)

    def join(self, other: Totals) -> None:
        for name, count in other.tokens.items():
            self.tokens[name] += count
        for currency, units in other.costs.items():
            self.costs[currency] += units

    def cost(self, currency: str) -> float:
        return self.costs[currency] / _UNITS


def cost_units(turn: Turn) -> int:
    """Its whole cost, or that of its parts."""
    if turn.cost is not None:
        return round(turn.cost * _UNITS)
    return round(turn.input_cost * _UNITS) + round(turn.output_cost * _UNITS)


def cost_of(turn: Turn) -> float:
    return cost_units(turn) / _UNITS

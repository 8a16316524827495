"""Values that the model cannot know before the program says them: ids that the server makes, clocks, seqs.

Each accepts one value, the first that fits, and from then on no other: so an id, a clock or a seq that moved without a
reason is a difference.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_YEAR_2020 = 1_577_836_800_000


class Ledger:
    """The highest seq that was seen."""

    def __init__(self) -> None:
        self.last = 0

    def __deepcopy__(self, memo: object) -> Ledger:
        return self


class Unknown:
    """A value that the program chooses. It stays itself in a copy of the model, so that both learn it."""

    value: Any = None

    def fits(self, value: Any) -> bool:
        raise NotImplementedError

    def learn(self, value: Any) -> bool:
        """Whether the value is the one; the first that fits is."""
        if self.value is None and self.fits(value):
            self.value = value
        return self.value is not None and type(value) is type(self.value) and bool(value == self.value)

    def __deepcopy__(self, memo: object) -> Unknown:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.value}>"


class Id(Unknown):
    """An id of the server's: a UUIDv7 in lower case."""

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and _UUID7.fullmatch(value) is not None


class Clock(Unknown):
    """A time: whole milliseconds since the epoch."""

    def fits(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value > _YEAR_2020


class AnyClock(Clock):
    """A time that the contract does not hold still."""

    def learn(self, value: Any) -> bool:
        return self.fits(value)


class Latest:
    """The latest of some moments, of which some may be clocks that are not known yet."""

    def __init__(self, moments: list[Any]) -> None:
        self._moments = moments

    def fits(self, value: Any) -> bool:
        known = [moment.value if isinstance(moment, Unknown) else moment for moment in self._moments]
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        if None in known:
            return bool(value >= max((moment for moment in known if moment is not None), default=0))
        return bool(value == max(known))

    def __repr__(self) -> str:
        return f"<the latest of {self._moments}>"


class Seq(Unknown):
    """A seq that is at least ``least``."""

    def __init__(self, ledger: Ledger, least: int) -> None:
        self._ledger = ledger
        self._least = least

    @property
    def known(self) -> int:
        """It, or what it is at least."""
        return int(self.value or self._least)

    def fits(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= self._least

    def learn(self, value: Any) -> bool:
        if not super().learn(value):
            return False
        self._ledger.last = max(self._ledger.last, value)
        return True


class Cost:
    """A number of a currency, to nine places; 1 and 1.0 are the same cost."""

    def __init__(self, value: float) -> None:
        self.value = min(float(round(Decimal(repr(value)), 9)), 999_999.999_999_999)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cost) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"<Cost {self.value}>"


def difference(expected: Any, actual: Any, path: str = "") -> str | None:
    """Where two JSON values first differ, type by type (1 is not 1.0, nor true); None where they are the same."""
    if isinstance(expected, Unknown):
        return None if expected.learn(actual) else f"{path}: {actual!r} is not {expected!r}"
    if isinstance(expected, Latest):
        return None if expected.fits(actual) else f"{path}: {actual!r} is not {expected!r}"
    if isinstance(expected, Cost):
        number = isinstance(actual, int | float) and not isinstance(actual, bool)
        return None if number and actual == expected.value else f"{path}: {actual!r} is not {expected!r}"
    if type(expected) is not type(actual):
        return f"{path}: {actual!r} is not {expected!r}"
    if isinstance(expected, dict):
        if expected.keys() != actual.keys():
            return f"{path}: the keys {sorted(actual)} are not {sorted(expected)}"
        return _first(difference(value, actual[key], f"{path}.{key}") for key, value in expected.items())
    if isinstance(expected, list):
        if len(expected) != len(actual):
            return f"{path}: {len(actual)} items, not {len(expected)}: {actual!r} is not {expected!r}"
        pairs = zip(expected, actual, strict=True)
        return _first(difference(one, other, f"{path}[{i}]") for i, (one, other) in enumerate(pairs))
    # By their text, so that -0.0 is not 0.0.
    return None if repr(expected) == repr(actual) else f"{path}: {actual!r} is not {expected!r}"


def _first(found: Any) -> str | None:
    return next((one for one in found if one is not None), None)

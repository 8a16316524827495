"""The base of the classes of values."""

from __future__ import annotations

from typing import Any

from attrs import fields, frozen


@frozen(eq=False, repr=False)
class Value:
    """Compares, hashes and prints its fields, as attrs would have each class do by itself. The classes of values that
    the start loads are declared with ``@frozen(eq=False, repr=False)``: the methods that attrs compiles for each class
    would take a tenth of the time in which the program starts."""

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash((self.__class__, *_values(self)))

    def __repr__(self) -> str:
        shown = (field.name for field in fields(type(self)) if field.repr)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _values(value: Any) -> list[Any]:
    return [getattr(value, field.name) for field in fields(type(value))]

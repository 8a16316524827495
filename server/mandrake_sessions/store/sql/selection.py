"""The columns of a SELECT and the readers of its rows, both from one list of names.

The names come from the class that the rows become. So a value is read by the name that it was selected by, and the
order of the columns means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, Self

from attrs import AttrsInstance, fields

from mandrake_sessions.errors import Unreadable
from mandrake_sessions.store.interface import Dialect
from mandrake_sessions.store.sql.columns import Column, decode_anything
from mandrake_sessions.store.sql.values import Decoder, OddValue, shown

# From a row to some of its values, as a tuple.
Picker = Callable[[Sequence[Any]], tuple[Any, ...]]


class Selection:
    """Columns of a SELECT, each with what it may hold.

    ``sql`` gives the list of the SELECT: the columns ``names``, which ``decode`` reads, then those of ``beside``,
    which stay as they are stored.
    """

    def __init__(
        self, entity: str, columns: Mapping[str, Column], names: Sequence[str], beside: Sequence[str] = ()
    ) -> None:
        self.names = (*names, *beside)
        self._columns = tuple(columns[name] for name in self.names)
        self._entity = entity
        self._decoded = tuple(columns[name] for name in names)
        self._decoders = tuple(column.decode for column in self._decoded)

    @classmethod
    def as_stored(cls, row: type[NamedTuple], alias: str, **expressions: str | Callable[[Dialect], str]) -> Self:
        """The fields of a named tuple, which ``row._make`` makes of a row: columns of the table ``alias``, and the SQL
        of what is no column of it. Each value stays as it is stored."""
        names = row._fields
        columns = {
            name: Column(name, f'{alias}."{name}"', decode_anything) for name in names if name not in expressions
        }
        reckoned = {name: Column(name, _named(name, sql), decode_anything) for name, sql in expressions.items()}
        return cls("row", columns | reckoned, (), beside=names)

    def sql(self, dialect: Dialect) -> str:
        """To be asked for once for each dialect."""
        return ", ".join(column.sql if isinstance(column.sql, str) else column.sql(dialect) for column in self._columns)

    def position(self, name: str) -> int:
        """Where a row has the column."""
        return self.names.index(name)

    def picker(self, entity: type[AttrsInstance], **named: str) -> Picker:
        """Picks the values that an entity is made of, in the order of its fields. ``named``: the names of columns that
        are called otherwise than their fields."""
        return picker(self.names, [named.get(name, name) for name in field_names(entity)])

    def decode(self, entity_id: Any, row: Sequence[Any]) -> list[Any]:
        """What the values mean. Raises Unreadable, which names the first that means nothing."""
        try:
            return [decode(value) for decode, value in zip(self._decoders, row, strict=False)]
        except OddValue:
            raise self._unreadable(entity_id, row) from None

    def decode_leniently(self, row: Sequence[Any]) -> list[Any]:
        """The same with None for what means nothing: for callers that delete the row or overwrite the value."""
        return [_or_none(decode, value) for decode, value in zip(self._decoders, row, strict=False)]

    def _unreadable(self, entity_id: Any, row: Sequence[Any]) -> Unreadable:
        for column, value in zip(self._decoded, row, strict=False):
            try:
                column.decode(value)
            except OddValue as error:
                return unreadable(self._entity, entity_id, f"its {column.name} {error}")
        raise AssertionError("nothing is odd")


def field_names(entity: type[AttrsInstance]) -> tuple[str, ...]:
    """The fields of a class in the order in which it takes them."""
    return tuple(field.name for field in fields(entity))


def picker(names: Sequence[str], wanted: Sequence[str]) -> Picker:
    """Picks values by name from rows whose values have ``names``; of two with one name, the last."""
    positions = {name: position for position, name in enumerate(names)}
    return itemgetter(*(positions[name] for name in wanted))


def unreadable(entity: str, entity_id: Any, why: str) -> Unreadable:
    return Unreadable(
        entity, entity_id if isinstance(entity_id, str) and len(entity_id) < 100 else shown(entity_id), why
    )


def _named(name: str, sql: str | Callable[[Dialect], str]) -> Callable[[Dialect], str]:
    """An expression that other parts of its statement can name."""
    return lambda dialect: f'{sql if isinstance(sql, str) else sql(dialect)} AS "{name}"'


def _or_none(decode: Decoder, value: Any) -> Any:
    try:
        return decode(value)
    except OddValue:
        return None

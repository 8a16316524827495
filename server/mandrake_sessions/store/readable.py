"""From a row to the values that its columns mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mandrake_sessions.errors import Unreadable
from mandrake_sessions.store.values import Decoder, OddValue, shown


class Fields:
    """Columns in the order of a SELECT, each with what it may hold."""

    def __init__(self, entity: str, table: Mapping[str, Decoder], names: Sequence[str]) -> None:
        self._entity = entity
        self._names = names
        self._decoders = tuple(table[name] for name in names)

    def decode(self, entity_id: Any, values: Sequence[Any]) -> list[Any]:
        """What the values mean. Raises Unreadable, which names the first that means nothing."""
        try:
            return [decode(value) for decode, value in zip(self._decoders, values, strict=True)]
        except OddValue:
            raise self._unreadable(entity_id, values) from None

    def decode_anyhow(self, values: Sequence[Any]) -> list[Any]:
        """The same with None for what means nothing: for who deletes the row, or writes the value anew."""
        return [_or_none(decode, value) for decode, value in zip(self._decoders, values, strict=True)]

    def _unreadable(self, entity_id: Any, values: Sequence[Any]) -> Unreadable:
        for name, decode, value in zip(self._names, self._decoders, values, strict=True):
            try:
                decode(value)
            except OddValue as error:
                return unreadable(self._entity, entity_id, f"its {name} {error}")
        raise AssertionError("nothing is odd")


def unreadable(entity: str, entity_id: Any, why: str) -> Unreadable:
    return Unreadable(
        entity, entity_id if isinstance(entity_id, str) and len(entity_id) < 100 else shown(entity_id), why
    )


def _or_none(decode: Decoder, value: Any) -> Any:
    try:
        return decode(value)
    except OddValue:
        return None

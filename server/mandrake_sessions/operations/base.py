"""The base of all operations: a store, its transaction, a state of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from attrs import evolve

from mandrake_sessions.brief import check_time
from mandrake_sessions.errors import Conflict
from mandrake_sessions.model import Turn
from mandrake_sessions.store.interface import EntityStore, Sql, Transaction
from mandrake_sessions.store.sql import turns
from mandrake_sessions.store.sql.values import digest

T = TypeVar("T")

# Ids that a create call may be given.
_IDS = ("id", "request_id", "response_id", "parent_id", "through_round_id")


class Operations:
    """``store``: what the operations of the subclasses read and write."""

    def __init__(self, store: EntityStore) -> None:
        self.store = store

    def _write(self) -> AbstractContextManager[Transaction]:
        return self.store.transaction()

    def _read(self) -> AbstractContextManager[Sql]:
        return self.store.reading()

    def _while_asked(self, rows: Iterable[T]) -> Iterator[T]:
        """Rows that are read while they are asked for, in the snapshot or the transaction of this thread."""
        with self._read():
            for row in rows:
                yield row
                # It would be held while the next one is read.
                del row
                check_time()

    def _turns(self, sql: Sql, found: Iterable[turns.StoredTurn], *, text: bool, raw: bool = True, lazily: bool) -> Any:
        """The turns with what hangs from them: a list or, lazily, an iterator; so are the tool calls and the
        texts (in slices) of a long one then, to be taken before the next turn is."""
        if not lazily:
            return turns.load_turns(sql, list(found), text=text, raw=raw)
        return self._while_asked(map(self._as_asked, turns.each_turn(sql, found, text=text, raw=raw)))

    def _turn(self, sql: Sql, stored: turns.StoredTurn, *, text: bool, lazily: bool) -> Turn:
        turn: Turn = next(iter(self._turns(sql, [stored], text=text, lazily=lazily)))
        return turn

    def _as_asked(self, turn: Turn) -> Turn:
        rows: dict[str, Any] = {name: getattr(turn, name) for name in ("tool_calls", "content", "raw_response")}
        guarded: dict[str, Any] = {
            name: self._while_asked(value) for name, value in rows.items() if isinstance(value, Iterator)
        }
        return evolve(turn, **guarded) if guarded else turn


def create_hash(given: Mapping[str, Any], columns: Mapping[str, Any], **parents: str) -> bytes | None:
    """The hash of what a create call was given, which lets it be sent again; only one that brings its own id can be.

    Ids count as ``columns`` and ``parents`` have them, in lower case; objects whatever the order of their keys.
    """
    if "id" not in columns:
        return None
    ids = {name: columns[name] for name in _IDS if name in columns}
    return digest({**given, **ids, **parents})


def check_same(entity: str, entity_id: str, stored: bytes | None, given: bytes | None) -> None:
    """Raises Conflict unless the entity was made by the same call."""
    if stored is None or stored != given:
        raise id_in_use(entity, entity_id)


def id_in_use(entity: str, entity_id: str, named: str = "id") -> Conflict:
    """``named``: the field that gave the id."""
    return Conflict(
        "idInUse",
        lambda words: (
            f"there is another {entity} {entity_id!r}, made with other params; to try a call again, send what you "
            f"sent first, and for a new {entity} another {words.field(named)}"
        ),
        actual=entity_id,
    )

"""What the replies of a rollout of Codex used.

The file does not say which items are one reply. Older versions count up: what a reply used is the growth of the total,
written before its items or after them; a new process begins again at zero, and a fork at the total of its parent. Newer
ones write a record for each reply, after its items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mandrake_sessions.importing.events import Event, Used
from mandrake_sessions.importing.values import count_of, object_of, text_of

_FIELDS: Final = (
    "input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
)
_NOTHING: Final = (0, 0, 0, 0, 0)


class Replies:
    """The reply that is being read. ``state``: as an earlier reading left it."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._number = count_of(state.get("number")) or 0
        total = state.get("total")
        is_total = isinstance(total, list) and len(total) == len(_FIELDS)
        self._total: tuple[int, ...] = tuple(count_of(each) or 0 for each in total or ()) if is_total else _NOTHING
        self._has_records = bool(state.get("records"))
        self._has_items = False
        # Whether it is known what the reply used; items that follow after that are the next one's, unless the reply had
        # none before.
        self._is_paid = False
        self._is_over = True
        self._last_record: str | None = None

    def state(self) -> dict[str, Any]:
        return {"number": self._number, "total": list(self._total), "records": self._has_records}

    def of_item(self) -> str:
        """The reply that an item belongs to."""
        if self._is_over:
            self._next()
        self._has_items = True
        return self._name()

    def of_compaction(self) -> str:
        """The reply that wrote a summary: the last one. What follows is another."""
        name = self._name()
        self._is_over = True
        return name

    def cut(self) -> None:
        """The reply was cut off; what follows is another."""
        self._is_over = True

    def counted(self, payload: Mapping[str, Any]) -> Iterator[Event]:
        """A count of all that was used until now."""
        info = payload.get("info")
        if self._has_records:
            return
        if not isinstance(info, dict):
            if info is None:
                # A new process has begun to count.
                self._total = _NOTHING
            return
        total = _counts(info.get("total_token_usage"))
        growth = tuple(now - before for now, before in zip(total, self._total, strict=True))
        if min(growth) < 0:
            growth = total
        if total == self._total or not any(growth):
            return
        last = _counts(info.get("last_token_usage"))
        if self._total == _NOTHING and any(last) and last != total:
            # A copy of a conversation begins with the total of its original.
            growth = last
        self._total = total
        yield self._pay(growth)

    def recorded(self, payload: Mapping[str, Any]) -> Iterator[Event]:
        """What one reply used."""
        self._has_records = True
        name = text_of(payload.get("response_id"))
        if name is not None and name == self._last_record:
            return
        self._last_record = name
        yield self._pay(_counts(payload.get("usage")))

    def _pay(self, counts: tuple[int, ...]) -> Used:
        if self._is_over or self._is_paid:
            self._next()
        self._is_paid = True
        # Its items were read before; or they follow, and are its own.
        self._is_over = self._has_items
        used = object_of(dict(zip(_FIELDS, counts, strict=True)))
        return Used(
            self._name(),
            used["input_tokens"],
            used["output_tokens"],
            used["reasoning_output_tokens"],
            used["cached_input_tokens"],
            used["cache_write_input_tokens"],
        )

    def _next(self) -> None:
        self._number += 1
        self._has_items = self._is_paid = self._is_over = False

    def _name(self) -> str:
        return f"reply {self._number}"


def _counts(usage: Any) -> tuple[int, ...]:
    given = object_of(usage)
    return tuple(count_of(given.get(name)) or 0 for name in _FIELDS)

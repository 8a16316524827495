"""Calls that wait their turn, in the order in which they arrived."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from mandrake_sessions.connection.call import Call
from mandrake_sessions.store_places import StorePlace


class WaitingQueue:
    """A queue from whose middle a call can be taken. Every operation but ``holds`` costs the same however many calls
    wait."""

    def __init__(self) -> None:
        self._calls: OrderedDict[Call, None] = OrderedDict()
        # A client may use one id twice; the types of ids matter, since 1 and 1.0 are one key.
        self._requests: dict[tuple[type, Any], list[Call]] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __contains__(self, call: Call) -> bool:
        return call in self._calls

    @property
    def first(self) -> Call:
        return next(iter(self._calls))

    def add(self, call: Call) -> None:
        self._calls[call] = None
        if call.is_request:
            self._requests.setdefault((type(call.id), call.id), []).append(call)

    def put_back(self, call: Call) -> None:
        """Before all others: it was taken out, and could not be carried out yet."""
        self._calls[call] = None
        self._calls.move_to_end(call, last=False)
        if call.is_request:
            self._requests.setdefault((type(call.id), call.id), []).insert(0, call)

    def take(self) -> Call:
        """Remove and return the first call."""
        call = self.first
        self.remove(call)
        return call

    def remove(self, call: Call) -> None:
        del self._calls[call]
        if call.is_request:
            key = (type(call.id), call.id)
            same = self._requests[key]
            same.remove(call)
            if not same:
                del self._requests[key]

    def find(self, message_id: Any) -> Call | None:
        """The request with this id that came first."""
        try:
            same = self._requests.get((type(message_id), message_id))
        except TypeError:
            # An array or an object is no id.
            return None
        return same[0] if same else None

    def holds(self, place: StorePlace) -> bool:
        """Does the queue hold a call for this store? Called when a folder is removed."""
        return any(call.place == place for call in self._calls)

"""A subscription: changes of a store in their order, over slow reading and over restarts of the server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from mandrake_sessions.client.conversion import notification_from_wire, result_from_wire
from mandrake_sessions.client.errors import ClientError, RequestFailed
from mandrake_sessions.client.link import Link, Message
from mandrake_sessions.protocol.results import SessionSubscription, SessionUpdated, TurnSubscription, TurnUpdated

State = TypeVar("State", TurnSubscription, SessionSubscription)
Update = TypeVar("Update", TurnUpdated, SessionUpdated)


class SubscriptionOpener(Protocol):
    """Sends the request that begins a subscription."""

    async def begin(self, method: str, params: Message, then: Callable[[Link, Any], None]) -> None:
        """Call ``then`` with the result before any notification. Raises what a request raises."""


class _Flow(Enum):
    """Do notifications come?"""

    CUT = "not now: subscribe, and go on from the last one that was read"
    LIVE = "they come"
    ENDED = "no more will come"


@frozen
class _Waiting:
    """Something that the program has not read yet; ``size`` is in bytes, of its line."""

    params: Message
    size: int = 0
    is_state: bool = False


class Subscription(Generic[State, Update]):
    """An asynchronous iterator of a state and the changes after it, made by ``Client.follow_turns`` and
    ``Client.follow_sessions``. Use it with ``async with``.

    The first item is the state at its ``seq``, unless ``since`` was given and could be honoured. Every other item is a
    change, in commit order, each once. Where the server cannot continue from the last change that was read (that part
    of the feed was pruned, or the path holds another store) another state comes instead: it replaces what the program
    knows. So no change is ever missed without a state that includes it.

    At most ``max_waiting_bytes`` of notifications are kept for a slow program. Beyond that the subscription ends at the
    server and begins again, from the last change that was read, once the program has read what is kept.

    The iteration ends when the entity is deleted, after the change that says so, or after ``close``. It raises
    ServerEnded when the server ends (but see ``restarts`` of the client) and RequestFailed when subscribing again
    fails; after either, iterating again tries again.

    ``seq`` and ``store_id``: where the program stands. Given as ``since`` and ``store_id`` to another subscription, in
    another process too, that one continues there. ``seq`` moves when an item is read; it is None before the first.
    """

    def __init__(self, opener: SubscriptionOpener, method: str, params: Message, max_waiting_bytes: int) -> None:
        self.seq: int | None = params.get("since")
        self.store_id: str | None = params.get("storeId")
        self._opener = opener
        self._method = method
        self._params = params
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._flow = _Flow.CUT
        self._moved = asyncio.Event()
        self._has_begun = False
        self._link: Link | None = None
        self._id = ""

    async def __aenter__(self) -> Subscription[State, Update]:
        try:
            await self._begin()
        except BaseException:
            # A reply that comes nevertheless ends what it has begun.
            self._flow = _Flow.ENDED
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Subscription[State, Update]:
        return self

    async def __anext__(self) -> State | Update:
        while not self._waiting:
            if self._flow is _Flow.ENDED:
                raise StopAsyncIteration
            if self._flow is _Flow.CUT:
                await self._begin()
            else:
                self._moved.clear()
                await self._moved.wait()
        found = self._waiting.popleft()
        self._waiting_bytes -= found.size
        item: Any
        if found.is_state:
            item = result_from_wire(self._method, {}, found.params)
        else:
            item = notification_from_wire(_UPDATES[self._method], found.params)
        self.seq = item.seq
        return item  # type: ignore[no-any-return]

    @property
    def unread(self) -> int:
        """The number of items that have come and were not read."""
        return len(self._waiting)

    async def close(self) -> None:
        """Unsubscribe. Iterating again ends at once."""
        was_live, self._flow = self._flow is _Flow.LIVE, _Flow.ENDED
        self._waiting.clear()
        self._moved.set()
        if was_live:
            # It has ended by itself meanwhile, or the server has.
            with suppress(ClientError):
                await self._leave()

    def take(self, method: str, params: Message, size: int) -> None:
        """Called by the link, for each notification of this subscription."""
        if method == "subscription/ended":
            assert self._link is not None
            self._link.listeners.pop(self._id)
            self._flow = _Flow.ENDED if params.get("reason") == "deleted" else _Flow.CUT
        elif self._waiting and self._waiting_bytes + size > self._max_waiting_bytes:
            self._flow = _Flow.CUT
            self._leave()
        else:
            self._waiting.append(_Waiting(params, size))
            self._waiting_bytes += size
        self._moved.set()

    def lose(self) -> None:
        """Called by the link, when the server has ended."""
        self._flow = _Flow.CUT
        self._moved.set()

    async def _begin(self) -> None:
        params = self._params
        if self._has_begun:
            # The change that gave a store its id does not name it. Without an id, `since` could mean another store.
            known = {"since": self.seq, "storeId": self.store_id} if self.store_id is not None else {}
            params = {name: value for name, value in params.items() if name not in ("since", "storeId")} | known
        try:
            await self._opener.begin(self._method, params, self._began)
        except RequestFailed as error:
            if not self._has_begun or error.kind != "notFound":
                raise
            # The entity was deleted while nobody listened.
            self._flow = _Flow.ENDED

    def _began(self, link: Link, result: Message) -> None:
        subscription_id = result["subscriptionId"]
        if self._flow is not _Flow.CUT:
            # Closed meanwhile, or a request that was thought to be cancelled has begun it already.
            link.unsubscribe(_UNSUBSCRIBE[self._method], subscription_id)
            return
        link.listeners[subscription_id] = self
        self._link, self._id = link, subscription_id
        is_state = result["reset"] or self.seq is None or (self._has_begun and self.store_id is None)
        self._flow, self._has_begun, self.store_id = _Flow.LIVE, True, result["storeId"]
        if is_state:
            self._waiting.append(_Waiting(result, is_state=True))
        self._moved.set()

    def _leave(self) -> asyncio.Future[Any]:
        assert self._link is not None
        return self._link.unsubscribe(_UNSUBSCRIBE[self._method], self._id)


_UPDATES = {"turn/subscribe": "turn/updated", "session/subscribe": "session/updated"}
_UNSUBSCRIBE = {"turn/subscribe": "turn/unsubscribe", "session/subscribe": "session/unsubscribe"}

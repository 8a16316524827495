"""Subscriptions to stores that do not exist yet. A subscription creates no store: it begins at ``seq`` 0 once any
process has created it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from mandrake_sessions.absent import AbsentStore

if TYPE_CHECKING:
    from mandrake_sessions.connection.subscription import ServerSubscription

# Seconds between two looks for stores that another process has created. A look at a file is one `stat`.
LOOK_SECONDS = 0.02


class AwaitedStores:
    """Each look calls ``on_created`` for each awaited store that exists, until ``take`` has removed it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[AbsentStore, dict[str, ServerSubscription]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.on_created: Callable[[AbsentStore], None] = lambda _: None

    def __len__(self) -> int:
        """How many subscriptions wait."""
        return sum(map(len, self._waiting.values()))

    def add(self, store: AbsentStore, subscription: ServerSubscription) -> None:
        self._waiting.setdefault(store, {})[subscription.id] = subscription
        if self._timer is None:
            self._look_later()

    def end(self, subscription_id: str, *, turns: bool) -> bool:
        """Wait no longer for one; whether there was one."""
        for store, subscriptions in self._waiting.items():
            found = subscriptions.get(subscription_id)
            if found is not None and found.turns is turns:
                del subscriptions[subscription_id]
                if not subscriptions:
                    del self._waiting[store]
                return True
        return False

    def take(self, store: AbsentStore) -> list[ServerSubscription]:
        """Take out the subscriptions that waited for a store: it was made, or nobody may follow it any more."""
        return list(self._waiting.pop(store, {}).values())

    def close(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for store in [store for store in self._waiting if store.exists_now()]:
            self.on_created(store)
        if self._waiting:
            self._look_later()

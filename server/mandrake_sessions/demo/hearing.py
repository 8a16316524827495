"""Reads both of the watcher's subscriptions as notifications arrive, while the display is drawn now and then."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from mandrake_sessions.client import Subscription
from mandrake_sessions.demo.streaming import now_us
from mandrake_sessions.demo.watched import Watched
from mandrake_sessions.protocol.results import SessionSubscription, SessionUpdated, TurnSubscription, TurnUpdated

SILENCE_SECONDS = 20.0

Turns = Subscription[TurnSubscription, TurnUpdated]
Sessions = Subscription[SessionSubscription, SessionUpdated]


class DemoFailed(Exception):
    """The demonstration did not finish."""


class Hearing:
    """Applies notifications to ``watched`` while the block runs."""

    def __init__(self, watched: Watched, turns: Turns, sessions: Sessions) -> None:
        self._watched = watched
        self._subscriptions = (turns, sessions)
        self._tasks: list[asyncio.Task[None]] = []
        self._moved = asyncio.Event()
        self._heard = time.monotonic()

    async def __aenter__(self) -> Hearing:
        self._tasks = [asyncio.create_task(self._hear(each)) for each in self._subscriptions]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def has_more(self, seconds: float) -> bool:
        """Wait for something new; gives whether it came. Raises DemoFailed after a long silence, and ClientError."""
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            pass
        for task in self._tasks:
            if task.done():
                # A subscription to the whole store ends only with an error.
                task.result()
        if time.monotonic() - self._heard > SILENCE_SECONDS:
            raise DemoFailed(f"nothing was pushed for {SILENCE_SECONDS:.0f} s")
        has_moved = self._moved.is_set()
        self._moved.clear()
        return has_moved

    async def _hear(self, subscription: Turns | Sessions) -> None:
        async for item in subscription:
            received_us = now_us()
            if isinstance(item, TurnUpdated | SessionUpdated):
                self._watched.apply(item, received_us)
            elif item.reset:
                raise DemoFailed("the store was replaced, or changes were dropped before they were read")
            self._heard = time.monotonic()
            self._moved.set()

"""The package's own client for tests: it fails at its end if anything that the server said was left unread.

``wire.py`` stays for tests of bytes: framings, broken messages, several messages in one write, the exact JSON.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from mandrake_sessions.client import SERVER, Client, Notification, Subscription, apply
from mandrake_sessions.model import Turn
from mandrake_sessions.protocol.results import TurnSubscription, TurnUpdated
from wire import TIMEOUT, clean_environment


class StrictSubscription(Subscription[Any, Any]):
    """Stays subscribed until the server ends, so that what is left unread is seen whenever it comes."""

    async def close(self) -> None:
        """The client looks at what is unread."""


class StrictClient(Client):
    """Every item of every subscription and every other notification must be read, every request answered once, and
    the server must end well. ``notifications``: those of no subscription; a test takes out what it has looked at."""

    def __init__(self, workspace: Path, *flags: str, **options: Any) -> None:
        self.notifications: deque[Notification] = deque()
        self.exit_codes: list[int] = []
        self._surprises: list[Any] = []
        self._subscriptions: list[Subscription[Any, Any]] = []
        given: dict[str, Any] = {
            "command": SERVER,
            "environment": clean_environment(workspace),
            "timeout": TIMEOUT,
            "on_notification": self.notifications.append,
        }
        super().__init__(workspace, flags=flags, **(given | options))

    def follow(self, method: str, params: dict[str, Any]) -> Subscription[Any, Any]:
        subscription = StrictSubscription(self, method, params, self.max_waiting_bytes)
        self._subscriptions.append(subscription)
        return subscription

    def surprised(self, message: Any) -> None:
        self._surprises.append(message)

    def ended(self, code: int) -> None:
        self.exit_codes.append(code)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if error is None:
            self.check()

    def check(self) -> None:
        """Called when the server has ended, with all that it wrote."""
        assert self.exit_codes[-1] == 0
        assert not self._surprises, f"nobody expects {self._surprises[:5]}"
        assert not self.notifications, f"left unread: {list(self.notifications)[:5]}"
        for subscription in self._subscriptions:
            assert not subscription.unread, f"{subscription.unread} items of {subscription} were left unread"


async def new_response(client: Client) -> str:
    """The id of an open response in a session of its own."""
    session = await client.session_create(title="A talk")
    return (await client.round_create(session_id=session.id, content="?")).response.id


async def new_turn(client: Client) -> Turn:
    """A streaming turn in a session of its own."""
    return await client.turn_create(response_id=await new_response(client))


async def read_until(
    changes: Subscription[TurnSubscription, TurnUpdated], seq: int, turn: Turn | None = None
) -> Turn | None:
    """The turn after the changes up to a seq; a state replaces it."""
    while changes.seq is None or changes.seq < seq:
        item = await anext(changes)
        turn = item.turns[0] if isinstance(item, TurnSubscription) else apply(turn, item)
    return turn

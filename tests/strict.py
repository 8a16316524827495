"""The package's own client for tests: it fails at its end if anything that the server said was left unread.

``wire.py`` stays for tests of bytes: framings, broken messages, several messages in one write, the exact JSON.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from mandrake_sessions.client import (
    SERVER,
    Client,
    Notification,
    RequestFailed,
    Subscription,
    SyncClient,
    SyncSubscription,
    apply,
)
from mandrake_sessions.client.link import Link
from mandrake_sessions.model import Turn
from mandrake_sessions.protocol.params import StoreParams
from mandrake_sessions.protocol.results import TurnSubscription, TurnUpdated
from wire import TIMEOUT, clean_environment

# Starts a program in a directory: the server finds the workspace by itself, as in a shell.
IN_DIRECTORY = ("sh", "-c", 'cd -- "$0" && exec "$@"')


class StrictSubscription(Subscription[Any, Any]):
    """Stays subscribed until the server ends, so that what is left unread is seen whenever it comes.

    ``begun``: the result of the last subscribe request; ``ends``: the params of each ``subscription/ended``; as on the
    wire. ``updates``: the method of its notifications.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.updates = f"{self._method.partition('/')[0]}/updated"
        self.begun: dict[str, Any] = {}
        self.ends: list[dict[str, Any]] = []
        self.has_state = False
        self.ends_must_be_read = False

    def take(self, method: str, params: dict[str, Any], size: int) -> None:
        if method == "subscription/ended":
            self.ends.append(params)
        super().take(method, params, size)

    def _began(self, link: Link, result: dict[str, Any]) -> None:
        self.begun = result
        super()._began(link, result)
        self.has_state = self.unread > 0

    async def close(self) -> None:
        """The client looks at what is unread."""


class StrictClient(Client):
    """Every item of every subscription and every other notification must be read, every request answered once, and
    the server must end well. ``notifications``: those of no subscription; a test takes out what it has looked at."""

    def __init__(self, workspace: Path | None, *flags: str, **options: Any) -> None:
        self.notifications: deque[Notification] = deque()
        self.stderr = b""
        # A line for each ``window/logMessage``, also for those that were read.
        self.log_messages: list[str] = []
        # Notifications of these methods may be left unread, also those of a subscription: how many come is not what
        # the test is about.
        self.let_be: set[str] = set()
        self.is_killed = False
        self.exit_codes: list[int] = []
        self._surprises: list[Any] = []
        self._subscriptions: list[StrictSubscription] = []
        given: dict[str, Any] = {
            "command": SERVER,
            "environment": None if workspace is None else clean_environment(workspace),
            "timeout": TIMEOUT,
            "end_timeout": TIMEOUT,
            "on_notification": self._keep,
        }
        super().__init__(workspace, flags=flags, **(given | options))

    def _keep(self, told: Notification) -> None:
        self.notifications.append(told)
        if told.method == "window/logMessage":
            level = {1: "ERROR", 2: "WARNING"}[told.params["type"]]
            self.log_messages.append(f"{level} {told.params['message']}\n")

    def follow(self, method: str, params: dict[str, Any]) -> StrictSubscription:
        subscription = StrictSubscription(self, method, params, self.max_waiting_bytes)
        self._subscriptions.append(subscription)
        return subscription

    def wrote(self, words: bytes) -> None:
        self.stderr += words

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

    @property
    def has_ended(self) -> bool:
        """Whether the server is gone, with all that it wrote read."""
        return self._link is not None and self._link.has_ended

    def check(self) -> None:
        """Called when the server has ended, with all that it wrote."""
        if self.is_killed:
            assert self.exit_codes[-1] == -signal.SIGKILL
            return
        assert self.exit_codes[-1] == 0, self.stderr
        assert not self._surprises, f"nobody expects {self._surprises[:5]}"
        unread = [told for told in self.notifications if told.method not in self.let_be]
        assert not unread, f"left unread: {unread[:5]}"
        for subscription in self._subscriptions:
            if subscription.ends_must_be_read and "subscription/ended" not in self.let_be:
                assert not subscription.ends, f"left unread: {subscription.ends}"
            if subscription.updates not in self.let_be:
                assert not subscription.unread, f"left unread: {list(subscription._waiting)[:5]}"


class Followed(SyncSubscription[Any, Any]):
    """A subscription that has begun and whose first state, if there is one, was read."""

    def __init__(self, client: StrictSyncClient, strict: StrictSubscription) -> None:
        super().__init__(client, strict)
        self._strict = strict
        self._wait_until = client.wait_until
        strict.ends_must_be_read = True
        self.__enter__()
        if strict.has_state:
            next(self)

    @property
    def begun(self) -> dict[str, Any]:
        """The result of the subscribe request, as on the wire."""
        return self._strict.begun

    def ended(self) -> dict[str, Any]:
        """The params of the next ``subscription/ended``, as on the wire."""
        self._wait_until(lambda: bool(self._strict.ends), "subscription/ended")
        return self._strict.ends.pop(0)


class StrictSyncClient(SyncClient):
    """The strict client for tests without an event loop. Made by ``connected``."""

    def __init__(self, strict: StrictClient) -> None:
        self.strict = strict
        super().__init__()

    def _make_client(self, workspace: Any, options: Any) -> Client:
        return self.strict

    def error(self, method: str, **params: Any) -> RequestFailed:
        """The error of a request that must fail; ``params`` as on the wire."""
        refused = self.refusal(method, **params)
        assert refused is not None, f"{method} {params} should have failed"
        return refused

    def refusal(self, method: str, **params: Any) -> RequestFailed | None:
        """The error of a request that may fail; ``params`` as on the wire. A subscription stays."""
        try:
            if method.endswith("/subscribe"):
                self.followed(method, **params)
            else:
                self.request(method, params)
        except RequestFailed as failed:
            return failed
        return None

    def followed(self, method: str, **params: Any) -> Followed:
        """Subscribe; ``params`` as on the wire."""
        return Followed(self, self.strict.follow(method, params))

    def initialize(self, **params: Any) -> Any:
        """LSP's beginning; the result as on the wire."""
        given = {"processId": os.getpid(), "rootUri": None, "capabilities": {}} | params
        result = self.request("initialize", given)
        self.notify("initialized")
        return result

    def told(self, method: str) -> Any:
        """The params of the next notification of that method, which belongs to no subscription."""
        found: list[Notification] = []
        self.wait_until(lambda: bool(found) or self._take(method, found), method)
        return found[0].params

    def let_be(self, method: str) -> None:
        """Notifications of this method may be left unread, also those of a subscription: how many come is not what the
        test is about."""
        self.strict.let_be.add(method)

    @property
    def stderr(self) -> str:
        return self.strict.stderr.decode(errors="replace")

    @property
    def log(self) -> str:
        """All that an editor's log would hold: stderr, then a line for each ``window/logMessage`` that has come."""
        return self.stderr + "".join(self.strict.log_messages)

    def wait_for_log(self, text: str) -> None:
        """Wait until the text stands in ``log``: stderr is read beside stdout, so it may come later than an answer."""
        self.wait_until(lambda: text in self.log, text)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came; log {self.log}"
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill the server, unless that was done already, and wait until it is gone. What is unread then is not looked
        at."""
        if not self.strict.is_killed:
            self.strict.is_killed = True
            os.kill(self.pid, signal.SIGKILL)
            self.wait_until(lambda: self.strict.has_ended, "its end")

    def _take(self, method: str, into: list[Notification]) -> bool:
        """Move the first notification of that method; on the thread that adds to them."""

        async def take() -> bool:
            found = [told for told in self.strict.notifications if told.method == method][:1]
            for told in found:
                self.strict.notifications.remove(told)
            into.extend(found)
            return bool(found)

        return self.run(take())


@contextmanager
def connected(directory: Path, *flags: str, **options: Any) -> Iterator[StrictSyncClient]:
    """A server that is started in a directory, and its client. It must end well, with everything read.

    ``command``: the whole command, without its flags. ``environment``: more of it than ``clean_environment`` gives.
    """
    environment = clean_environment(directory) | options.pop("environment", {})
    command = (*IN_DIRECTORY, str(directory), *options.pop("command", SERVER))
    strict = StrictClient(None, *flags, command=command, environment=environment, **options)
    with StrictSyncClient(strict) as client:
        yield client


class Talk:
    """A session with a round, ready for turns: the ids of its parts. ``where``: in which store."""

    def __init__(self, client: SyncClient, *, where: StoreParams | None = None, **session: Any) -> None:
        self._client = client
        self._where = where
        self.session = client.session_create(where=where, **session).id
        made = client.round_create(where=where, session_id=self.session, content="What is in here?")
        self.round, self.request, self.response = made.round.id, made.request.id, made.response.id

    def turn(self, **params: Any) -> str:
        return self._client.turn_create(where=self._where, response_id=self.response, **params).id


def failure(reply: Future[Any]) -> RequestFailed:
    """The error of a request that was submitted and must fail."""
    error = reply.exception(TIMEOUT)
    assert isinstance(error, RequestFailed), error
    return error


def read_all(changes: SyncSubscription[Any, Any], seq: int) -> list[Any]:
    """The items up to and with a seq."""
    found: list[Any] = []
    while not found or found[-1].seq < seq:
        found.append(next(changes))
    return found


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

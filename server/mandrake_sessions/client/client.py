"""The client: a server process of its own, the methods of the table, and subscriptions."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, Unpack

from mandrake_sessions.client.conversion import notification_from_wire, params_to_wire, result_from_wire
from mandrake_sessions.client.errors import ClientError, NotAnswered, ServerEnded
from mandrake_sessions.client.framing import Framing
from mandrake_sessions.client.link import Link, Message
from mandrake_sessions.client.methods import Methods
from mandrake_sessions.client.subscription import Subscription
from mandrake_sessions.protocol.params import AnyStoreParams, SessionSubscribe, StoreParams, TurnSubscribe
from mandrake_sessions.protocol.results import SessionSubscription, SessionUpdated, TurnSubscription, TurnUpdated

logger = logging.getLogger(__name__)

# `-P` keeps the current directory out of the import path: a workspace may hold a json.py of its own.
SERVER = (sys.executable, "-P", "-m", "mandrake_sessions", "serve")
MAX_WAITING_BYTES = 8 * 1024 * 1024
END_SECONDS = 5.0


class Notification(NamedTuple):
    """A message of the server that belongs to no subscription. ``params``: the declared type (``Health``,
    ``TurnRejected``); JSON for a method that the table does not declare, such as ``window/logMessage``."""

    method: str
    params: Any


class Client(Methods):
    """A client of one server process. Use it with ``async with``, in one event loop.

    The server ends with the block, or with this process, whatever happens. Requests may be sent at the same time, by
    any number of tasks; the server carries out those of one client in the order in which they were sent.

    ``workspace``: the directory whose store is meant (see ``--workspace``); None for the one that ``serve`` finds.
    ``flags``: more flags of ``serve``, such as ``("--durability", "full")``. ``command``: how the server is started.
    ``environment``: the server's; None for that of this process. ``timeout``: seconds that a request may take before
    NotAnswered is raised; None waits for ever. ``max_waiting_bytes``: how much a subscription keeps for a program that
    reads slowly. ``on_notification``: called with every notification that belongs to no subscription; without it a
    ``turn/rejected`` is logged as a warning. ``framing``: ``"headers"`` sends LSP's ``Content-Length`` with messages.
    ``end_timeout``: seconds that the server has to end in after ``close``; then it is killed.

    ``restarts``: a server that ended by itself is started again by the next request, or when a subscription is read;
    subscriptions then continue after the last change that was read. The requests that were waiting raise ServerEnded,
    since nobody knows whether they were carried out. A server that ended before it answered anything is not started
    again, nor is an ``initialize`` sent again.

    The methods raise RequestFailed for an error of the server, ServerEnded, NotAnswered, and ValueError or TypeError
    for params that are no JSON. A task that is cancelled while it waits cancels its request at the server.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | None = None,
        *,
        flags: Sequence[str] = (),
        command: Sequence[str] = SERVER,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        restarts: bool = False,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        on_notification: Callable[[Notification], None] | None = None,
        framing: Framing = "lines",
        end_timeout: float = END_SECONDS,
    ) -> None:
        place = () if workspace is None else ("--workspace", str(Path(workspace)))
        self._command = (*command, *place, *flags)
        self._environment = environment
        self._framing = framing
        self._end_timeout = end_timeout
        self.timeout = timeout
        self._restarts = restarts
        self.max_waiting_bytes = max_waiting_bytes
        self._on_notification = on_notification
        self._starting = asyncio.Lock()
        self._link: Link | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int:
        """The process id of the server."""
        if self._link is None:
            raise ServerEnded("the server was not started yet")
        return self._link.pid

    def follow_turns(
        self, *, where: StoreParams | None = None, **given: Unpack[TurnSubscribe]
    ) -> Subscription[TurnSubscription, TurnUpdated]:
        """Follow a turn (``turn_id``), a response (``response_id``), a session (``session_id``) or the store.

        ``since`` and ``store_id``: go on after that ``seq`` of that store. ``where``: which store, without: the first.
        """
        return self.follow("turn/subscribe", params_to_wire("turn/subscribe", given, where))

    def follow_sessions(
        self, *, where: StoreParams | None = None, **given: Unpack[SessionSubscribe]
    ) -> Subscription[SessionSubscription, SessionUpdated]:
        """Follow a session (``session_id``), or the sessions of the store, with their rounds, requests and responses.

        ``since``, ``store_id`` and ``where`` as for ``follow_turns``.
        """
        return self.follow("session/subscribe", params_to_wire("session/subscribe", given, where))

    async def request(self, method: str, params: Message | None = None) -> Any:
        """Any request, also one of LSP: ``params`` and the result are the wire's JSON."""
        return await self._request(await self._connected(), method, params or {})

    async def notify(self, method: str, params: Message | None = None) -> None:
        """Any notification, such as a ``turn/append`` that needs no receipt; ``params`` are the wire's JSON."""
        link = await self._connected()
        link.notify(method, params or {})
        await link.drain()

    async def call(self, method: str, given: Mapping[str, Any], where: AnyStoreParams | None = None) -> Any:
        """A method of the table by its name; params and result as those of its own function."""
        result = await self.request(method, params_to_wire(method, given, where))
        return result_from_wire(method, given, result)

    async def close(self) -> None:
        """End the server's input: the server carries out what it has received, and exits. Waits for that."""
        self._is_closed = True
        async with self._starting:
            if self._link is not None:
                self.ended(await self._link.close(self._end_timeout))

    def follow(self, method: str, params: Message) -> Subscription[Any, Any]:
        """A subscription by its method; ``params`` are the wire's JSON."""
        return Subscription(self, method, params, self.max_waiting_bytes)

    # What the link and subscriptions call.

    async def begin(self, method: str, params: Message, then: Callable[[Link, Any], None]) -> None:
        """Send the request that begins a subscription."""
        link = await self._connected()
        await self._request(link, method, params, lambda result: then(link, result))

    def told(self, method: str, params: Any) -> None:
        """Called for every notification that belongs to no subscription."""
        try:
            notification = Notification(method, notification_from_wire(method, params))
        except ClientError as error:
            logger.warning("%s", error)
            return
        if self._on_notification is not None:
            try:
                self._on_notification(notification)
            except Exception:
                # The fault of a callback must not end the reading of replies.
                logger.exception("on_notification failed for %s", method)
        elif method == "turn/rejected":
            logger.warning("the server rejected an append to turn %s", notification.params.turn_id)

    def wrote(self, words: bytes) -> None:
        """Called with what the server writes to stderr, such as its log."""

    def surprised(self, message: Any) -> None:
        """Called for every message that nothing here expects."""
        logger.debug("a message of the server that nobody expects: %.200r", message)

    def ended(self, code: int) -> None:
        """Called with the exit code of a server that has ended."""

    async def _request(
        self, link: Link, method: str, params: Message, then: Callable[[Any], None] | None = None
    ) -> Any:
        seconds = self.timeout
        try:
            async with asyncio.timeout(seconds):
                return await link.request(method, params, then)
        except TimeoutError:
            raise NotAnswered(method, seconds or 0) from None

    async def _connected(self) -> Link:
        async with self._starting:
            if self._is_closed:
                raise ServerEnded("the client was closed")
            link = self._link
            if link is not None and link.has_ended and link.has_answered and self._restarts:
                self.ended(await link.close(self._end_timeout))
                link = None
            if link is None:
                link = self._link = await Link.open(self._command, self._environment, self._framing, self)
            return link

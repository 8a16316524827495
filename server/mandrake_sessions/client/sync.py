"""The client for programs without an event loop: it runs the asyncio client on a thread of its own.

with SyncClient("/path/of/a/workspace") as client:
    session = client.session_create(title="A question")
    with client.follow_turns(session_id=session.id) as changes:
        for change in changes:
            ...
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Generic, Self, TypedDict, TypeVar, Unpack

from mandrake_sessions.client.client import Client, Notification
from mandrake_sessions.client.errors import ServerEnded
from mandrake_sessions.client.framing import Framing
from mandrake_sessions.client.link import Message
from mandrake_sessions.client.subscription import State, Subscription, Update
from mandrake_sessions.client.sync_methods import SyncMethods
from mandrake_sessions.protocol.params import AnyStoreParams, SessionSubscribe, StoreParams, TurnSubscribe
from mandrake_sessions.protocol.results import SessionSubscription, SessionUpdated, TurnSubscription, TurnUpdated

T = TypeVar("T")


class Options(TypedDict, total=False):
    """The options of ``Client``, which describes them."""

    flags: Sequence[str]
    command: Sequence[str]
    environment: Mapping[str, str] | None
    timeout: float | None
    restarts: bool
    max_waiting_bytes: int
    on_notification: Callable[[Notification], None] | None
    framing: Framing
    end_timeout: float


class SyncClient(SyncMethods):
    """A client of one server process whose methods wait for their replies. Use it with ``with``.

    The options, the methods, the errors and the subscriptions are those of ``Client``. Any number of threads may use
    it at the same time. Ctrl-C during a call cancels its request at the server. ``on_notification`` is called on the
    client's own thread, and must not call the client.
    """

    def __init__(self, workspace: str | os.PathLike[str] | None = None, **options: Unpack[Options]) -> None:
        self._client = self._make_client(workspace, options)
        self._thread = LoopThread()

    def __enter__(self) -> Self:
        try:
            self.run(self._client.__aenter__())
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self._client.__aexit__(kind, error, trace))
        finally:
            self._thread.stop()

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._client.pid

    def follow_turns(
        self, *, where: StoreParams | None = None, **given: Unpack[TurnSubscribe]
    ) -> SyncSubscription[TurnSubscription, TurnUpdated]:
        """Follow a turn, a response, a session or the store, as ``Client.follow_turns``."""
        return SyncSubscription(self, self._client.follow_turns(where=where, **given))

    def follow_sessions(
        self, *, where: StoreParams | None = None, **given: Unpack[SessionSubscribe]
    ) -> SyncSubscription[SessionSubscription, SessionUpdated]:
        """Follow a session, or the sessions of the store, as ``Client.follow_sessions``."""
        return SyncSubscription(self, self._client.follow_sessions(where=where, **given))

    def request(self, method: str, params: Message | None = None) -> Any:
        """Any request, also one of LSP: ``params`` and the result are the wire's JSON."""
        return self.run(self._client.request(method, params))

    def submit(self, method: str, params: Message | None = None) -> Future[Any]:
        """``request`` without waiting. Requests reach the server in the order of the calls; cancelling the Future
        cancels the request at the server."""
        return self._thread.submit(self._client.request(method, params))

    def notify(self, method: str, params: Message | None = None) -> None:
        """Any notification; ``params`` are the wire's JSON."""
        self.run(self._client.notify(method, params))

    def call(self, method: str, given: Mapping[str, Any], where: AnyStoreParams | None = None) -> Any:
        """A method of the table by its name; params and result as those of its own function."""
        return self.run(self._client.call(method, given, where))

    def close(self) -> None:
        """End the server's input: the server carries out what it has received, and exits. Waits for that."""
        if not self._thread.is_stopped:
            try:
                self.run(self._client.close())
            finally:
                self._thread.stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine of the asyncio client, which runs on the client's thread."""
        return self._thread.run(work)

    def _make_client(self, workspace: str | os.PathLike[str] | None, options: Options) -> Client:
        return Client(workspace, **options)


class SyncSubscription(Generic[State, Update]):
    """An iterator of a state and the changes after it; see ``Subscription``. Use it with ``with``.

    ``next`` waits for the next item as long as it takes; ``unread`` says how many can be read without waiting.
    """

    def __init__(self, client: SyncClient, subscription: Subscription[State, Update]) -> None:
        self._client = client
        self._subscription: Subscription[State, Update] = subscription

    def __enter__(self) -> Self:
        self._client.run(self._subscription.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> State | Update:
        found = self._client.run(self._next())
        if found is None:
            raise StopIteration
        return found

    @property
    def seq(self) -> int | None:
        """How far the program has read; see ``Subscription``."""
        return self._subscription.seq

    @property
    def store_id(self) -> str | None:
        """Of which store; see ``Subscription``."""
        return self._subscription.store_id

    @property
    def unread(self) -> int:
        """How many items have come and were not read."""
        return self._subscription.unread

    def close(self) -> None:
        """Unsubscribe. Iterating again ends at once."""
        self._client.run(self._subscription.close())

    async def _next(self) -> State | Update | None:
        # A StopAsyncIteration does not pass through a coroutine's future.
        return await anext(self._subscription, None)


class LoopThread:
    """An event loop on a thread of its own, which ends with the process."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mandrake-sessions client", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine; coroutines begin in the order of the calls. Raises ServerEnded after ``stop``."""
        if self.is_stopped:
            work.close()
            raise ServerEnded("the client was closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for its result. If the wait is interrupted, the coroutine is cancelled."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("on_notification must not call the client: the reply could never be read")
        future = self.submit(work)
        try:
            return future.result()
        except CancelledError as error:
            if self.is_stopped:
                # Another thread has closed the client meanwhile.
                raise ServerEnded("the client was closed") from error
            raise
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and the thread. What still waits is cancelled."""
        if not self.is_stopped:
            self.is_stopped = True
            asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

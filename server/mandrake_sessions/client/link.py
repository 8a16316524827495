"""One server process, and the requests that wait for its replies: JSON-RPC over the process's pipes."""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from attrs import frozen

from mandrake_sessions.client.errors import ClientError, RequestFailed, ServerEnded
from mandrake_sessions.client.framing import Framing, framer_for
from mandrake_sessions.json_codec import JsonDecoder, JsonEncoder
from mandrake_sessions.transport.framing import Frame

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 18

# How long the rest of what an ended server said is waited for.
END_SECONDS = 5.0
# As much of the end of stderr as is kept for an error message.
MAX_LAST_WORDS = 4096
# NaN is no JSON: the server could not say which request it came with.
_encoder = JsonEncoder(allow_nan=False, separators=(",", ":"))
_decoder = JsonDecoder()

Message = dict[str, Any]


class LinkListener(Protocol):
    """Takes the notifications of one subscription."""

    def take(self, method: str, params: Message, size: int) -> None:
        """A notification, in order; ``size`` is that of its body in bytes."""

    def lose(self) -> None:
        """The server has ended."""


class Owner(Protocol):
    """The callbacks of a link."""

    def told(self, method: str, params: Any) -> None:
        """A notification that belongs to no subscription."""

    def wrote(self, words: bytes) -> None:
        """The server wrote this to stderr."""

    def surprised(self, message: Any) -> None:
        """A message that is no JSON object, a reply to no request, or a notification of a subscription that nobody has
        made."""


class _Garbled(Exception):
    """A message of the server cannot be decoded."""


@frozen(eq=False)
class _Call:
    method: str
    reply: asyncio.Future[Any]
    # Called with the result before the next message is looked at, also where nobody waits for the reply any more.
    then: Callable[[Any], None] | None


class Link:
    """Made by ``open``. ``listeners``: by subscription id; None for one that is being unsubscribed, whose notifications
    are dropped."""

    def __init__(self, process: Process, framing: Framing, owner: Owner) -> None:
        self.listeners: dict[str, LinkListener | None] = {}
        self.has_answered = False
        self.has_ended = False
        self._process = process
        self._framer = framer_for(framing)
        self._owner = owner
        self._calls: dict[int, _Call] = {}
        self._last_id = 0
        self._last_words = b""
        self._garbled: _Garbled | None = None
        self._stderr = asyncio.create_task(self._read_stderr())
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls, command: Sequence[str], environment: Mapping[str, str] | None, framing: Framing, owner: Owner
    ) -> Link:
        """Start the server. Raises ServerEnded where there is no such program."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                limit=CHUNK_BYTES,
                # Ctrl-C reaches the program that uses the client, and that ends the server in order.
                process_group=0,
            )
        except OSError as error:
            raise ServerEnded(f"the server could not be started: {command[0]}: {error.strerror}") from error
        return cls(process, framing, owner)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def request(self, method: str, params: Message, then: Callable[[Any], None] | None = None) -> Any:
        """Send a request and wait for its result. Raises RequestFailed, ServerEnded."""
        reply, message_id = self._post(method, params, then)
        try:
            await self.drain()
            return await reply
        except asyncio.CancelledError:
            reply.cancel()
            self.notify("$/cancelRequest", {"id": message_id})
            raise

    def notify(self, method: str, params: Message) -> None:
        """Send a notification."""
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def drain(self) -> None:
        """Wait until the pipe to the server has room."""
        assert self._process.stdin is not None
        # A server that is gone is reported by the replies that do not come.
        with suppress(ConnectionError):
            await self._process.stdin.drain()

    def unsubscribe(self, method: str, subscription_id: str) -> asyncio.Future[Any]:
        """Unsubscribe; gives the reply, which need not be waited for."""
        self.listeners[subscription_id] = None
        reply, _ = self._post(method, {"subscriptionId": subscription_id}, None)
        reply.add_done_callback(lambda done: self._unsubscribed(subscription_id, done))
        return reply

    async def close(self, seconds: float) -> int:
        """End the server's input, at which it answers what it has received and exits; gives its exit code.

        A server that has not ended after so many seconds is killed.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(seconds):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        await asyncio.wait({self._reader, self._stderr}, timeout=END_SECONDS)
        return code

    def _post(
        self, method: str, params: Message, then: Callable[[Any], None] | None
    ) -> tuple[asyncio.Future[Any], int]:
        if self.has_ended:
            raise self._gone()
        self._last_id += 1
        call = _Call(method, asyncio.get_running_loop().create_future(), then)
        self._send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        self._calls[self._last_id] = call
        return call.reply, self._last_id

    def _send(self, message: Message) -> None:
        body = _encoder.encode(message).encode()
        assert self._process.stdin is not None
        if not self.has_ended:
            self._process.stdin.write(self._framer.wrap(body))

    def _unsubscribed(self, subscription_id: str, reply: asyncio.Future[Any]) -> None:
        self.listeners.pop(subscription_id, None)
        if not reply.cancelled():
            # It had ended by itself, or the server has: there is nothing to unsubscribe from.
            reply.exception()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            # What a killed server did not write to its end is dropped.
            while data := await self._process.stdout.read(CHUNK_BYTES):
                for frame in self._framer.feed(data):
                    self._take(frame)
        except _Garbled as garbled:
            # It may have been the reply to any of the calls, or a change that a subscription must not miss.
            logger.warning("ended the server: %s", garbled)
            self._garbled = garbled
            with suppress(ProcessLookupError):
                self._process.kill()
        finally:
            # What the server said last explains why it ended.
            await asyncio.wait({self._stderr}, timeout=1.0)
            self.has_ended = True
            for call in self._calls.values():
                _fail(call, self._gone())
            self._calls.clear()
            for listener in list(self.listeners.values()):
                if listener is not None:
                    listener.lose()

    def _take(self, frame: Frame) -> None:
        message = _decoded(frame) if isinstance(frame, bytes) else None
        if not isinstance(frame, bytes) or not isinstance(message, dict):
            self._owner.surprised(frame)
            return
        if isinstance(message.get("method"), str):
            self._take_notification(message, len(frame))
            return
        message_id = message.get("id")
        call = self._calls.pop(message_id, None) if isinstance(message_id, int) else None
        if call is None:
            self._owner.surprised(message)
        else:
            self.has_answered = True
            _take_reply(call, message)

    def _take_notification(self, message: Message, size: int) -> None:
        method, params = message["method"], message.get("params")
        if not isinstance(params, dict) or (subscription_id := params.get("subscriptionId")) is None:
            self._owner.told(method, params)
        elif subscription_id not in self.listeners:
            self._owner.surprised(message)
        elif (listener := self.listeners[subscription_id]) is not None:
            listener.take(method, params, size)

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while words := await self._process.stderr.read(CHUNK_BYTES):
            self._last_words = (self._last_words + words)[-MAX_LAST_WORDS:]
            self._owner.wrote(words)

    def _gone(self) -> ServerEnded:
        if self._garbled is not None:
            return ServerEnded(f"the server was ended: {self._garbled}")
        said = self._last_words.decode(errors="replace").strip().rpartition("\n")[2]
        return ServerEnded(f"the server ended: {said or 'it wrote nothing to stderr'}")


def _decoded(body: bytes) -> Any:
    """The JSON value of a message; None for what is no message, such as a line that a wrapper of the server prints.
    Raises _Garbled."""
    try:
        return _decoder.decode(body.decode())
    except (ValueError, RecursionError) as error:
        # What a message holds belongs into no log.
        if body.lstrip().startswith(b"{"):
            raise _Garbled(f"it sent a message of {len(body)} bytes that is no JSON: {type(error).__name__}") from None
        logger.warning("passed over %d bytes of the server's stdout that are no JSON", len(body))
        return None


def _take_reply(call: _Call, message: Message) -> None:
    try:
        if "error" in message:
            raise RequestFailed(call.method, message["error"])
        result = message["result"]
        if call.then is not None:
            call.then(result)
    except RequestFailed as failed:
        _fail(call, failed)
    except (LookupError, TypeError, AttributeError) as error:
        _fail(call, ClientError(f"{call.method}: the server's reply is malformed: {error!r}"))
    else:
        if not call.reply.done():
            call.reply.set_result(result)


def _fail(call: _Call, error: ClientError) -> None:
    # A request that was cancelled has nobody who waits.
    if not call.reply.done():
        call.reply.set_exception(error)

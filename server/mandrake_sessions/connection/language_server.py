"""The language server (pygls) of this connection: loaded on a thread, while everything else goes on.

It hears of LSP's messages in their order. Those that come before it is loaded wait here, and a request among them has
its answer then.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mandrake_sessions.connection.call import Call
from mandrake_sessions.value import Value

if TYPE_CHECKING:
    from mandrake_sessions.lsp import LanguageAdapter

logger = logging.getLogger(__name__)

# Loading takes 0.4 s of a processor and 40 MB, which would slow an editor's first requests: 22 of them were answered
# 479 ms after the start, and after 648 ms where loading began at once. Agents and scripts have often ended by now.
LOAD_AFTER_SECONDS = 2.0
# When so many messages wait, or bytes of them, no more are taken in.
MAX_WAITING = 100
MAX_WAITING_BYTES = 1024 * 1024


@frozen(eq=False, repr=False)
class _Message(Value):
    """``call``: of a request; None for a notification, which has been answered for already."""

    name: str
    params: dict[str, Any]
    call: Call | None
    size: int


class LanguageServer:
    """``send`` takes messages of pygls' own; ``on_heard`` is called when it has heard all that waited."""

    def __init__(self, send: Callable[[dict[str, Any]], None], on_heard: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._on_heard = on_heard
        self._adapter: LanguageAdapter | None = None
        self._is_loading = False
        self._has_failed = False
        # The params of `initialize`, which it hears before all else.
        self._initialize: dict[str, Any] | None = None
        self._waiting: deque[_Message] = deque()

    @property
    def is_asked(self) -> bool:
        """Whether a request waits for its answer."""
        return any(message.call is not None for message in self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more may come."""
        waiting = self._waiting
        # Asked about each message that comes, when most often nothing waits.
        return bool(waiting) and (
            len(waiting) >= MAX_WAITING or sum(message.size for message in waiting) > MAX_WAITING_BYTES
        )

    def initialize(self, params: dict[str, Any]) -> None:
        """Tell it who the client is, and load it soon."""
        self._initialize = params
        self._loop.call_later(LOAD_AFTER_SECONDS, self._load)

    def tell(self, name: str, params: dict[str, Any], size: int) -> None:
        """A notification of so many bytes."""
        if self._adapter is None:
            self._waiting.append(_Message(name, params, None, size))
            if self.is_full:
                self._load()
        else:
            self._adapter.tell(name, params)

    def ask(self, name: str, params: dict[str, Any], call: Call) -> None:
        """A request, which is answered at once or when it is loaded."""
        if self._adapter is None:
            self._load()
            self._waiting.append(_Message(name, params, call, call.weight))
        else:
            self._adapter.ask(name, params, call)

    def _load(self) -> None:
        if self._adapter is None and not self._is_loading:
            thread = threading.Thread(
                target=self._make, args=(self._initialize,), name="mandrake-sessions-lsp", daemon=True
            )
            self._is_loading = True
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._loop.call_soon(self._loaded, None, error)

    def _make(self, initialize: dict[str, Any] | None) -> None:
        """On a thread of its own: import pygls, and let it hear of the client, for which it makes most of its types."""
        adapter: LanguageAdapter | None = None
        failure: BaseException | None = None
        try:
            from mandrake_sessions import lsp

            adapter = lsp.LanguageAdapter(self._send)
            if initialize is not None:
                adapter.initialize(initialize)
        except BaseException as error:
            # A module may also end the thread by SystemExit, and then nobody would answer.
            adapter, failure = None, error
        # The loop may have ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loaded, adapter, failure)

    def _loaded(self, adapter: LanguageAdapter | None, failure: BaseException | None) -> None:
        """Hand over what has waited. Where pygls cannot be loaded, the server itself answers ``shutdown``, the one
        request that pygls gets. The notifications are lost: keeping them would have no bound."""
        self._is_loading = False
        self._adapter = adapter
        waiting, self._waiting = self._waiting, deque()
        if failure is not None:
            level = logging.DEBUG if self._has_failed else logging.WARNING
            logger.log(level, "the language server could not be loaded: %s", type(failure).__name__)
            logger.debug("the language server could not be loaded", exc_info=failure)
            self._has_failed = True
        for message in waiting:
            if message.call is None:
                if adapter is not None:
                    adapter.tell(message.name, message.params)
            elif adapter is not None:
                adapter.ask(message.name, message.params, message.call)
            else:
                message.call.succeed(None)
        self._on_heard()

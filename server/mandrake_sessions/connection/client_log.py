"""``window/logMessage``: warnings and errors of the server's log, for an editor to show."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from mandrake_sessions.connection import outbound as door
from mandrake_sessions.connection.jsonrpc import notification_message
from mandrake_sessions.connection.outbound import Outbound
from mandrake_sessions.logs import PACKAGE
from mandrake_sessions.quoting import one_line

ERROR, WARNING = 1, 2
# So many may wait for the loop; what is logged faster than it turns stands in the log alone.
MAX_WAITING = 100


class ClientLog(logging.Handler):
    """A handler that sends records to the client, from any thread; what does not fit through the door is dropped.

    What is said of the door itself does not go through it.
    """

    def __init__(self, outbound: Outbound) -> None:
        super().__init__(logging.WARNING)
        self._outbound = outbound
        self._loop = asyncio.get_running_loop()
        self._waiting = 0

    def begin(self) -> None:
        logging.getLogger(PACKAGE).addHandler(self)

    def end(self) -> None:
        logging.getLogger(PACKAGE).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == door.__name__ or self._waiting >= MAX_WAITING:
            return
        kind = ERROR if record.levelno >= logging.ERROR else WARNING
        self._waiting += 1
        # Handlers are called under a lock of their own, so the count is right; nothing is sent once the loop has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._send, kind, one_line(record.getMessage()))

    def _send(self, kind: int, message: str) -> None:
        self.acquire()
        self._waiting -= 1
        self.release()
        if not self._outbound.is_full:
            self._outbound.send(notification_message("window/logMessage", {"type": kind, "message": message}))
            self._outbound.flush()

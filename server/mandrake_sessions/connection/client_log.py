"""``window/logMessage``: warnings and errors of the server's log, for an editor to show."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from mandrake_sessions.logs import PACKAGE, log_untold, mark_told
from mandrake_sessions.quoting import one_line
from mandrake_sessions.transport import outbound as outbound_queue
from mandrake_sessions.transport.jsonrpc import notification_message
from mandrake_sessions.transport.outbound import Outbound

ERROR, WARNING = 1, 2
# Records that may wait for the loop; further ones go to the log alone.
MAX_WAITING = 100


class ClientLog(logging.Handler):
    """A handler that sends records to the client, from any thread. Editors show stderr too, so a record is on stderr
    only if it has a traceback, or if the outbound queue was full.

    Records about the outbound queue itself do not go through it.
    """

    def __init__(self, outbound: Outbound) -> None:
        super().__init__(logging.WARNING)
        self._outbound = outbound
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[logging.LogRecord] = deque()

    def begin(self) -> None:
        logging.getLogger(PACKAGE).addHandler(self)

    def end(self) -> None:
        logging.getLogger(PACKAGE).removeHandler(self)
        while self._waiting:
            self._keep(self._waiting.popleft())

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == outbound_queue.__name__ or len(self._waiting) >= MAX_WAITING:
            return
        mark_told(record, record.exc_info is None)
        self._waiting.append(record)
        try:
            self._loop.call_soon_threadsafe(self._send)
        except RuntimeError:
            # The loop has ended, and nothing is sent any more.
            self._waiting.pop()
            mark_told(record, False)

    def _send(self) -> None:
        if not self._waiting:
            return
        record = self._waiting.popleft()
        if self._outbound.is_full:
            self._keep(record)
            return
        kind = ERROR if record.levelno >= logging.ERROR else WARNING
        told = {"type": kind, "message": one_line(record.getMessage())}
        self._outbound.send(notification_message("window/logMessage", told))
        self._outbound.flush()

    def _keep(self, record: logging.LogRecord) -> None:
        if record.exc_info is None:
            log_untold(record)

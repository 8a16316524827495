"""A client of a server process of its own: JSON-RPC by lines over its pipes, and the standard library alone."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

# `-P` keeps the current directory out of the import path: a workspace may hold a json.py of its own.
PYTHON = (sys.executable, "-P", "-m")
REPLY_SECONDS = 30.0
END_SECONDS = 5.0

Message = dict[str, Any]


class ServerFailed(Exception):
    """A request was refused, or the server has gone."""


class Notification(NamedTuple):
    """``received_us``: when its line was read, in microseconds since the epoch, before anything was done with it."""

    method: str
    params: Message
    received_us: int


class _Received(NamedTuple):
    message: Message
    at_us: int


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


class Client:
    """One server on one workspace. The server ends with the ``with`` block, or with this process, whatever happens."""

    def __init__(self, workspace: Path) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
        # A process group of its own, so that Ctrl-C reaches this program alone, which then ends things in order.
        self._process = subprocess.Popen(
            [*PYTHON, "mandrake_sessions", "serve", "--workspace", str(workspace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            process_group=0,
        )
        self._last_id = 0
        self._notifications: deque[Notification] = deque()
        self._received: queue.Queue[_Received | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def request(self, method: str, **params: Any) -> Any:
        """Send a request and wait for its result; notifications that come before it are kept. Raises ServerFailed."""
        self._last_id += 1
        self._send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        deadline = time.monotonic() + REPLY_SECONDS
        while (received := self._next(deadline)) is not None:
            message = received.message
            if "method" in message:
                self._keep(received)
            elif "error" in message:
                raise ServerFailed(f"{method}: {message['error']['message']}")
            elif message.get("id") == self._last_id:
                return message["result"]
        raise ServerFailed(f"{method} was not answered within {REPLY_SECONDS:.0f} s")

    def notification(self, timeout: float) -> Notification | None:
        """The next notification; None if none comes within so many seconds. Raises ServerFailed."""
        deadline = time.monotonic() + timeout
        while not self._notifications and (received := self._next(deadline)) is not None:
            self._keep(received)
        return self._notifications.popleft() if self._notifications else None

    def close(self) -> None:
        """End the input, at which the server finishes and exits; one that does not is killed."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(END_SECONDS)
        self._log.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, message: Message) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def _next(self, deadline: float) -> _Received | None:
        """What comes next; None when the time is over."""
        try:
            received = self._received.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        if received is None:
            raise self._gone()
        return received

    def _keep(self, received: _Received) -> None:
        message = received.message
        self._notifications.append(Notification(message["method"], message["params"], received.at_us))

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                at_us = now_us()
                self._received.put(_Received(json.loads(line), at_us))
        self._received.put(None)

    def _gone(self) -> ServerFailed:
        """The failure that says what the server said last."""
        return ServerFailed(f"the server ended: {last_line(self._log) or 'it said nothing'}")


def last_line(log: Any) -> str:
    """The last line of what a process wrote to the file that was its stderr."""
    log.seek(0)
    lines: list[bytes] = log.read().split(b"\n")
    return next((line.decode(errors="replace") for line in reversed(lines) if line.strip()), "")

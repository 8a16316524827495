"""Processes that are measured, driven by bytes alone.

While the clock runs requests are encoded already and replies are not parsed: their markers are counted. The package's
client would take longer than the server (``benchmarks/client.py`` measures that), and a peer is no server for it. What
is not measured, such as filling a store, goes through the client (``connected``).
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mandrake_sessions.client import Client, SyncClient
from mandrake_sessions.client.sync import Options

PIECE = "twenty bytes of text"
REPLY = b'"result"'
END_SECONDS = 20.0
# No single measurement goes on for longer; what is done by then is what counts.
SLICE_SECONDS = 20.0
# Settings of ours; and what would have an editable install compiled at each start, which no installed program is.
_NOT_INHERITED = ("MANDRAKE", "PYTHONDONTWRITEBYTECODE")
_HEADER = re.compile(rb"Content-Length: (\d+)\r\n(?:[^\r\n]+\r\n)*\r\n")


class Process:
    """A JSON-RPC server on pipes. It ends with the ``with`` block. ``headers``: LSP's framing instead of lines."""

    def __init__(self, command: Sequence[str], directory: Path, *, headers: bool = False) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(directory),
            process_group=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._headers = headers
        self.pid = self._process.pid
        self.bytes_read = 0

    def fileno(self) -> int:
        return self._stdout.fileno()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._stdin.fileno(), view) :]

    def read(self) -> bytes:
        """What there is, and at least a byte. Raises RuntimeError at the end."""
        data = os.read(self._stdout.fileno(), 1 << 20)
        if not data:
            raise RuntimeError("a process that is measured has ended")
        self.bytes_read += len(data)
        return data

    def request(self, method: str, **params: Any) -> Any:
        """The result of one request of this very connection, not measured; notifications before it are dropped."""
        return json.loads(self.exchange(request(1, method, params, headers=self._headers)))["result"]

    def exchange(self, message: bytes) -> bytes:
        """The reply to one request, not parsed; nothing else may be on its way but notifications."""
        self.write(message)
        received = bytearray()
        while True:
            received += self.read()
            if not received.endswith((b"\n", b"}")):
                continue
            reply = _reply_in_frames(received) if self._headers else _reply_in_lines(received)
            if reply is not None:
                return reply

    def seconds_of(self, message: bytes) -> float:
        """How long such an exchange takes."""
        begun = time.perf_counter()
        self.exchange(message)
        return time.perf_counter() - begun

    def settle(self) -> None:
        """Read what still comes, such as the notification behind the last reply."""
        while select.select([self], [], [], 0.02)[0]:
            self.read()

    def close(self) -> None:
        """End its input and read what it says to the end; one that goes on is killed."""
        deadline = time.monotonic() + END_SECONDS
        with suppress(OSError):
            self._stdin.close()
        while time.monotonic() < deadline and os.read(self._stdout.fileno(), 1 << 20):
            pass
        self._stdout.close()
        try:
            self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self.close()


class Server(Process):
    """Our server on a workspace."""

    def __init__(self, workspace: Path, *flags: str, headers: bool = False) -> None:
        super().__init__(server_command(workspace, *flags), workspace, headers=headers)

    def open_turn(self) -> str:
        """The id of a new streaming turn, in a session of its own."""
        session = self.request("session/create")["id"]
        response = self.request("round/create", sessionId=session, content="benchmark")["response"]["id"]
        return str(self.request("turn/create", responseId=response)["id"])

    def watched_turn(self) -> str:
        """A new turn that this connection follows."""
        turn = self.open_turn()
        self.request("turn/subscribe", turnId=turn)
        return turn


def _reply_in_lines(received: bytearray) -> bytes | None:
    """The reply among whole lines, the first of which may have lost its beginning; None while it is not there."""
    end = received.rfind(b"\n")
    lines = () if end < 0 else bytes(received[:end]).split(b"\n")
    return next((line for line in lines if _is_reply(line)), None)


def _reply_in_frames(received: bytearray) -> bytes | None:
    """The same in LSP's framing."""
    for header in _HEADER.finditer(received):
        body = bytes(received[header.end() : header.end() + int(header[1])])
        if len(body) == int(header[1]) and _is_reply(body):
            return body
    return None


def _is_reply(message: bytes) -> bool:
    beginning = message[:60].replace(b" ", b"")
    return beginning.startswith(b'{"') and b'"id":' in beginning


def environment(home: Path) -> dict[str, str]:
    """This process's, without settings of ours and with another home."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    return {**inherited, "HOME": str(home)}


def connected(workspace: Path) -> SyncClient:
    """The package's client, with a server of its own that is started as those that are measured."""
    return SyncClient(**_client_options(workspace))


def connected_in_loop(workspace: Path) -> Client:
    """The same for asyncio."""
    return Client(**_client_options(workspace))


def _client_options(workspace: Path) -> Options:
    return {"command": server_command(workspace), "environment": environment(workspace), "timeout": None}


def server_command(workspace: Path, *flags: str) -> list[str]:
    """The program as it is installed beside this Python."""
    script = Path(sys.executable).parent / "mandrake-sessions"
    start = [str(script)] if script.exists() else [sys.executable, "-m", "mandrake_sessions"]
    return [*start, "serve", "--workspace", str(workspace), *flags]


def request(message_id: int, method: str, params: dict[str, Any], *, headers: bool = False) -> bytes:
    message = json.dumps({"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(message), message) if headers else message + b"\n"


def appends(turn_id: str, count: int, *, headers: bool = False) -> list[bytes]:
    """So many requests to append a piece; those that are in flight together have ids of their own."""
    block = [
        request(1000 + number, "turn/append", {"turnId": turn_id, "content": PIECE}, headers=headers)
        for number in range(min(count, 1000))
    ]
    return list(islice(cycle(block), count))


def one_by_one(process: Process, messages: Sequence[bytes], marker: bytes, per_message: int) -> list[float]:
    """Seconds that each message took, until ``per_message`` markers had come and the last message was whole."""
    taken: list[float] = []
    deadline = time.perf_counter() + SLICE_SECONDS
    for message in messages:
        begun = time.perf_counter()
        if begun > deadline:
            break
        process.write(message)
        received = process.read()
        while received.count(marker) < per_message or not received.endswith((b"\n", b"}")):
            received += process.read()
        taken.append(time.perf_counter() - begun)
    return taken


def pipelined(process: Process, messages: Sequence[bytes], window: int = 64, marker: bytes = REPLY) -> float:
    """Messages a second, with up to ``window`` of them in flight."""
    counter = MarkerCounter(marker)
    sent = 0
    begun = time.perf_counter()
    while counter.count < len(messages):
        waiting = sent - counter.count
        if sent < len(messages) and waiting <= window // 2:
            if time.perf_counter() > begun + SLICE_SECONDS:
                messages = messages[:sent]
                continue
            upto = min(sent + window - waiting, len(messages))
            process.write(b"".join(messages[sent:upto]))
            sent = upto
        counter.add(process.read())
    taken = time.perf_counter() - begun
    process.settle()
    return len(messages) / taken


class MarkerCounter:
    """Counts a marker in a stream that comes in any pieces."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._tail = b""
        self.count = 0

    def add(self, data: bytes) -> int:
        """How many this piece of the stream completes."""
        joined = self._tail + data
        found = joined.count(self._marker)
        self.count += found
        # One byte less than the marker, so nothing is counted twice.
        self._tail = joined[-(len(self._marker) - 1) :] if len(self._marker) > 1 else b""
        return found

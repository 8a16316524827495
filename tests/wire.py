"""A client for tests of raw messages: the real process over real pipes, by lines or with headers.

For what ``strict.py``, the package's own client, cannot say: malformed messages, framings, several messages in one
write, bytes that nobody reads, the exact text of messages, processes that end in the middle. It forgets nothing that it
reads: ``Wire.close`` fails if a message was left unread, so a test that ends well has seen everything that was said.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import declared

Framing = Literal["lines", "headers"]
Message = dict[str, Any]

SERVER = (sys.executable, "-m", "mandrake_sessions")
TIMEOUT = 20.0
# A database with data, of the oldest schema that was released.
OLDEST_SCHEMA = Path(__file__).parent / "store" / "fixtures" / "schema-1.sqlite"


class Failed(AssertionError):
    """A request was answered with an error."""

    def __init__(self, method: str, error: Message) -> None:
        super().__init__(f"{method}: {error}")
        declared.check(method, error)
        self.error = error
        self.code = error["code"]
        self.data = error["data"]
        self.kind = error["data"]["kind"]


class Ended(AssertionError):
    """The server is gone, and what is waited for will not come."""


class Wire:
    """One server process and its client."""

    def __init__(
        self,
        workspace: Path,
        framing: Framing = "lines",
        *flags: str,
        environment: dict[str, str] | None = None,
        command: tuple[str, ...] = SERVER,
    ) -> None:
        self.framing = framing
        self._next_id = 0
        self._messages: queue.Queue[Any] = queue.Queue()
        self._kept: list[Any] = []
        self._let_be: set[str] = set()
        # Half a message, of a server that was killed while it wrote.
        self._cut_off = b""
        self.process = subprocess.Popen(
            [*command, "serve", *flags] if command == SERVER else [*command, *flags],
            cwd=workspace,
            env=clean_environment(workspace) | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._stderr: list[bytes] = []
        self._told: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_stderr, daemon=True).start()

    def send_bytes(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message: Any) -> None:
        """Send any JSON value as a message."""
        self.send_bytes(self.frame(json.dumps(message).encode()))

    def frame(self, body: bytes) -> bytes:
        return body + b"\n" if self.framing == "lines" else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    def post(self, method: str, **params: Any) -> int:
        """Send a request; gives its id."""
        self._next_id += 1
        self.send({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params})
        return self._next_id

    def notify(self, method: str, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method: str, **params: Any) -> Any:
        """Send a request and wait for its result. Raises Failed for an error."""
        return self.result(self.post(method, **params), method)

    def result(self, message_id: Any, method: str = "") -> Any:
        """The result of a request that was sent before. Raises Failed."""
        answer = self.answer(message_id)
        if "error" in answer:
            raise Failed(method, answer["error"])
        return answer["result"]

    def answer(self, message_id: Any) -> Message:
        """The answer to a request, whatever else comes before it."""
        answer: Message = self.wait_for(
            lambda m: isinstance(m, dict) and "method" not in m and m.get("id") == message_id
        )
        return answer

    def error(self, method: str, **params: Any) -> Message:
        """Send a request that must fail; gives its error."""
        try:
            result = self.request(method, **params)
        except Failed as failed:
            return failed.error
        raise AssertionError(f"{method} {params} should have failed, and gave {result}")

    def notification(self, method: str = "turn/updated") -> Message:
        """The params of the next notification of that method."""
        params: Message = self.wait_for(lambda m: isinstance(m, dict) and m.get("method") == method)["params"]
        return params

    def notifications_until(self, seq: int, method: str = "turn/updated") -> list[Message]:
        """Those up to and with a seq."""
        found: list[Message] = []
        while not found or found[-1]["seq"] < seq:
            found.append(self.notification(method))
        return found

    def notifications_before(self, message_id: Any) -> list[Message]:
        """All that have come before the answer to a request, whatever their method; it must be no error."""
        self.result(message_id)
        found: list[Message] = []
        kept: list[Any] = []
        for message in self._kept:
            (found if isinstance(message, dict) and "method" in message else kept).append(message)
        self._kept = kept
        return found

    def next_message(self) -> Any:
        """The next message of any kind."""
        return self.wait_for(lambda _: True)

    def wait_for(self, wanted: Callable[[Any], bool], timeout: float = TIMEOUT) -> Any:
        """The first message that is wanted; others are kept for later."""
        for position, message in enumerate(self._kept):
            if wanted(message):
                return self._kept.pop(position)
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"nothing came; kept {self._kept}; stderr {self.stderr}") from None
            if message is None:
                self._messages.put(None)
                raise Ended(f"the server ended; kept {self._kept}; stderr {self.stderr}")
            if wanted(message):
                return message
            self._kept.append(message)

    def wait_for_log(self, text: str) -> None:
        """Wait until the text stands in ``log``: stderr is read beside stdout, so it may come later than an answer."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} never came; log {self.log}"
            time.sleep(0.01)

    def initialize(self, **params: Any) -> Message:
        given = {"processId": os.getpid(), "rootUri": None, "capabilities": {}} | params
        result: Message = self.request("initialize", **given)
        self.notify("initialized")
        return result

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        """End the input; all must have been read, and the server must end well."""
        if self.process.poll() is None:
            self.end_input()
            assert self.process.wait(TIMEOUT) == 0, self.stderr
        left = self.unread()
        assert not self._cut_off, "the last message has no end"
        assert not left, f"{len(left)} messages were left unread: {left[:5]}"

    def unread(self) -> list[Any]:
        """What has come and nobody asked for, once the server has ended."""
        self.end_input()
        left = list(self._kept)
        while (message := self._messages.get(timeout=TIMEOUT)) is not None:
            left.append(message)
        self._messages.put(None)
        return [
            message for message in left if not (isinstance(message, dict) and message.get("method") in self._let_be)
        ]

    def let_be(self, method: str) -> None:
        """Notifications of this method may be left unread: how many come is not what the test is about."""
        self._let_be.add(method)

    def forget(self) -> None:
        """What ``unread`` gave has been looked at."""
        self._kept.clear()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        with suppress(BrokenPipeError):
            self.end_input()

    @property
    def stderr(self) -> str:
        return b"".join(self._stderr).decode(errors="replace")

    @property
    def log(self) -> str:
        """All that an editor's log would hold: stderr, then a line for each ``window/logMessage`` that has come."""
        return self.stderr + "".join(f"{line}\n" for line in self._told)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for body in _bodies(stream, self.framing):
                if self.framing == "lines" and not body.endswith(b"\n"):
                    self._cut_off = body
                    break
                message = json.loads(body)
                if isinstance(message, dict) and message.get("method") == "window/logMessage":
                    level = {1: "ERROR", 2: "WARNING"}[message["params"]["type"]]
                    self._told.append(f"{level} {message['params']['message']}")
                self._messages.put(message)
        self._messages.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self._stderr.extend(iter(lambda: stream.read1(65536), b""))  # type: ignore[attr-defined]


def _bodies(stream: Any, framing: Framing) -> Iterator[bytes]:
    if framing == "lines":
        yield from stream
        return
    while header := stream.readline():
        name, _, value = header.partition(b":")
        assert name == b"Content-Length", header
        assert stream.readline() == b"\r\n"
        yield stream.read(int(value))


def clean_environment(home: Path) -> dict[str, str]:
    """An environment in which nothing of the user's is seen: home is where the test works."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MANDRAKE")}
    return kept | {"HOME": str(home / "home"), "MANDRAKE_HOME": str(home / "home" / ".mandrake")}


@contextmanager
def serving(workspace: Path, framing: Framing = "lines", *flags: str, **options: Any) -> Iterator[Wire]:
    """A server for the block. It must end well and leave no message unread; killed if the block fails."""
    wire = Wire(workspace, framing, *flags, **options)
    try:
        yield wire
    except BaseException:
        wire.kill()
        raise
    wire.close()


def store_of(workspace: Path) -> Path:
    """The database of a workspace."""
    return workspace / ".ws" / "db.sqlite"


def run_script(workspace: Path, *lines: str | bytes | Message, flags: tuple[str, ...] = ()) -> list[Any]:
    """Run a whole program over a pipe; gives every message that it printed."""
    data = b"".join(
        (json.dumps(line) if isinstance(line, dict) else line).encode() + b"\n" if not isinstance(line, bytes) else line
        for line in lines
    )
    done = subprocess.run(
        [*SERVER, *flags],
        input=data,
        capture_output=True,
        cwd=workspace,
        env=clean_environment(workspace),
        timeout=TIMEOUT * 2,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


class Conversation:
    """A session with a round, ready for turns."""

    def __init__(self, wire: Wire, **session: Any) -> None:
        self.wire = wire
        self.session = wire.request("session/create", **session)["id"]
        made = wire.request("round/create", sessionId=self.session, content="What is in here?")
        self.round, self.request, self.response = (made[name]["id"] for name in ("round", "request", "response"))

    def turn(self, **params: Any) -> str:
        turn_id: str = self.wire.request("turn/create", responseId=self.response, **params)["id"]
        return turn_id


def apply_update(turns: dict[str, Message], params: Message) -> None:
    """Apply a ``turn/updated`` to a client's state, as the protocol describes it."""
    turn_id, kind = params["turnId"], params["kind"]
    if kind == "created":
        turns[turn_id] = params["turn"]
    elif kind == "deleted":
        turns.pop(turn_id, None)
    elif kind in ("roundDeleted", "sessionDeleted"):
        _check_ids_of_deletion(params)
    elif (turn := turns.get(turn_id)) is not None:
        if params["seq"] <= turn["seq"]:
            return
        turn["seq"] = params["seq"]
        if kind == "appended":
            for text in ("content", "rawResponse"):
                if text in params and text in turn:
                    turn[text] += params[text]
            for count in ("currentTokens", "outputTokens"):
                turn[count] = params.get(count, turn[count])
            turn["chunkCount"] = params["lastChunk"] + 1
        elif kind == "updated":
            turn.update(params["changes"])
        elif kind == "toolCallUpdated":
            _upsert(turn["toolCalls"], params["toolCall"])
            turn.update(params["changes"])
        else:
            assert kind == "toolCallDeleted", params
            turn["toolCalls"] = [call for call in turn["toolCalls"] if call["id"] != params["toolCallId"]]
            turn.update(params["changes"])


def _check_ids_of_deletion(params: Message) -> None:
    """A round or session that is gone: all below it is null. Which turns were in it is for the client to know."""
    below = ["responseId", "turnId", "index", "status"] + ["roundId"] * (params["kind"] == "sessionDeleted")
    assert [params[name] for name in below] == [None] * len(below), params


def _upsert(calls: list[Message], call: Message) -> None:
    for position, known in enumerate(calls):
        if known["id"] == call["id"]:
            calls[position] = call
            return
    calls.append(call)

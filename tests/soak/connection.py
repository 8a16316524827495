"""One server process and its client by lines, which holds that every request is answered exactly once."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from soak.world import PATIENCE, Message, World


class Gone(Exception):
    """The process ended before it answered."""


class Refused(Exception):
    """A request was answered with an error."""

    def __init__(self, method: str, error: Message) -> None:
        super().__init__(f"{method}: {json.dumps(error)[:600]}")
        self.kind: str = error.get("data", {}).get("kind", "?")
        self.reason: str | None = error.get("data", {}).get("reason")


@define(eq=False)
class Call:
    method: str
    params: Message
    # Called by the reader with the result, before anything that comes after it is looked at.
    then: Callable[[Message], None] | None = None
    id: int = 0
    answer: Message | None = None
    is_lost: bool = False
    done: threading.Event = field(factory=threading.Event)


KINDS = {
    "parse", "invalidRequest", "tooLarge", "methodNotFound", "invalidParams", "cancelled", "notFound", "conflict",
    "busy", "storage", "workspaceNotFound",
}  # fmt: skip


class Connection:
    def __init__(self, world: World, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.world, self.name = world, name
        # Subscriptions of this connection: what takes a notification. An id maps to None once it was unsubscribed.
        self.listeners: dict[str, Callable[[str, Message], None] | None] = {}
        self.rejected: list[Message] = []
        self.may_read = threading.Event()
        self.may_read.set()
        self.has_ended = threading.Event()
        self.has_spoken = False
        # It was told to end: what it streamed becomes interrupted, by its own hand.
        self.is_ending = False
        self._calls: dict[int, Call] = {}
        self._next_id = 0
        self._nameless = 0
        self._lock = threading.Lock()
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(command, cwd=world.workspace, env=environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=stderr)  # fmt: skip
        self._reader = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._reader.start()

    @property
    def is_dead(self) -> bool:
        """So its turns may be interrupted."""
        return self.is_ending or self.process.poll() is not None

    def call(self, method: str, **params: Any) -> Any:
        """Raises Gone, Refused."""
        (call,) = self.send([Call(method, params)])
        return self.result(call)

    def send(self, calls: list[Call], told: list[Message] = [], raw: bytes = b"", nameless: int = 0) -> list[Call]:  # noqa: B006
        """Notifications ``told`` and then the calls, in one write; or raw bytes, of which ``nameless`` messages are
        answered with the id null. Raises Gone."""
        with self._lock:
            for call in calls:
                self._next_id += 1
                call.id = self._next_id
                self._calls[call.id] = call
            self._nameless += nameless
            for message in told:
                self.world.trace(self.name, None, message)
            for call in calls:
                self.world.trace(self.name, call.id, {"method": call.method, "params": call.params})
            lines = [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in told]
            lines += [
                json.dumps({"jsonrpc": "2.0", "id": call.id, "method": call.method, "params": call.params}).encode()
                for call in calls
            ]
            data = raw + b"".join(line + b"\n" for line in lines)
            try:
                assert self.process.stdin is not None
                self.process.stdin.write(data)
                self.process.stdin.flush()
            except (OSError, ValueError):
                for call in calls:
                    self._calls.pop(call.id, None)
                raise Gone from None
        self.world.count("requests", len(calls))
        return calls

    def result(self, call: Call) -> Any:
        """Raises Gone, Refused."""
        deadline = time.monotonic() + PATIENCE * 2
        while not call.done.wait(1.0):
            if time.monotonic() > deadline and self.may_read.is_set():
                self.world.fault(f"{self.name}: {call.method} {str(call.params)[:200]} was never answered")
                raise Gone
        if call.answer is None:
            raise Gone
        if "error" in call.answer:
            raise Refused(call.method, call.answer["error"])
        return call.answer["result"]

    def end(self) -> int | None:
        """Close the input, and wait for the process. All that was asked must have been answered."""
        self.may_read.set()
        with suppress(OSError), self._lock:
            assert self.process.stdin is not None
            self.process.stdin.close()
        code = self.wait()
        if code == 0 and (lost := [call for call in self._calls.values() if call.is_lost]):
            self.world.fault(f"{self.name}: ended with {len(lost)} unanswered, as {lost[0].method}")
        if code == 0 and self._nameless > 0:
            self.world.fault(f"{self.name}: {self._nameless} broken messages were not answered")
        return code

    def wait(self, timeout: float = PATIENCE) -> int | None:
        """The exit code, once all that it wrote was read; None if it does not end."""
        self.may_read.set()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(PATIENCE)
        with suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        return code

    def kill(self) -> None:
        self.is_ending = True
        self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.may_read.wait()
                if not line.endswith(b"\n"):
                    break
                try:
                    self._take(json.loads(line))
                except Exception as error:
                    self.world.fault(f"{self.name}: {type(error).__name__}: {error} at {line[:300]!r}")
        with self._lock:
            self._lose()

    def _lose(self) -> None:
        self.has_ended.set()
        for call in list(self._calls.values()):
            if not call.done.is_set():
                call.is_lost = True
                call.done.set()

    def _take(self, message: Message) -> None:
        self.has_spoken = True
        if message.get("method") not in ("turn/updated", "session/updated"):
            self.world.trace(self.name, "<", message)
        self.world.count("messages")
        if "method" in message:
            self._told(message["method"], message["params"])
            return
        if message["id"] is None:
            self._nameless -= 1
            if self._nameless < 0:
                self.world.fault(f"{self.name}: an answer to nobody: {str(message)[:300]}")
            return
        call = self._calls.pop(message["id"], None)
        if call is None:
            self.world.fault(f"{self.name}: a second answer, or one to nothing: {str(message)[:300]}")
            return
        if ("error" in message) == ("result" in message):
            self.world.fault(f"{self.name}: no answer: {str(message)[:300]}")
        elif "error" in message and message["error"].get("data", {}).get("kind") not in KINDS:
            self.world.fault(f"{self.name}: {call.method} {str(call.params)[:300]}: {str(message['error'])[:600]}")
        call.answer = message
        if call.then is not None and "result" in message:
            call.then(message["result"])
        call.done.set()

    def _told(self, method: str, params: Message) -> None:
        if method == "turn/rejected":
            self.rejected.append(params)
        elif (name := params.get("subscriptionId")) is not None:
            if name not in self.listeners:
                self.world.fault(f"{self.name}: told of a subscription that nobody made: {str(params)[:300]}")
            elif (listener := self.listeners[name]) is None:
                self.world.fault(f"{self.name}: told after the reply to an unsubscribe: {str(params)[:300]}")
            else:
                listener(method, params)
        elif method not in ("server/healthChanged", "window/logMessage"):
            self.world.fault(f"{self.name}: {method} is no notification of the contract")

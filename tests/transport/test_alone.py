"""The transport without a server: an echo peer and a proxy before it, as processes over pipes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from mandrake_sessions.limits import MAX_PENDING_BYTES
from mandrake_sessions.transport.outbound import HIGH_WATER
from wire import TIMEOUT, Framing, serving

ECHO = (sys.executable, str(Path(__file__).with_name("echo.py")))
PROXY = (sys.executable, str(Path(__file__).with_name("proxy.py")))
PIECE = "x" * 50_000
MAX_MESSAGE_BYTES = 1 << 20
# What the pipes hold, and what a reader has taken from one and not counted yet.
PIPES = 4 * 64 * 1024
QUIET_SECONDS = 1.0


@pytest.fixture(params=["echo", "proxy"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """The echo peer itself, and one behind a proxy."""
    return ECHO if request.param == "echo" else (*PROXY, str(tmp_path / "record"), *ECHO)


def test_what_is_sent_comes_back(command: tuple[str, ...], workspace: Path, framing: Framing) -> None:
    with serving(workspace, framing, command=command) as wire:
        given: tuple[dict[str, Any], ...] = ({"text": "línea\u2028\n", "n": 2**70, "x": 1.0}, {"deep": [[[{}]]]}, {})
        for params in given:
            assert wire.request("say", **params) == params
        wire.notify("heard by nobody")
        assert wire.request("say", after="it") == {"after": "it"}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":', -32700),
        (b'{"jsonrpc":"2.0","id":7,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":7,"method":"say","params":{"x":"' + b"y" * MAX_MESSAGE_BYTES + b'"}}', -32600),
    ],
    ids=["no JSON", "no message", "too long"],
)
def test_a_broken_message_is_answered_and_the_next_is_read(
    command: tuple[str, ...], workspace: Path, framing: Framing, broken: bytes, code: int
) -> None:
    with serving(workspace, framing, command=command) as wire:
        wire.send_bytes(wire.frame(broken))
        refused = wire.next_message()
        assert (refused["id"], refused["error"]["code"]) == (7, code)
        assert wire.request("say", n=1) == {"n": 1}


def test_nothing_is_read_from_a_peer_that_does_not_read(command: tuple[str, ...]) -> None:
    """What the process takes has a bound, and none of it is lost."""
    processes = 1 if command == ECHO else 2
    # Each way through a process: a full queue, one message too many, and what is on its way to and from it.
    bound = processes * 2 * (HIGH_WATER + MAX_PENDING_BYTES + PIPES)
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests = _requests()
        taken, rest = _write_until_held(process.stdin.fileno(), requests, bound)
        assert HIGH_WATER < taken < bound
        answers: list[bytes] = []
        reader = threading.Thread(target=lambda: answers.extend(process.stdout))  # type: ignore[arg-type]
        reader.start()
        os.set_blocking(process.stdin.fileno(), True)
        process.stdin.write(rest)
        process.stdin.close()
        reader.join(TIMEOUT)
        assert process.wait(TIMEOUT) == 0
    sent = json.loads(next(requests))["id"] - 1
    assert [json.loads(answer)["result"]["number"] for answer in answers] == list(range(sent))


def _requests() -> Iterator[bytes]:
    for number in count():
        params = {"number": number, "text": PIECE}
        yield json.dumps({"jsonrpc": "2.0", "id": number + 1, "method": "say", "params": params}).encode() + b"\n"


def _write_until_held(fd: int, requests: Iterator[bytes], bound: int) -> tuple[int, bytes]:
    """Write until nothing is taken for a while, or beyond the bound: how much that was, and the rest of a request."""
    os.set_blocking(fd, False)
    taken, rest = 0, next(requests)
    # The process may start slowly.
    while taken < bound and select.select((), (fd,), (), TIMEOUT if taken < HIGH_WATER else QUIET_SECONDS)[1]:
        written = os.write(fd, rest)
        taken += written
        rest = rest[written:] or next(requests)
    return taken, rest


def test_a_proxy_records_both_sides_in_order(workspace: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    with serving(workspace, "headers", command=(*PROXY, str(record), *ECHO)) as wire:
        wire.request("say", n=1)
        wire.send_bytes(wire.frame(b"{"))
        assert wire.next_message()["error"]["code"] == -32700
        wire.request("say", n=2)
    found = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(line["from"], line["message"].get("params", line["message"].get("result"))) for line in found] == [
        ("client", {"n": 1}),
        ("agent", {"n": 1}),
        ("client", {"n": 2}),
        ("agent", {"n": 2}),
    ]


def test_it_loads_neither_a_store_nor_a_server(workspace: Path) -> None:
    with serving(workspace, command=ECHO) as wire:
        modules = wire.request("modules")
    assert "mandrake_sessions.transport.channel" in modules
    layers = {name.split(".")[1] for name in modules if "." in name}
    assert not layers & {"store", "manager", "operations", "protocol", "handlers", "connection", "model", "settings"}

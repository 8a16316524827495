"""What stdout may be: whatever it is, all answers arrive on it in order, or the exit code says that they did not."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from wire import SERVER, TIMEOUT, clean_environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")

REQUESTS = 60
# Together many times what a pipe holds.
TITLE = "é" * 10_000
LONG = "x" * 3_000_000


def requests() -> bytes:
    """Short answers, long ones, and some that are kept in a file while they wait."""
    sent = [
        {"jsonrpc": "2.0", "id": n, "method": "session/create", "params": {"title": TITLE, "metadata": {"n": n}}}
        for n in range(REQUESTS)
    ]
    for n in (10, 20, 30):
        sent[n]["params"] = {"title": "long", "metadata": {"text": LONG}}
    return b"".join(json.dumps(message).encode() + b"\n" for message in sent)


def begin(workspace: Path, stdout: Any) -> subprocess.Popen[bytes]:
    (workspace / "in").write_bytes(requests())
    with (workspace / "in").open("rb") as given:
        return subprocess.Popen(
            [*SERVER, "serve"], cwd=workspace, env=clean_environment(workspace), stdin=given, stdout=stdout,
            stderr=subprocess.PIPE,
        )  # fmt: skip


def pipe(*, blocks: bool) -> tuple[IO[bytes], int]:
    """The end that is read, and the one that a server writes to."""
    reader, writer = os.pipe()
    os.set_blocking(writer, blocks)
    return os.fdopen(reader, "rb"), writer


def sockets(*, blocks: bool) -> tuple[IO[bytes], int]:
    reader, writer = socket.socketpair()
    writer.setblocking(blocks)
    with reader:
        return reader.makefile("rb"), writer.detach()


@pytest.mark.parametrize("kind", [pipe, sockets])
@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "does not block"])
def test_a_slow_reader_gets_every_answer(workspace: Path, kind: Callable[..., Any], blocks: bool) -> None:
    """O_NONBLOCK belongs to whoever opened it: others set it, and a full pipe is an error then."""
    reader, writer = kind(blocks=blocks)
    process = begin(workspace, writer)
    was_blocking = bool(fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK) is not blocks
    os.close(writer)
    time.sleep(1)
    with reader:
        answers = [json.loads(line) for line in reader]
    assert process.wait(TIMEOUT) == 0
    assert was_blocking, "the server changed what others share with it"
    assert [answer["id"] for answer in answers] == list(range(REQUESTS))
    assert all("result" in answer for answer in answers)
    assert answers[10]["result"]["metadata"] == {"text": LONG}
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_the_exit_code_reports_a_full_output(workspace: Path) -> None:
    """What was received is carried out: the answers are lost, the sessions are not."""
    with Path("/dev/full").open("wb") as full:
        process = begin(workspace, full)
    _, told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 74
    assert "No space left on device" in told.decode()
    assert "Traceback" not in told.decode()
    asked = b'{"jsonrpc": "2.0", "id": 1, "method": "session/list", "params": {"limit": 1000}}\n'
    done = subprocess.run(
        [*SERVER, "serve"], cwd=workspace, env=clean_environment(workspace), input=asked, capture_output=True,
        timeout=TIMEOUT, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["result"]["sessions"], "nothing was carried out"


def test_an_output_that_is_closed_early_is_an_end_like_any_other(workspace: Path) -> None:
    reader, writer = pipe(blocks=True)
    process = begin(workspace, writer)
    os.close(writer)
    assert json.loads(reader.readline())["id"] == 0
    reader.close()
    _, told = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, b"Traceback" in told) == (0, False)

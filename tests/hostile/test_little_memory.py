"""With little address space: each request is answered once, the connection goes on, and the process ends well.

There may be no memory for the large requests. They come in many reads, so it mostly ends in the middle of one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from mandrake_sessions.transport.framing import Frame, Framer, HeaderFramer, LineFramer, NoMemory
from wire import Framing, clean_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the address space is not limited this way")

Input = Literal["lines", "headers", "file"]
TURN = "01890a5d-ac96-774b-bcce-b302099a8057"
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "first": ("session/list", {}),
    "small": ("session/create", {}),
    "values": ("session/create", {"metadata": {"a": ["xx"] * 200_000}}),
    "metadata": ("session/create", {"metadata": {"a": "é" * 7_000_000}}),
    "text": ("turn/append", {"turnId": TURN, "content": "x" * 30_000_000}),
    "read": ("session/list", {}),
    "last": ("session/create", {}),
}

# The server itself, in an address space of so many megabytes.
_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 20,) * 2)
sys.argv = ["mandrake-sessions", "serve"]
runpy.run_module("mandrake_sessions", run_name="__main__")
"""


def framed(framing: Framing, message: Any) -> bytes:
    body = json.dumps(message).encode()
    return body + b"\n" if framing == "lines" else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def messages(output: bytes) -> list[Any]:
    return [json.loads(part) for part in re.split(rb"\n|Content-Length: \d+\r\n\r\n", output) if part.strip()]


@pytest.mark.parametrize("megabytes", [120, 200, 280, 400])
@pytest.mark.parametrize("given", ["lines", "headers", "file"])
def test_each_request_is_answered_once_and_the_process_ends(workspace: Path, given: Input, megabytes: int) -> None:
    sent = b"".join(
        framed("headers" if given == "headers" else "lines", {"jsonrpc": "2.0", "id": name, "method": m, "params": p})
        for name, (m, p) in REQUESTS.items()
    )
    command = [sys.executable, "-c", _LIMITED, str(megabytes)]
    options: dict[str, Any] = {"cwd": workspace, "env": clean_environment(workspace), "timeout": 60}
    if given == "file":
        (workspace / "input").write_bytes(sent)
        with (workspace / "input").open("rb") as file:
            ended = subprocess.run(command, stdin=file, capture_output=True, check=False, **options)
    else:
        ended = subprocess.run(command, input=sent, capture_output=True, check=False, **options)
    assert ended.returncode == 0, ended.stderr[-2000:]
    answers = [message for message in messages(ended.stdout) if "method" not in message]
    assert sorted(answer["id"] for answer in answers) == sorted(REQUESTS)
    assert "result" in answers[[answer["id"] for answer in answers].index("first")]


@pytest.mark.parametrize("framing", ["lines", "headers"])
def test_a_message_that_is_dropped_becomes_no_room_and_the_next_is_read(framing: Framing) -> None:
    framer: Framer = LineFramer(1 << 20) if framing == "lines" else HeaderFramer(1 << 20)
    first, large, last = ({"id": name, "text": "x" * size} for name, size in (("a", 5), ("b", 50_000), ("c", 5)))
    stream = b"".join(framed(framing, message) for message in (first, large, last))
    found: list[Frame] = []
    assert not framer.drop()
    for begin in range(0, len(stream), 1000):
        found += framer.feed(stream[begin : begin + 1000])
        if begin == 20_000:
            assert framer.drop()
            assert not framer.drop() or framing == "headers"
    found += framer.finish()
    assert [json.loads(frame) if isinstance(frame, bytes) else type(frame) for frame in found] == [
        first,
        NoMemory,
        last,
    ]
    (dropped,) = (frame for frame in found if isinstance(frame, NoMemory))
    assert dropped.prefix.startswith(b'{"id": "b"')

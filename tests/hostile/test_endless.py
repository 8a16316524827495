"""Input that never comes to an end of anything: memory stays bounded, and what follows is carried out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hostile.memory import MIB, needs_proc, peak
from wire import Framing, serving

FLAGS = ("--max-message-bytes", str(MIB))
ENDLESS = 100 * MIB
# One message of the greatest size, a few times over.
MAY_GROW = 16 * MIB
PING = json.dumps({"jsonrpc": "2.0", "id": "ping", "method": "server/health"}).encode()

INPUT: dict[str, tuple[Framing, bytes, bytes, bytes, int | None]] = {
    # The framing, how it begins, what is repeated, how it ends, and how many errors it is.
    "a line": ("lines", b'{"id":1,"a":"', b"x", b"\n", 1),
    "a line of brackets": ("lines", b"", b"[", b"\n", 1),
    "a line of NULs": ("lines", b"", b"\0", b"\n", 1),
    "blanks before a message": ("lines", b"", b" \t\r", b"", 0),
    "blank lines": ("lines", b"", b" " * 200 + b"\r\n", b"", 0),
    "a body": ("headers", b"Content-Length: %d\r\n\r\n" % ENDLESS, b"{", b"", 1),
    "a header line": ("headers", b"X: ", b"x", b"\r\n\r\n", 1),
    "a header line after a length": ("headers", b"Content-Length: 5\r\nX: ", b"x", b"\r\n\r\n", 1),
    "a length": ("headers", b"Content-Length: ", b"9", b"\r\n\r\n", 1),
    "header lines": ("headers", b"", b"X-Header: " + b"v" * 200 + b"\r\n", b"\r\n", 1),
    "blanks before a header": ("headers", b"", b"\r\n \t\r\n", b"", 0),
    "header blocks that are of no use": ("headers", b"", b"X: " + b"y" * 200 + b"\r\n\r\n", b"", 1),
    "lengths without a blank line": ("headers", b"", b"Content-Length: 5\r\n" * 10, b"\r\n\r\n1234\n", None),
}


@needs_proc
@pytest.mark.parametrize("name", INPUT)
def test_endless(workspace: Path, name: str) -> None:
    framing, begins, repeated, ends, errors = INPUT[name]
    with serving(workspace, framing, *FLAGS) as wire:
        wire.request("server/health")
        before = peak(wire.process)
        part = repeated * (MIB // len(repeated))
        wire.send_bytes(begins)
        for _ in range(ENDLESS // len(part)):
            wire.send_bytes(part)
        wire.send_bytes(ends + wire.frame(PING))
        if errors is None:
            # How many blocks that is depends on where the bound falls in them.
            while "error" in (answer := wire.next_message()):
                assert answer["id"] is None
            assert answer["id"] == "ping"
        else:
            for _ in range(errors):
                assert wire.next_message()["error"]["data"]["kind"] in ("parse", "tooLarge")
            assert wire.answer("ping")["result"]["status"]
        assert peak(wire.process) - before < MAY_GROW

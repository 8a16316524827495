"""How much memory a server holds, as Linux counts it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from wire import Wire

MIB = 1024 * 1024

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells of it in /proc")


def keep_rules(wire: Wire) -> None:
    """The rules for secrets stay in memory once they are used; docs/limits.md says so."""
    session = wire.request("session/create", title="A title that is long enough to look at")["id"]
    wire.request("session/export", sessionId=session, format="markdown")
    wire.request("session/delete", sessionId=session)


def resident(process: subprocess.Popen[bytes]) -> int:
    """Bytes that it holds now."""
    return _status(process, "VmRSS")


def peak(process: subprocess.Popen[bytes]) -> int:
    """The most bytes that it has held so far."""
    return _status(process, "VmHWM")


def _status(process: subprocess.Popen[bytes], name: str) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) * 1024

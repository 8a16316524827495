"""Starts and ends the agent's process for the watcher."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

# `-P` keeps the current directory out of the import path: a workspace may hold a json.py of its own.
AGENT = (sys.executable, "-P", "-m", "mandrake_sessions.demo.agent")
END_SECONDS = 5.0


class AgentProcess:
    """``log``: the file for its stderr."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log

    def failure(self) -> str | None:
        """Why it ended, with the last line of its stderr; None while it runs, and if it ended well."""
        code = self._process.poll()
        return f"the agent ended with {code}: {self._last_line() or 'it said nothing'}" if code else None

    def _last_line(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip().rpartition("\n")[2]


@asynccontextmanager
async def started_agent(workspace: Path, session_id: str, speed: float) -> AsyncIterator[AgentProcess]:
    """The agent's process, for the block. It has ended when the block is left; if all went well, by itself."""
    command = [*AGENT, "--workspace", str(workspace), "--session", session_id, "--speed", str(speed)]
    with tempfile.TemporaryFile() as log:
        # A process group of its own, so that Ctrl-C reaches only the watcher, which ends the others in order.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, process_group=0
        )
        try:
            yield AgentProcess(process, log)
        finally:
            await asyncio.to_thread(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the agent's input. It then stops, and stores that it was stopped."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""The proxy as a process, its agent, and its recorder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wire import SERVER, clean_environment

TIMEOUT = 60.0
AGENT = (sys.executable, "-S", str(Path(__file__).with_name("agent.py")))
LINUX = sys.platform == "linux"


class Proxy:
    """Its streams are pipes to the test, if ``options`` do not say otherwise. ``err`` grows as it comes."""

    def __init__(self, workspace: Path, *words: str, flags: tuple[str, ...] = (), **options: Any) -> None:
        environment = clean_environment(workspace) | options.pop("environment", {})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        agent = options.pop("agent", AGENT)
        self.process = subprocess.Popen(
            [*options.pop("before", ()), *SERVER, "acp", *flags, "--", *agent, *words],
            cwd=workspace, env=environment, bufsize=0, **(pipes | options),
        )  # fmt: skip
        self._err: list[bytes] = []
        self._reader = threading.Thread(target=self._read_err, daemon=True)
        self._reader.start()

    @property
    def err(self) -> str:
        return b"".join(self._err).decode()

    def _read_err(self) -> None:
        if self.process.stderr is not None:
            with self.process.stderr as stderr:
                while piece := os.read(stderr.fileno(), 65536):
                    self._err.append(piece)

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        while data:
            data = data[os.write(self.process.stdin.fileno(), data) :]

    def finish_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def receive(self, most: int = 65536) -> bytes:
        assert self.process.stdout is not None
        return os.read(self.process.stdout.fileno(), most)

    def line(self) -> bytes:
        got = b""
        while not got.endswith(b"\n") and (more := self.receive(1)):
            got += more
        return got

    def rest(self) -> bytes:
        got = []
        while piece := self.receive():
            got.append(piece)
        return b"".join(got)

    def close_output(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait(self) -> int:
        code = self.process.wait(TIMEOUT)
        self.join()
        assert "Traceback" not in self.err, self.err
        return code

    def join(self) -> None:
        """Until nobody can write to its stderr any more."""
        self._reader.join(TIMEOUT)
        assert not self._reader.is_alive()

    def recorder(self) -> int:
        """The id of its recorder; Linux alone tells it."""
        return until(lambda: next(iter(_children(self.process.pid, b"recorder_process")), 0))

    def agent(self) -> int:
        return until(lambda: next(iter(_children(self.process.pid, b"agent.py")), 0))


def _children(parent: int, word: bytes) -> Iterator[int]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                above = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
                if above == parent and word in (directory / "cmdline").read_bytes():
                    yield int(directory.name)


@contextmanager
def proxy(workspace: Path, *words: str, **options: Any) -> Iterator[Proxy]:
    """A proxy for the block; what is left of it afterwards is killed, its agent too."""
    made = Proxy(workspace, *words, **options)
    agents: list[int] = []
    try:
        yield made
    finally:
        if made.process.poll() is None:
            agents = list(_children(made.process.pid, b"agent.py")) if LINUX else []
            made.process.kill()
        made.process.wait(TIMEOUT)
        for pid in agents:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        made.join()
        for stream in (made.process.stdin, made.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def until(found: Callable[[], int]) -> int:
    """What is found, once it is more than nothing."""
    deadline = time.monotonic() + TIMEOUT
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # One that nobody has waited for, such as ours, is there by its number alone.
    return LINUX and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

"""What the proxy ``acp`` adds: an agent beside itself behind the proxy, which records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.driver import environment
from benchmarks.report import Options, Row, at_least, at_most, median, megabytes, milliseconds

REQUESTS = 1000
FLOOD_BYTES = 200_000_000
_WARM = 20
PROXY = (sys.executable, "-m", "mandrake_sessions", "acp", "--")
# It answers each line, and under a prompt it makes so many bytes of updates, each by itself, as agents do.
AGENT = """
import json, os, sys
def tell(**message): os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\\n")
def update(text):
    content = {"type": "text", "text": text}
    tell(method="session/update", params={"sessionId": "s", "update": {
        "sessionUpdate": "agent_message_chunk", "content": content}})
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        tell(id=message["id"], result={"protocolVersion": 1, "agentInfo": {"name": "bench", "version": "1"}})
    elif message["method"] == "session/new":
        tell(id=message["id"], result={"sessionId": "s"})
    elif message["method"] == "session/prompt":
        for _ in range(int(sys.argv[1]) // 1100):
            update("x" * 1000)
        tell(id=message["id"], result={"stopReason": "end_turn"})
    else:
        tell(id=message["id"], result={})
"""


def run(options: Options) -> list[Row]:
    found: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
    for _ in range(options.rounds):
        for name, before in (("bare", ()), ("ours", PROXY)):
            found[name].append(_measured(before, options.directory))
    (answer, flood), (our_answer, our_flood) = (
        (median([each[0] for each in found[name]]), median([each[1] for each in found[name]]))
        for name in ("bare", "ours")
    )
    return [
        Row("acp, a small request and its answer", milliseconds(our_answer), f"the agent alone: {milliseconds(answer)}",
            (our_answer - answer) * 1000, at_most(1, "ms")),
        Row(f"acp, an agent that floods {megabytes(FLOOD_BYTES)} in pieces of 1 kB", f"{megabytes(our_flood)}/s",
            f"the agent alone: {megabytes(flood)}/s", our_flood / flood, at_least(0.95)),
    ]  # fmt: skip


class _Client:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self._id = 0

    def ask(self, method: str, **params: Any) -> int:
        """Gives how many bytes came until the answer."""
        self._id += 1
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        self._stdin.write(json.dumps(message).encode() + b"\n")
        self._stdin.flush()
        size = 0
        for line in self._stdout:
            size += len(line)
            if json.loads(line).get("id") == self._id:
                return size
        raise RuntimeError("the agent has ended")


@contextmanager
def _client(before: Sequence[str], directory: Path) -> Iterator[_Client]:
    command = (*before, sys.executable, "-c", AGENT, str(FLOOD_BYTES))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          cwd=directory, env=environment(directory)) as process:  # fmt: skip
        client = _Client(process)
        client.ask("initialize", protocolVersion=1)
        client.ask("session/new", cwd=os.fspath(directory.resolve()), mcpServers=[])
        yield client
        assert process.stdin is not None
        process.stdin.close()


def _measured(before: Sequence[str], directory: Path) -> tuple[float, float]:
    """Seconds from a request to its answer, the median; bytes a second of a flood."""
    with _client(before, directory) as client:
        taken = []
        for _ in range(REQUESTS):
            begun = time.perf_counter()
            client.ask("bench/echo")
            taken.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        size = client.ask("session/prompt", sessionId="s", prompt=[{"type": "text", "text": "flood"}])
        return median(taken[_WARM:]), size / (time.perf_counter() - begun)

"""How soon words appear that another program writes into its file, and what following costs while nothing happens."""

from __future__ import annotations

import json
import os
import random
import re
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.driver import Process, Server, environment, server_command
from benchmarks.report import Options, Row, at_most, milliseconds, percentile
from benchmarks.system import cpu_share

LINES, FULL_LINES = 100, 600
# How long the round is already to which lines are added.
LONG_ROUND_BYTES = 16 * 1024 * 1024
IDLE_SECONDS = 20.0
_WORDS = re.compile(rb"words (\d+) of")


def run(options: Options) -> list[Row]:
    rows = []
    for name, size in (("a new session", 0), (f"a round of {LONG_ROUND_BYTES >> 20} MiB", LONG_ROUND_BYTES)):
        latencies, idle = _followed(options, size)
        for share, bound in ((0.5, None), (0.95, 200.0)):
            found = percentile(latencies, share)
            target = None if bound is None else at_most(bound, "ms")
            what = f"import --follow, {name}, from a line to its push: p{share * 100:.0f}"
            rows.append(Row(what, milliseconds(found), f"{len(latencies)} lines", found * 1e3, target, "ms"))
    if idle is not None:
        rows.append(Row("CPU of import --follow while nothing happens", f"{idle:.3f} %", "", idle, at_most(0.5, "%")))
    return rows


def _followed(options: Options, size: int) -> tuple[list[float], float | None]:
    """The latencies, and the share of a core while nothing happens."""
    place = _place(options)
    path = place / "sources" / "11111111-1111-4111-8111-111111111111.jsonl"
    if size:
        lines = _talk(path.stem, 1, size)
        path.write_bytes(b"".join(lines))
    command = [*_program(place), "import", "--follow", str(place / "sources"), "--database", str(_database(place))]
    with Server(place) as watcher:
        watcher.request("session/create")
        follower = subprocess.Popen(command, env=environment(place), stdout=subprocess.PIPE, text=True)
        try:
            assert follower.stdout is not None
            while not follower.stdout.readline().startswith("Following"):
                pass
            watcher.request("turn/subscribe")
            latencies = _latencies(watcher, path, FULL_LINES if options.full else LINES)
            time.sleep(3)
            return latencies, cpu_share(follower.pid, IDLE_SECONDS)
        finally:
            follower.terminate()
            follower.wait()


def _latencies(watcher: Process, path: Path, count: int) -> list[float]:
    chance = random.Random(1)
    sent: dict[int, float] = {}
    heard: dict[int, float] = {}
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if not path.stat().st_size:
        os.write(handle, _line("user", path.stem, "question", message={"role": "user", "content": "Go on"}))
    for number in range(count):
        text = f"words {number} of a reply " + "word " * 100
        sent[number] = time.perf_counter()
        os.write(handle, _reply(path.stem, f"live-{number}", text))
        _hear(watcher, heard, 0.05 + 0.1 * chance.random())
    os.close(handle)
    end = time.perf_counter() + 20
    while len(heard) < count and time.perf_counter() < end:
        _hear(watcher, heard, 0.1)
    return [heard[number] - at for number, at in sent.items()]


def _hear(watcher: Process, heard: dict[int, float], seconds: float) -> None:
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        if select.select([watcher], [], [], left)[0]:
            data = watcher.read()
            for found in _WORDS.findall(data):
                heard.setdefault(int(found), time.perf_counter())


def _place(options: Options) -> Path:
    place = options.directory / "follow"
    shutil.rmtree(place, ignore_errors=True)
    (place / "sources").mkdir(parents=True)
    return place


def _database(place: Path) -> Path:
    return place / ".ws" / "db.sqlite"


def _program(place: Path) -> list[str]:
    command = server_command(place)
    return command[: command.index("serve")]


def _talk(session: str, rounds: int, size: int = 0) -> list[bytes]:
    """A conversation with a tool call in each round, whose last round has so many bytes of replies."""
    lines = []
    for number in range(rounds):
        lines.append(_line("user", session, f"u{number}", message={"role": "user", "content": f"Question {number}"}))
        done = 0
        while True:
            text = f"An answer to question {number}. " + "Some words that somebody says here. " * 20
            call = f"call-{number}-{done}"
            lines.append(_reply(session, f"m{number}-{done}", text, {"type": "tool_use", "id": call, "name": "Read",
                                                                     "input": {"path": "/a/file"}}))  # fmt: skip
            result = {"type": "tool_result", "tool_use_id": call, "content": "A line of a file.\n" * 50}
            lines.append(_line("user", session, f"r{call}", message={"role": "user", "content": [result]}))
            done += len(lines[-1]) + len(lines[-2])
            if done >= size:
                break
    return lines


def _reply(session: str, name: str, text: str, *more: dict[str, Any]) -> bytes:
    content = [{"type": "text", "text": text}, *more]
    message = {"id": name, "role": "assistant", "model": "m", "content": content, "stop_reason": "tool_use",
               "usage": {"input_tokens": 10, "output_tokens": 20}}  # fmt: skip
    return _line("assistant", session, name, message=message)


def _line(kind: str, session: str, name: str, **fields: Any) -> bytes:
    record = {
        "parentUuid": None if kind == "user" else "p",
        "isSidechain": False,
        "type": kind,
        "uuid": f"{session}-{name}",
        "timestamp": "2026-03-01T10:00:00.000Z",
        "cwd": "/home/somebody/project",
        "sessionId": session,
        "version": "2.1.0",
    }
    if kind == "user":
        record["parentUuid"] = f"{session}-before-{name}"
    return json.dumps(record | fields).encode() + b"\n"

"""What passes between a client and an agent is what they wrote, byte for byte; no more of it waits than in pipes."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from acp.proxies import Proxy, proxy, until

ODD = {
    "nothing": b"",
    "no final newline": b'{"jsonrpc":"2.0","id":0,"method":"initialize"}',
    "line ends": b'{"a":1}\r\n\n\r\r\n{ "b" :\t1.50 , "a":1e3}\n\n',
    "no UTF-8": b'{"text":"\xff\xfe\x00\x80"}\n\xc3\n' + bytes(range(256)) * 300,
    "a batch": b'[{"jsonrpc":"2.0","id":0,"result":null},{"jsonrpc":"2.0","method":"x"}]\n',
    "a long line": b'{"text":"' + b"x" * 9_000_000 + b'"}\n',
    "many lines": b"".join(b'{"id":%d}\n' % number for number in range(100_000)),
    "no JSON": b"Starting...\nhello {\n}\n\x1b[31mred\x1b[0m\n",
}
CASES = os.environ.get("MANDRAKE_SESSIONS_ACP_CASES")


def exchange(workspace: Path, sent: bytes, given: bytes, seed: int) -> None:
    """Both at once, each in random pieces; both have to arrive whole."""
    (workspace / "given").write_bytes(given)
    with proxy(workspace, "reading", "got", "give", "given", str(seed)) as made:
        writer = threading.Thread(target=_send, args=(made, sent, random.Random(-seed)))
        writer.start()
        received = made.rest() if given else b""
        writer.join()
        assert made.rest() == b""
        assert (made.wait(), made.err) == (0, "")
    assert received == given
    assert (workspace / "got").read_bytes() == sent


def _send(made: Proxy, data: bytes, chance: random.Random) -> None:
    while data:
        count = chance.choice((1, 50, 3000, 70_000, 2_000_000))
        made.send(data[:count])
        data = data[count:]
        if chance.random() < 0.1:
            time.sleep(0.002)
    made.finish_input()


@pytest.mark.parametrize("what", ODD)
def test_odd_bytes_pass(workspace: Path, what: str) -> None:
    exchange(workspace, ODD[what], ODD[what], 1)


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_pass(workspace: Path, seed: int) -> None:
    chance = random.Random(seed)
    parts = [*ODD.values(), chance.randbytes(100_000), b"\n" * 1000]
    sent, given = (b"".join(chance.choices(parts, k=3))[: chance.randrange(1, 12_000_000)] for _ in range(2))
    exchange(workspace, sent, given, seed)


def test_stderr_and_the_exit_code_pass(workspace: Path) -> None:
    with proxy(workspace, "cry", "to the log", "exit", "3") as made:
        assert (made.rest(), made.wait(), made.err) == (b"", 3, "to the log\n")


def test_a_piece_does_not_wait_for_its_line(workspace: Path) -> None:
    (workspace / "given").write_bytes(b'{"half')
    with proxy(workspace, "give", "given", "1", "read", "got", "exit", "0") as made:
        assert made.receive(6) == b'{"half'
        made.send(b"other half")
        until(lambda: (workspace / "got").exists() and (workspace / "got").stat().st_size == 10)
        made.finish_input()
        assert made.wait() == 0


def test_an_answer_comes_while_the_input_stays_open(workspace: Path) -> None:
    with proxy(workspace, agent=("cat",)) as made:
        for number in range(200):
            line = b'{"id":%d}\n' % number
            made.send(line)
            assert made.line() == line
        made.finish_input()
        assert (made.rest(), made.wait(), made.err) == (b"", 0, "")


# ---- nobody reads for a while


def is_still(path: Path) -> int:
    """The number in a file that does not change any more; 0 while it does."""
    before = path.read_text() if path.exists() else ""
    time.sleep(0.5)
    return int(before or 0) if before and path.read_text() == before else 0


def test_a_client_that_does_not_read_holds_the_agent_up(workspace: Path) -> None:
    with proxy(workspace, "count", "written") as made:
        waits = until(lambda: is_still(workspace / "written"))
        assert waits < 2_000_000
        # It goes on where it stopped.
        assert set(made.receive(1000)) == {*b"x\n"}
        got = 1000
        while got < waits + 1_000_000:
            got += len(made.receive())
        made.close_output()
        assert made.wait() == 128 + 13


def test_an_agent_that_does_not_read_holds_the_client_up(workspace: Path) -> None:
    with proxy(workspace, "wait", "go", "read", "got") as made:
        assert made.process.stdin is not None
        os.set_blocking(made.process.stdin.fileno(), False)
        sent = 0
        quiet = 0
        while quiet < 20:
            try:
                sent += os.write(made.process.stdin.fileno(), b"y" * 1000)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.05)
        assert sent < 2_000_000
        (workspace / "go").touch()
        made.finish_input()
        assert made.wait() == 0
    assert (workspace / "got").read_bytes() == b"y" * sent


# ---- recorded traffic of real agents


def processes(path: Path) -> list[list[tuple[str, str]]]:
    """The lines of each process of a recording: who wrote it, and what; the last one is its exit code."""
    found: list[list[tuple[str, str]]] = [[]]
    for line in path.read_text(encoding="utf-8").splitlines():
        told: dict[str, Any] = json.loads(line)
        text = str(told["raw"]) if "raw" in told else json.dumps(told["msg"], ensure_ascii=False, separators=(",", ":"))
        found[-1].append((told["dir"], text + ("" if told["dir"] == "exit" else "\n")))
        if told["dir"] == "exit":
            found.append([])
    return [each for each in found if each]


@pytest.mark.skipif(CASES is None, reason="MANDRAKE_SESSIONS_ACP_CASES names no recorded traffic")
@pytest.mark.parametrize("agent", ["claude-agent", "codex-acp", "gemini", "opencode"])
def test_recorded_traffic_passes(workspace: Path, agent: str) -> None:
    for number, lines in enumerate(processes(Path(CASES or "", agent, "traffic.ndjson"))):
        *talk, (kind, code) = lines
        assert kind == "exit"
        name = f"talk-{number}"
        (workspace / name).write_text(json.dumps(talk))
        by = {each: "".join(text for kind, text in talk if kind == each).encode() for each in ("c2a", "a2c", "stderr")}
        with proxy(workspace, "play", name, "exit", code) as made:
            received = b""
            for kind, text in talk:
                if kind == "c2a":
                    made.send(text.encode())
                elif kind == "a2c":
                    received += made.line()
            made.finish_input()
            received += made.rest()
            expected = int(code) if int(code) >= 0 else 128 - int(code)
            assert (made.wait(), made.err.encode()) == (expected, by["stderr"])
        assert received == by["a2c"]
        assert (workspace / f"{name}.got").read_bytes() == by["c2a"]

"""The size of the file after much text was streamed into it in small pieces, and after it was deleted again."""

from __future__ import annotations

import time

from benchmarks.driver import PIECE, Server, appends, pipelined
from benchmarks.report import Options, Row, at_most, megabytes, rate
from benchmarks.system import store_bytes

FEW, MANY = 20_000_000, 200_000_000
TURN = 1_000_000
SECONDS, FULL_SECONDS = 45.0, 900.0
IDLE_SECONDS, FULL_IDLE_SECONDS = 10.0, 60.0


def run(options: Options) -> list[Row]:
    """In turns of 1 MB, one after the other, in one session."""
    bound, idle = (FULL_SECONDS, FULL_IDLE_SECONDS) if options.full else (SECONDS, IDLE_SECONDS)
    with Server(options.directory) as server:
        session = server.request("session/create")["id"]
        begun = time.monotonic()
        text = 0
        while text < (MANY if options.full else FEW) and time.monotonic() < begun + bound:
            text += _stream(server, session)
        taken = time.monotonic() - begun
        at_end = sum(store_bytes(options.directory))
        after = _settled(options, idle)
        server.request("session/delete", sessionId=session)
        deleted = _settled(options, idle)
    closed = sum(store_bytes(options.directory))
    beside = f"text {megabytes(text)}; WAL and all at the end {megabytes(at_end)}"
    return [
        Row("file after streaming, ending, idling", megabytes(after), beside, after / text, at_most(1.3)),
        Row("the same after session/delete", megabytes(deleted), f"closed {megabytes(closed)}", deleted / text),
        Row("streaming it, turns and all", rate(text / len(PIECE) / taken)),
    ]


def _stream(server: Server, session_id: str) -> int:
    """One turn; gives the bytes of its text."""
    response = server.request("round/create", sessionId=session_id, content="on")["response"]["id"]
    turn = server.request("turn/create", responseId=response)["id"]
    pieces = TURN // len(PIECE)
    pipelined(server, appends(turn, pieces))
    server.request("turn/update", turnId=turn, status="completed")
    return pieces * len(PIECE)


def _settled(options: Options, seconds: float) -> int:
    """The bytes of database and WAL, when they have been the same for a third of that time or it is over."""
    end, same_since, size = time.monotonic() + seconds, time.monotonic(), -1
    while time.monotonic() < end and time.monotonic() < same_since + seconds / 3:
        now = sum(store_bytes(options.directory))
        if now != size:
            size, same_since = now, time.monotonic()
        time.sleep(0.2)
    return size

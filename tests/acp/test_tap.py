"""The copy of what passes, on its way to the recorder: frames, lines, and what waits between the two processes."""

from __future__ import annotations

import os
import random
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from acp.proxies import TIMEOUT, until
from mandrake_sessions.acp.frames import AGENT, CLIENT, ENDED, LOST, Frame, Frames, head
from mandrake_sessions.acp.lines import Lines
from mandrake_sessions.acp.recorder_process import Recording
from mandrake_sessions.acp.spool import Spool
from mandrake_sessions.acp.tap import MAX_BYTES, Tap


def pieces(data: bytes, chance: random.Random) -> Iterator[bytes]:
    while data:
        count = chance.choice((1, 2, 13, 100, 10_000))
        yield data[:count]
        data = data[count:]


# ---- frames


@pytest.mark.parametrize("seed", range(5))
def test_frames_come_whole_from_any_pieces(seed: int) -> None:
    chance = random.Random(seed)
    sent = [
        Frame(chance.choice((CLIENT, AGENT)), chance.randrange(2**50), chance.randbytes(chance.choice((0, 1, 70_000))))
        for _ in range(100)
    ]
    stream = b"".join(head(each.kind, each.at, len(each.data)) + each.data for each in sent)
    frames = Frames()
    assert [frame for piece in pieces(stream, chance) for frame in frames.of(piece)] == sent


# ---- lines


@pytest.mark.parametrize("seed", range(5))
def test_lines_come_whole_from_any_pieces(seed: int) -> None:
    chance = random.Random(seed)
    expected = [chance.randbytes(chance.choice((0, 1, 90, 30_000))).replace(b"\n", b"\r") for _ in range(100)]
    lines = Lines(lambda: pytest.fail("no line is too long"))
    stream = b"".join(line + b"\n" for line in expected) + b"the rest"
    assert [line for piece in pieces(stream, chance) for line in lines.of(piece)] == expected
    assert (lines.rest(), lines.rest()) == (b"the rest", b"")


@pytest.mark.parametrize("seed", range(5))
def test_a_line_that_is_too_long_is_left_out(seed: int) -> None:
    chance = random.Random(seed)
    given = [b"x" * chance.choice((0, 99, 100, 101, 5000)) for _ in range(100)]
    told: list[None] = []
    lines = Lines(lambda: told.append(None), max_bytes=100)
    stream = b"".join(line + b"\n" for line in given)
    found = [line for piece in pieces(stream, chance) for line in lines.of(piece)]
    assert found == [line for line in given if len(line) <= 100]
    assert len(told) == sum(len(line) > 100 for line in given)


# ---- what the recorder's thread waits for


@pytest.mark.parametrize("seed", range(5))
def test_a_spool_keeps_the_order(seed: int) -> None:
    chance = random.Random(seed)
    given = [chance.randbytes(chance.choice((1, 1000, 100_000))) for _ in range(200)]
    spool = Spool(memory_bytes=chance.choice((0, 50_000, 10**9)))

    def put() -> None:
        for piece in given:
            spool.put(piece)
        spool.end()

    thread = threading.Thread(target=put)
    thread.start()
    found = []
    while piece := spool.take():
        found.append(piece)
        if chance.random() < 0.02:
            thread.join(0.01)
    thread.join()
    assert b"".join(found) == b"".join(given)
    assert spool.take() == b""


def test_a_spool_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool(memory_bytes=0)
    spool.put(b"private")
    assert list(tmp_path.iterdir()) == []
    assert spool.take() == b"private"
    spool.end()
    assert spool.take() == b""


# ---- the tap


class Reading:
    """The recorder's end of a tap's pipe."""

    def __init__(self) -> None:
        self.end, pipe = os.pipe()
        self.said: list[str] = []
        self.tap = Tap(pipe, self.said.append)
        self.tap.thread.start()

    def rest(self) -> list[Frame]:
        frames, found = Frames(), list[Frame]()
        while piece := os.read(self.end, 1_000_000):
            found += frames.of(piece)
        os.close(self.end)
        self.tap.thread.join(TIMEOUT)
        return found


def test_a_reader_gets_all_in_order() -> None:
    reading = Reading()
    sent = [(random.Random(n).choice((CLIENT, AGENT)), b"%d" % n * 1000) for n in range(3000)]

    def send() -> None:
        for kind, data in sent:
            reading.tap.put(kind, data)
        reading.tap.end(3)
        # Nothing comes after the end.
        reading.tap.put(AGENT, b"late")

    thread = threading.Thread(target=send)
    thread.start()
    *found, last = reading.rest()
    thread.join()
    assert [(frame.kind, frame.data) for frame in found] == sent
    assert [frame.at for frame in found] == sorted(frame.at for frame in found)
    assert (last.kind, last.data, reading.said, reading.tap.untaken(0)) == (ENDED, b"3", [], 0)


def test_nobody_waits_for_a_reader_that_does_not_read() -> None:
    """What waits is bounded, and the reader learns how much is missing, and where."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reading, piece = Reading(), b"x" * 99_999 + b"\n"
    count = 3 * MAX_BYTES // len(piece)
    for _ in range(count):
        reading.tap.put(AGENT, piece)
    assert reading.tap.untaken(0) <= MAX_BYTES
    assert len(reading.said) == 1
    # In kilobytes, or in bytes on macOS; far less than was sent.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * MAX_BYTES
    reading.tap.end(0)
    found = reading.rest()
    assert [frame.kind for frame in found[-2:]] == [LOST, ENDED]
    assert {frame.kind for frame in found[:-2]} == {AGENT}
    assert int(found[-2].data) + sum(len(frame.data) for frame in found[:-2]) == count * len(piece)


def test_many_small_pieces_are_bounded_too() -> None:
    reading = Reading()
    for _ in range(600_000):
        reading.tap.put(CLIENT, b"x")
    assert reading.said
    reading.tap.end(0)
    found = reading.rest()
    assert sum(int(frame.data) if frame.kind == LOST else 1 for frame in found) - 1 == 600_000


def test_after_a_loss_it_goes_on() -> None:
    reading = Reading()
    while not reading.said:
        reading.tap.put(AGENT, b"y" * 100_000)
    frames, found = Frames(), list[Frame]()
    while reading.tap.untaken(0):
        found += frames.of(os.read(reading.end, 1_000_000))
    reading.tap.put(AGENT, b"again")
    reading.tap.end(0)
    while piece := os.read(reading.end, 1_000_000):
        found += frames.of(piece)
    os.close(reading.end)
    assert [(frame.kind, frame.data) for frame in found[-3:]] == [(LOST, b"100000"), (AGENT, b"again"), (ENDED, b"0")]
    assert len(reading.said) == 1


def test_a_reader_that_goes_away_is_told_once() -> None:
    reading = Reading()
    reading.tap.put(CLIENT, b"one")
    os.close(reading.end)
    for _ in range(3):
        reading.tap.put(CLIENT, b"two")
    reading.tap.end(0)
    assert len(reading.said) == 1
    assert reading.tap.untaken(TIMEOUT) == 0
    assert reading.tap.is_dead


def test_a_reader_that_goes_away_while_much_waits() -> None:
    reading = Reading()
    for _ in range(100):
        reading.tap.put(CLIENT, b"x" * 100_000)
    os.close(reading.end)
    until(lambda: reading.tap.is_dead)
    assert (len(reading.said), reading.tap.untaken(0)) == (1, 0)


# ---- what the recorder makes of it


class Heard:
    """In the place of what says what messages mean."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes, int]] = []
        self.lost: list[int] = []
        self.ended: tuple[int, str | None] | None = None

    def take(self, direction: str, line: bytes, at: int) -> None:
        if line == b"fail":
            raise ValueError(line)
        self.lines.append((direction, line, at))

    def lose(self, size: int) -> None:
        self.lost.append(size)

    def end(self, at: int, how: str | None, *, is_clean: bool) -> None:
        self.ended = at, how
        self.is_clean = is_clean


def recorded(*frames: tuple[bytes, int, bytes]) -> tuple[Heard, list[str]]:
    heard, said = Heard(), list[str]()
    recording = Recording(heard, said.append)
    for kind, at, data in frames:
        recording.take(head(kind, at, len(data)) + data)
    recording.end()
    return heard, said


def test_each_direction_has_its_own_lines() -> None:
    """A line is of the time when its end came."""
    heard, said = recorded((CLIENT, 1, b"ab"), (AGENT, 2, b"xy\nz"), (CLIENT, 3, b"c\n\nd"), (ENDED, 4, b"0"))
    assert heard.lines == [("agent", b"xy", 2), ("client", b"abc", 3), ("client", b"", 3), ("client", b"d", 4),
                           ("agent", b"z", 4)]  # fmt: skip
    assert (heard.ended, heard.is_clean, said) == ((4, "the agent ended with exit code 0"), True, [])


def test_a_gap_ends_the_lines_that_were_begun() -> None:
    heard, _ = recorded((AGENT, 1, b"one\ntw"), (LOST, 2, b"1000"), (AGENT, 3, b"ee\nfour\n"), (ENDED, 4, b"143"))
    assert [line for _, line, _ in heard.lines] == [b"one", b"ee", b"four"]
    assert heard.lost == [1000]
    assert (heard.ended, heard.is_clean) == ((4, "the agent was ended by SIGTERM"), False)


def test_a_proxy_that_is_gone_is_told() -> None:
    heard, _ = recorded((AGENT, 7, b"one\n"))
    assert (heard.ended, heard.is_clean) == ((7, "the connection to the agent was cut off"), False)


def test_a_fault_costs_one_message() -> None:
    heard, (said,) = recorded((AGENT, 1, b"fail\none\nfail\ntwo\n"), (ENDED, 2, b"1"))
    assert [line for _, line, _ in heard.lines] == [b"one", b"two"]
    assert said == "a message is not stored, by a fault of this program (ValueError); others are"

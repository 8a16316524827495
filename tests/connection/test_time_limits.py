"""Work that does not end: it keeps neither its caller nor the others waiting, and is not tried again meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from mandrake_sessions.time_limits import THREADS, Job, LimitedWork, in_time


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs waits for it."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_all_is_done_that_can_be(gate: threading.Event) -> None:
    done: list[str] = []
    hanging = [Job(f"hanging {number}", gate.wait) for number in range(THREADS + 1)]
    others = [Job(str(number), partial(done.append, str(number))) for number in range(50)]
    began = time.monotonic()
    undone = LimitedWork([*hanging, *others], seconds=0.2, total_seconds=10).run()
    assert sorted(undone) == [job.about for job in hanging]
    assert sorted(done) == sorted(job.about for job in others)
    assert time.monotonic() - began < 5
    # While it hangs it is not tried again, and takes no time.
    began = time.monotonic()
    assert LimitedWork([*hanging, others[0]], seconds=2, total_seconds=10).run() == [job.about for job in hanging]
    assert time.monotonic() - began < 1.5
    gate.set()
    deadline = time.monotonic() + 10
    while LimitedWork(hanging, seconds=2, total_seconds=10).run():
        assert time.monotonic() < deadline


def test_what_can_be_interrupted_ends() -> None:
    ended = threading.Event()
    job = Job("slow", ended.wait, ended.set)
    began = time.monotonic()
    assert LimitedWork([job], seconds=0.1, total_seconds=10).run() == []
    assert ended.is_set()
    assert time.monotonic() - began < 5


def test_it_ends_with_the_time_for_all_and_when_it_is_stopped(gate: threading.Event) -> None:
    jobs = [Job(f"late {number}", gate.wait) for number in range(3 * THREADS)]
    began = time.monotonic()
    assert len(LimitedWork(jobs, seconds=5, total_seconds=0.3).run()) == len(jobs)
    work = LimitedWork([Job("stopped", gate.wait)], seconds=30, total_seconds=30)
    threading.Timer(0.1, work.stop).start()
    assert work.run() == ["stopped"]
    assert time.monotonic() - began < 5


def test_a_result_in_time_an_error_and_none(gate: threading.Event) -> None:
    assert in_time("a", lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        in_time("a", lambda: 1 // 0, 5)
    with pytest.raises(TimeoutError, match=r"a path gave no answer within 0\.1 s"):
        in_time("a path", gate.wait, 0.1)

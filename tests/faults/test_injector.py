"""The tool of the other tests: it sees everything that SQLite writes, and does what its plan says."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from faults.disk import Disk, read_trace
from faults.injector import SQLITE_IOERR_WRITE
from faults.ledger import Client, Ledger
from faults.servers import faulty, needs_injector
from faults.work import mixed
from wire import TIMEOUT

pytestmark = needs_injector


def test_the_record_of_a_run_is_what_is_on_the_disk(workspace: Path, tmp_path: Path) -> None:
    with faulty(workspace, tmp_path / "control") as server:
        client = Client(server.wire, Ledger())
        for batch in mixed(random.Random(1), large=100_000):
            client.burst(batch)
        server.wire.kill()
        disk = Disk()
        disk.do(read_trace(server.trace))
    for name, content in disk.killed().items():
        assert (workspace / ".ws" / name).read_bytes() == content
    assert set(disk.killed()) == {"db.sqlite", "db.sqlite-wal"}


@pytest.mark.parametrize("moment", ["before", "half", "after"])
def test_a_kill_comes_at_the_operation_that_was_named(workspace: Path, tmp_path: Path, moment: str) -> None:
    with faulty(workspace, tmp_path / "control") as server:
        server.wire.request("session/create")
        before = read_trace(server.trace)
        server.set_plan({"kill": [2, moment]})
        server.wire.post("session/create")
        assert server.wire.process.wait(TIMEOUT) == -signal.SIGKILL
        first, *second = read_trace(server.trace)[len(before) :]
    assert first.name == "db.sqlite-wal"
    assert [len(record.data) for record in second] == {"before": [], "half": [2048], "after": [4096]}[moment]


def test_a_failure_lasts_as_long_as_the_plan_says(workspace: Path, tmp_path: Path) -> None:
    with faulty(workspace, tmp_path / "control") as server:
        server.wire.request("session/create")
        server.set_plan({"fail": {"code": SQLITE_IOERR_WRITE, "kinds": ["write"], "times": 2}})
        reasons = [server.wire.error("session/create")["data"]["reason"] for _ in range(2)]
        assert reasons == ["io", "io"]
        server.wire.request("session/create")

"""Another process holds the write lock, for a moment or for too long, or the whole file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from locking import WRITE_LOCK, holding
from strict import Talk, connected
from wire import TIMEOUT


def test_a_lock_that_is_let_go_in_time_costs_a_wait(workspace: Path) -> None:
    with connected(workspace) as client:
        turn = Talk(client).turn()
        with holding(workspace, WRITE_LOCK) as other:
            waiting = [client.submit("turn/append", {"turnId": turn, "content": f"{n} "}) for n in range(50)]
            time.sleep(0.3)
            # What is about the server, and what only reads before any write waits, goes on.
            assert client.server_health().stores[0].busy_retries > 0
            other.execute("ROLLBACK")
        for reply in waiting:
            reply.result(TIMEOUT)
        assert client.turn_get(turn_id=turn).content == "".join(f"{n} " for n in range(50))
        assert client.server_health().status == "ok"


def test_a_lock_that_is_held_for_too_long_is_an_error_that_can_be_tried_again(workspace: Path) -> None:
    with connected(workspace, "--busy-timeout", "0.3") as client:
        turn = Talk(client).turn()
        with holding(workspace, WRITE_LOCK):
            for _ in range(2):
                error = client.error("turn/append", turnId=turn, content="refused")
                assert (error.code, error.kind, error.retryable) == (-32012, "busy", True)
                assert error.data["waitedMs"] >= 300
            assert client.turn_get(turn_id=turn).content == ""
        client.turn_append(turn_id=turn, content="stored")
        assert client.turn_get(turn_id=turn).content == "stored"


def test_a_subscriber_receives_commits_from_before_the_lock(workspace: Path) -> None:
    with connected(workspace) as client, connected(workspace) as watcher:
        turn = Talk(client).turn()
        changes = watcher.followed("turn/subscribe", turnId=turn)
        client.turn_append(turn_id=turn, content="heard")
        with holding(workspace, WRITE_LOCK):
            assert next(changes).content == "heard"


@pytest.mark.parametrize("mode", ["EXCLUSIVE", "NORMAL"])
def test_a_new_file_that_another_process_holds_is_waited_for(workspace: Path, mode: str) -> None:
    """Before the file is in WAL mode any statement may meet another's lock."""
    (workspace / ".ws").mkdir(mode=0o700)
    with holding(workspace, f"PRAGMA locking_mode={mode}", "BEGIN EXCLUSIVE") as other, connected(workspace) as client:
        waiting = client.submit("session/create")
        threading.Timer(0.3, other.close).start()
        assert waiting.result(TIMEOUT)["id"]


def test_housekeeping_waits_too(workspace: Path) -> None:
    """Idle work that finds the lock taken is done later, and nobody hears of it."""
    with connected(workspace, "--feed-max-bytes", "1024") as client:
        turn = Talk(client).turn(detached=True)
        for _ in range(20):
            client.turn_append(turn_id=turn, content="x" * 1000)
        with holding(workspace, WRITE_LOCK):
            time.sleep(1.5)
            assert client.server_health().status == "ok"
        client.turn_append(turn_id=turn, content="end")
        assert "WARNING" not in client.log

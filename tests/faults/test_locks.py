"""Another process holds the write lock, for a moment or for too long, or the whole file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wire import Conversation, serving


@contextmanager
def holding(workspace: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(workspace / ".ws" / "db.sqlite", isolation_level=None, check_same_thread=False)
    try:
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection
    finally:
        connection.close()


def test_a_lock_that_is_let_go_in_time_costs_a_wait(workspace: Path) -> None:
    with serving(workspace) as wire:
        turn = Conversation(wire).turn()
        with holding(workspace, "BEGIN IMMEDIATE") as other:
            waiting = [wire.post("turn/append", turnId=turn, content=f"{n} ") for n in range(50)]
            time.sleep(0.3)
            # What is about the server, and what only reads before any write waits, goes on.
            assert wire.request("server/health")["stores"][0]["busyRetries"] > 0
            other.execute("ROLLBACK")
        for message_id in waiting:
            wire.result(message_id)
        assert wire.request("turn/get", turnId=turn)["content"] == "".join(f"{n} " for n in range(50))
        assert wire.request("server/health")["status"] == "ok"


def test_a_lock_that_is_held_for_too_long_is_an_error_that_can_be_tried_again(workspace: Path) -> None:
    with serving(workspace, "lines", "--busy-timeout", "0.3") as wire:
        turn = Conversation(wire).turn()
        with holding(workspace, "BEGIN IMMEDIATE"):
            for _ in range(2):
                error = wire.error("turn/append", turnId=turn, content="refused")
                assert (error["code"], error["data"]["kind"], error["data"]["retryable"]) == (-32012, "busy", True)
                assert error["data"]["waitedMs"] >= 300
            assert wire.request("turn/get", turnId=turn)["content"] == ""
        wire.request("turn/append", turnId=turn, content="stored")
        assert wire.request("turn/get", turnId=turn)["content"] == "stored"


def test_a_subscriber_receives_commits_from_before_the_lock(workspace: Path) -> None:
    with serving(workspace) as wire, serving(workspace) as watcher:
        turn = Conversation(wire).turn()
        watcher.request("turn/subscribe", turnId=turn)
        wire.request("turn/append", turnId=turn, content="heard")
        with holding(workspace, "BEGIN IMMEDIATE"):
            assert watcher.notification()["content"] == "heard"


@pytest.mark.parametrize("mode", ["EXCLUSIVE", "NORMAL"])
def test_a_new_file_that_another_process_holds_is_waited_for(workspace: Path, mode: str) -> None:
    """Before the file is in WAL mode any statement may meet another's lock."""
    (workspace / ".ws").mkdir(mode=0o700)
    with holding(workspace, f"PRAGMA locking_mode={mode}", "BEGIN EXCLUSIVE") as other, serving(workspace) as wire:
        waiting = wire.post("session/create")
        threading.Timer(0.3, other.close).start()
        assert wire.result(waiting)["id"]


def test_housekeeping_waits_too(workspace: Path) -> None:
    """Idle work that finds the lock taken is done later, and nobody hears of it."""
    with serving(workspace, "lines", "--feed-max-bytes", "1024") as wire:
        turn = Conversation(wire).turn(detached=True)
        for _ in range(20):
            wire.request("turn/append", turnId=turn, content="x" * 1000)
        with holding(workspace, "BEGIN IMMEDIATE"):
            time.sleep(1.5)
            assert wire.request("server/health")["status"] == "ok"
        wire.request("turn/append", turnId=turn, content="end")
        assert "WARNING" not in wire.log

"""Cycles are found when the server is idle, also those that a large message froze."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from mandrake_sessions.connection.collector import CycleCollector
from mandrake_sessions.transport.jsonrpc import UNCOLLECTED, decode


class Node:
    """Refers to itself."""

    def __init__(self) -> None:
        self.node = self


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.collect()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def look_often(collector: CycleCollector) -> None:
    """After as many looks through young objects as make it look through all."""
    for _ in range(20):
        gc.collect(1)
    collector.look()


def test_frozen_cycles_are_found_once_the_server_is_idle() -> None:
    idle: list[bool] = []
    collector = CycleCollector(lambda: bool(idle))
    collector.relieve()
    lost = weakref.ref(Node())
    assert decode(b"[" + b"[]," * UNCOLLECTED + b"[]]") == [[]] * (UNCOLLECTED + 1)
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    look_often(collector)
    assert lost() is not None
    idle.append(True)
    look_often(collector)
    assert lost() is None
    assert gc.get_freeze_count() == 0


def test_it_does_not_look_where_little_was_made() -> None:
    asked: list[bool] = []

    def is_idle() -> bool:
        asked.append(True)
        return True

    collector = CycleCollector(is_idle)
    collector.relieve()
    collector.look()
    assert asked == []

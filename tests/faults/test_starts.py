"""Twelve processes that start at once on one file, new or old, and are killed while they do."""

from __future__ import annotations

import random
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from faults.ledger import new_id, read_state
from faults.servers import check_sound, faulty, needs_injector, seeds
from figures import record
from strict import connected
from wire import OLDEST_SCHEMA, TIMEOUT, Ended, serving

PROCESSES = 12
MOMENTS = ("before", "half", "after")
FLAGS = ("--busy-timeout", "60", "--lease-seconds", "3600")


def prepare(workspace: Path, old: bool) -> None:
    """A file of the first schema with a session in it, or none."""
    if old:
        (workspace / ".ws").mkdir()
        shutil.copy(OLDEST_SCHEMA, workspace / ".ws" / "db.sqlite")


def check(workspace: Path, old: bool, least: set[str], most: set[str]) -> None:
    """A new server finds what was acknowledged, and nothing that was not sent."""
    with serving(workspace, "lines", *FLAGS) as wire:
        state = read_state(wire)
        titles = [str(fields["title"]) for fields in state.values() if "title" in fields]
        assert len(titles) == len(set(titles))
        if old:
            turns = [fields for fields in state.values() if fields.get("chunkCount") == 1030]
            assert [turn["content"] for turn in turns] == ["begin " + "".join(f"{n} " for n in range(1030))]
        assert least <= set(titles) <= most | ({"A talk"} if old else set())
    check_sound(workspace / ".ws" / "db.sqlite")
    for backup in (workspace / ".ws").glob("*.backup"):
        check_sound(backup)


@pytest.mark.parametrize("old", [False, True], ids=["new-file", "schema-1"])
def test_all_of_them_write(workspace: Path, old: bool) -> None:
    prepare(workspace, old)
    titles = [f"of process {n}" for n in range(PROCESSES)]
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(workspace, *FLAGS)) for _ in titles]
        replies = [
            client.submit("session/create", {"title": title}) for client, title in zip(clients, titles, strict=True)
        ]
        for reply in replies:
            reply.result(TIMEOUT)
        for client in clients:
            client.kill()
    check(workspace, old, set(titles), set(titles))
    assert len(list((workspace / ".ws").glob("*.backup"))) == int(old), "one of them migrated"
    record(f"started at once on {'an old' if old else 'a new'} file", processes=PROCESSES, lost=0)


@needs_injector
@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("old", [False, True], ids=["new-file", "schema-1"])
def test_the_store_is_whole_after_all_servers_are_killed(workspace: Path, tmp_path: Path, old: bool, seed: int) -> None:
    """Each is killed at an operation of the disk, which for whoever sets the file up is in the middle of that; those
    that came through before are killed then."""
    prepare(workspace, old)
    chance = random.Random(seed)
    titles = [f"of process {n}" for n in range(PROCESSES)]
    told: set[str] = set()
    with ExitStack() as stack:
        sent = []
        for title in titles:
            plan = {"kill": [chance.choice((chance.randint(1, 90), chance.randint(1, 20))), chance.choice(MOMENTS)]}
            wire = stack.enter_context(faulty(workspace, tmp_path / title, *FLAGS, plan=plan)).wire
            sent.append((wire, wire.post("session/create", id=new_id(chance), title=title), title))
        for wire, message_id, title in sent:
            with suppress(Ended):
                wire.result(message_id)
                told.add(title)
    check(workspace, old, told, set(titles))
    record(
        f"killed while starting on {'an old' if old else 'a new'} file",
        processes=PROCESSES,
        killed_before_they_answered=PROCESSES - len(told),
        lost=0,
    )

"""A server that may open no more files refuses what needs one, as a fault of the store, and works again afterwards."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from faults.ledger import Client, Ledger, check_feed, read_state
from faults.servers import check_sound
from faults.work import every_write
from figures import record
from strict import Talk, connected
from wire import TIMEOUT, Failed, Wire, serving

if not sys.platform.startswith("linux"):
    pytest.skip("the limit of another process can be set on Linux alone", allow_module_level=True)

import resource

READS = ("session/list", "turn/subscribe", "server/health", "server/info")
# More than a store that is open and streams has open.
MOST_NEEDED = 9


@contextmanager
def descriptors_left(pid: int, spare: int) -> Iterator[None]:
    """Only so many more files may the process open in the block."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208
    free = [number for number in range(max(taken) + spare + 2) if number not in taken]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[spare], before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def refused_reads(wire: Wire, **where: str) -> int:
    refusals = 0
    for method in READS:
        answer = wire.answer(wire.post(method, **({} if method.startswith("server") else where)))
        if "error" in answer:
            assert answer["error"]["data"]["kind"] == "storage", answer
            refusals += 1
        elif "subscriptionId" in answer["result"]:
            gone = wire.post("turn/unsubscribe", subscriptionId=answer["result"]["subscriptionId"], **where)
            wire.notifications_before(gone)
    return refusals


@pytest.mark.parametrize("begun", [False, True], ids=["nothing-is-open", "the-store-is-open"])
def test_nothing_is_lost_and_the_server_lives_while_no_file_can_be_opened(tmp_path: Path, begun: bool) -> None:
    refused = 0
    with serving(make_folder(tmp_path / "home")) as wire:
        folders = [make_folder(tmp_path / f"folder-{spare}") for spare in range(MOST_NEEDED)]
        wire.initialize(workspaceFolders=[{"uri": folder.as_uri(), "name": folder.name} for folder in folders])
        for spare, folder in enumerate(folders):
            where = {"workspace": folder.as_uri()}
            ledger = Ledger()
            client = Client(wire, ledger)
            writes = [write for batch in every_write(random.Random(spare)) for write in batch]
            if begun:
                wire.request("session/list", **where)
            with descriptors_left(wire.process.pid, spare):
                for method, params in writes:
                    failed = attempt(client, method, params, where)
                    if failed is not None:
                        assert failed.kind == "storage", failed
                        refused += 1
                        break
                refused += refused_reads(wire, **where)
            for method, params in writes[len(ledger.writes) :]:
                assert attempt(client, method, params, where) is None
            found = read_state(wire, **where)
            assert ledger.find(found, *[len(writes)] * 2)
            check_feed(wire, found, **where)
            check_sound(folder / ".ws" / "db.sqlite")
    assert refused
    record("file descriptors exhausted", limits=MOST_NEEDED, refused=refused, pieces_lost=0)


def make_folder(path: Path) -> Path:
    (path / ".git").mkdir(parents=True)
    return path


def attempt(client: Client, method: str, params: dict[str, object], where: dict[str, str]) -> Failed | None:
    return client.attempt(method, **params, **where)


def test_turns_of_a_dead_process_are_found_once_files_can_be_opened_again(workspace: Path) -> None:
    look = ("--lease-seconds", "0.2")
    with connected(workspace, *look) as client, connected(workspace, *look) as agent:
        turn = Talk(agent).turn()
        assert client.turn_get(turn_id=turn).status == "streaming"
        with descriptors_left(client.pid, 0):
            agent.kill()
            client.wait_for_log("could not be looked for")
        changes = client.followed("turn/subscribe", turnId=turn, since=0)
        while (next(changes).changes or {}).get("status") != "interrupted":
            pass
        assert "Traceback" not in client.log


ALL_SORTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("session/create", {"id": "00000000-0000-4000-8000-000000000001", "title": "one"}),
    ("session/list", {}),
    ("turn/subscribe", {"since": 0}),
    ("session/subscribe", {}),
    ("session/history", {"sessionId": "00000000-0000-4000-8000-000000000001"}),
    # What is loaded when it is asked for.
    ("session/fork", {"sessionId": "00000000-0000-4000-8000-000000000001"}),
    ("session/search", {"query": "one"}),
    ("session/usage", {"groupBy": "day"}),
    ("session/list", {"scope": "all"}),
    ("store/list", {}),
    ("server/health", {}),
)


@pytest.mark.parametrize("limit", range(8, 24))
def test_with_few_descriptors_each_request_gets_a_result_or_an_error(workspace: Path, limit: int) -> None:
    command = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", sys.executable, "-m", "mandrake_sessions", "serve")
    wire = Wire(workspace, command=command)
    with suppress(BrokenPipeError):
        for method, params in ALL_SORTS:
            wire.post(method, **params)
        wire.end_input()
    code = wire.process.wait(TIMEOUT)
    answers = [message for message in wire.unread() if "id" in message]
    assert "Traceback" not in wire.log, wire.log
    if code == 0:
        kinds = [answer["error"]["data"]["kind"] if "error" in answer else "ok" for answer in answers]
        assert len(kinds) == len(ALL_SORTS)
        assert set(kinds) <= {"ok", "storage", "notFound"}, answers
    else:
        assert "Too many open files" in wire.log, wire.log


@pytest.mark.parametrize("limit", [8, 9, 10, 11, 12, 13, 14, 16])
def test_a_server_that_starts_with_few_answers_or_says_why_it_does_not(workspace: Path, limit: int) -> None:
    command = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", sys.executable, "-m", "mandrake_sessions", "serve")
    wire = Wire(workspace, command=command)
    wire.let_be("server/healthChanged")
    try:
        wire.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"session/create"}\n')
        wire.end_input()
    except BrokenPipeError:
        pass
    code = wire.process.wait(TIMEOUT)
    answers = wire.unread() if code == 0 else []
    if code == 0:
        (answer,) = answers
        assert "result" in answer or answer["error"]["data"]["kind"] == "storage"
    else:
        assert "Too many open files" in wire.log, wire.log

"""Files that are cut, overwritten with noise, or no database: told of, read where they can be, and not written to."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from figures import record
from mandrake_sessions.client import RequestFailed
from mandrake_sessions.model import TurnStatus
from strict import StrictSyncClient, Talk, connected
from wire import TIMEOUT, store_of

PAGE = 4096


def fill(workspace: Path, rounds: int = 12) -> dict[str, str]:
    """A store of some hundred pages, closed; its turns' texts by their ids."""
    texts = {}
    with connected(workspace) as client:
        conversation = Talk(client, title="a talk")
        for n in range(rounds):
            made = client.round_create(session_id=conversation.session, content=f"round {n}")
            text = f"turn {n} " * 2000
            created = client.turn_create(
                response_id=made.response.id, content=text, status=TurnStatus.COMPLETED, metadata={"n": n}
            )
            texts[created.id] = text
    assert not Path(f"{store_of(workspace)}-wal").exists()
    return texts


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def noise(path: Path, seed: int) -> None:
    """Noise in a few pages, the first and their beginnings more often than chance."""
    dice = random.Random(seed)
    pages = path.stat().st_size // PAGE
    for _ in range(dice.randint(1, 6)):
        page = 0 if dice.random() < 0.1 else dice.randrange(pages)
        start = 0 if dice.random() < 0.5 else dice.randrange(PAGE)
        overwrite(path, page * PAGE + start, dice.randbytes(dice.randint(1, PAGE - start)))


def ask(client: StrictSyncClient, method: str, **params: Any) -> Any:
    """The result; the reason of a ``storage`` error; else the error's kind."""
    try:
        return client.request(method, params)
    except RequestFailed as failed:
        return failed.data["reason"] if failed.kind == "storage" else failed.kind


DAMAGE: dict[str, Callable[[Path], object]] = {
    "noise in the header": lambda path: overwrite(path, 16, b"\xff" * 84),
    "noise in the schema": lambda path: overwrite(path, 100, b"\xff" * 400),
    "no database": lambda path: path.write_bytes(b"not a database " * 1000),
    "the second half is gone": lambda path: os.truncate(path, path.stat().st_size // PAGE // 2 * PAGE),
    "the end of the last page is gone": lambda path: os.truncate(path, path.stat().st_size - 100),
    "zeros in the middle": lambda path: overwrite(path, path.stat().st_size // 2 // PAGE * PAGE, bytes(8 * PAGE)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_told_of_and_not_written_to(workspace: Path, kind: str) -> None:
    fill(workspace)
    DAMAGE[kind](store_of(workspace))
    before = store_of(workspace).read_bytes()
    with connected(workspace) as client:
        error = client.error("session/create", title="must not be stored")
        assert (error.code, error.data["reason"]) == (-32013, "corrupt")
        assert "mandrake-sessions restore" in str(error)
        told = client.told("server/healthChanged")
        for health in told, client.server_health():
            assert (health.status, health.stores[0].status) == ("down", "down")
            assert "damaged" in (health.stores[0].last_error or "")
        ask(client, "session/list")
    assert store_of(workspace).read_bytes() == before


def test_what_can_be_read_of_a_damaged_file_is_read(workspace: Path) -> None:
    texts = fill(workspace)
    path = store_of(workspace)
    # A page of long text: nothing else is in it, so the rest can be read.
    content = path.read_bytes()
    page = content.index(b"turn 11 turn 11") // PAGE
    overwrite(path, page * PAGE + 0, b"\xff" * 8)
    with connected(workspace) as client:
        found = {turn_id: ask(client, "turn/get", turnId=turn_id) for turn_id in texts}
        whole = [turn_id for turn_id, turn in found.items() if isinstance(turn, dict)]
        assert len(whole) >= len(texts) // 2
        assert all(found[turn_id]["content"] == texts[turn_id] for turn_id in whole)
        assert ask(client, "session/create") == "corrupt"
        assert client.told("server/healthChanged").status == "down"


@pytest.mark.parametrize("seeds", [range(15), range(15, 30)], ids=str)
def test_noise_anywhere_is_survived(workspace: Path, seeds: range) -> None:
    """Wherever it is: no answer but results and `storage` errors, no text that was never stored in whole, and nothing
    written once it was noticed. (SQLite has no checksums: noise inside a text can go unnoticed.)"""
    texts = fill(workspace)
    whole = store_of(workspace).read_bytes()
    noticed = 0
    for seed in seeds:
        store_of(workspace).write_bytes(whole)
        noise(store_of(workspace), seed)
        before = store_of(workspace).read_bytes()
        with connected(workspace) as client:
            answers = [ask(client, "turn/get", turnId=turn_id) for turn_id in texts]
            assert {answer for answer in answers if isinstance(answer, str)} <= {"corrupt", "notFound"}, seed
            corrupt = ask(client, "session/create") == "corrupt"
            client.server_health()
            client.let_be("server/healthChanged")
        noticed += corrupt
        if corrupt:
            assert store_of(workspace).read_bytes() == before, seed
    assert noticed > len(seeds) // 2
    record("noise", files=len(seeds), noticed=noticed)


def test_noise_in_a_file_that_is_open_ends_all_writing(workspace: Path) -> None:
    fill(workspace)
    with connected(workspace) as client:
        session = client.session_list().sessions[0].id
        size = store_of(workspace).stat().st_size
        for page in range(1, size // PAGE):
            overwrite(store_of(workspace), page * PAGE, os.urandom(64))
        deadline = time.monotonic() + TIMEOUT
        while (found := ask(client, "session/history", sessionId=session)) != "corrupt":
            assert time.monotonic() < deadline, found
        before = store_of(workspace).read_bytes()
        assert ask(client, "session/create") == "corrupt"
        assert ask(client, "session/delete", sessionId=session) == "corrupt"
        assert client.told("server/healthChanged").status == "down"
    assert store_of(workspace).read_bytes() == before


def test_a_large_file_is_looked_through_in_the_background(workspace: Path) -> None:
    """Nobody reads the damaged part, and it is told of all the same."""
    fill(workspace, rounds=500)
    path = store_of(workspace)
    assert path.stat().st_size > 5_000_000
    overwrite(path, path.read_bytes().index(b"turn 250 turn 250") // PAGE * PAGE, os.urandom(PAGE))
    with connected(workspace) as client:
        client.session_list()
        told = client.told("server/healthChanged").stores[0]
        assert told.status == "down"
        assert "damaged" in (told.last_error or "")
        assert ask(client, "session/create") == "corrupt"


@pytest.mark.parametrize("size", [0, 1, 100, PAGE, 3 * PAGE])
def test_a_file_that_is_cut_while_it_is_open(workspace: Path, size: int) -> None:
    with connected(workspace) as client:
        conversation = Talk(client)
        os.truncate(store_of(workspace), size)
        # What is in the -wal can still be read and written, so some of these may be answered as ever.
        for method, params in (
            ("session/create", {}),
            ("session/get", {"sessionId": conversation.session}),
            ("session/list", {}),
            ("session/history", {"sessionId": conversation.session}),
        ):
            answer = ask(client, method, **params)
            assert isinstance(answer, dict) or answer == "corrupt"
        if size == 0:
            assert client.told("server/healthChanged").status == "down"
            assert ask(client, "session/create") == "corrupt"
        client.let_be("server/healthChanged")


def test_a_file_that_was_emptied_is_not_taken_for_a_new_one_while_its_wal_is_there(workspace: Path) -> None:
    with connected(workspace) as client:
        client.session_create(title="kept")
        client.kill()
    wal = Path(f"{store_of(workspace)}-wal")
    before = wal.read_bytes()
    os.truncate(store_of(workspace), 0)
    with connected(workspace) as client:
        assert ask(client, "session/create") == "corrupt"
        assert client.told("server/healthChanged").status == "down"
    assert wal.read_bytes() == before


def test_a_restored_file_is_taken_up_without_a_restart(workspace: Path, tmp_path: Path) -> None:
    fill(workspace)
    (tmp_path / "good").write_bytes(store_of(workspace).read_bytes())
    DAMAGE["noise in the schema"](store_of(workspace))
    with connected(workspace) as client:
        assert ask(client, "session/create") == "corrupt"
        assert client.told("server/healthChanged").status == "down"
        (tmp_path / "good").replace(store_of(workspace))
        assert client.told("server/healthChanged").status == "ok"
        assert client.session_create(title="after").title == "after"
        client.let_be("server/healthChanged")
    with closing(sqlite3.connect(store_of(workspace))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

"""A database from every schema that was released, with data: it is migrated, read, and written on.

A new one is made with the release that brings its schema, and never changed after.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.model import Scope, TurnStatus
from mandrake_sessions.store.sqlite.migrate import known_migrations
from wire import Message, apply_update, serving, store_of

FIXTURES = Path(__file__).parent / "fixtures"


def test_there_is_one_of_every_schema() -> None:
    assert {path.stem for path in FIXTURES.iterdir()} == {f"schema-{m.version}" for m in known_migrations()}


@pytest.mark.parametrize("fixture", sorted(FIXTURES.iterdir()), ids=lambda path: path.stem)
def test_what_it_holds_is_read_and_written_on(fixture: Path, tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite"
    shutil.copy(fixture, database)
    with SessionManager(database) as manager:
        (session,) = manager.list_sessions().sessions
        assert (session.title, session.external_id, session.metadata) == ("A talk", "talk-1", {"n": [1, 1.0, 2**70]})
        (first,) = manager.history(session.id, include_raw=True).rounds
        assert (first.request.content, first.request.blocks) == ("What is in here?", [{"type": "text"}])
        ended, open_turn = first.response.turns
        assert (ended.status, ended.chunk_count, ended.output_tokens) == (TurnStatus.COMPLETED, 1030, 7)
        assert ended.content == "begin " + "".join(f"{n} " for n in range(1030))
        assert (ended.raw_response, ended.tool_calls[0].arguments) == ("[", {"path": "."})
        last = manager.append_turn(open_turn.id, content=", written on")
        assert (last.chunk, manager.get_turn(open_turn.id).content) == (1, "still open, written on")
        assert not manager.feed.follow_turns(Scope(), since=0).reset
        assert manager.feed.changes_since(0, limit=5000)[-1].seq == last.seq


# Costs that a program of before schema 4 took: it knew no bound and did not round.
COSTS = (
    0.0, 1, 0.1, 12.345678901, 0.30000000000000004, 999999.999999999, 999999.9999999999, 1e6, 1e7, 1e300, 2**70,
    1.5e-9, 2.5e-9, 4e-10, 1e-300,
)  # fmt: skip
GREATEST = 999999.999999999
# Above the numbers of the fixture.
FIRST = 10_000
# How long the feed keeps changes: longer than any fixture is old.
AGES = "1000000000"


@pytest.mark.parametrize("is_updated", [False, True])
def test_a_replay_of_old_costs_gives_what_the_turns_have(workspace: Path, is_updated: bool) -> None:
    database = store_of(workspace)
    database.parent.mkdir()
    shutil.copy(FIXTURES / "schema-3.sqlite", database)
    with closing(sqlite3.connect(database)) as connection, connection:
        ids = [_add_turn(connection, number, cost, is_updated=is_updated) for number, cost in enumerate(COSTS)]
    with serving(workspace, "lines", "--feed-max-age", AGES) as wire:
        begun = wire.request("turn/subscribe", since=0, includeRaw=True)
        assert not begun["reset"]
        told: dict[str, Message] = {}
        for params in wire.notifications_until(FIRST + 2 * len(COSTS) - 1):
            apply_update(told, params)
        assert [told[turn_id] for turn_id in ids] == [wire.request("turn/get", turnId=turn_id) for turn_id in ids]
    kept = {told[turn_id]["inputCost"] for turn_id in ids}
    assert {0.1, 12.345678901, GREATEST, 2e-9} < kept
    assert max(kept) == GREATEST


def _add_turn(connection: sqlite3.Connection, number: int, cost: float, *, is_updated: bool) -> str:
    """Add a turn to a file of schema 3, with the two changes that one of its programs recorded."""
    turn_id, seq = f"00000000-0000-7000-8000-{number:012}", FIRST + 2 * number
    costs = {"input_cost": cost, "output_cost": cost}
    connection.execute("CREATE TEMP TABLE added AS SELECT * FROM turn WHERE pk = 1035")
    connection.execute(
        'UPDATE added SET pk = :pk, id = :id, seq = :pk + 1, "index" = :index, content_pk = :pk, raw_response_pk = :pk,'
        " input_cost = :cost, output_cost = :cost",
        {"pk": seq, "id": turn_id, "index": 2 + number, "cost": float(cost)},
    )
    connection.execute("INSERT INTO turn SELECT * FROM added")
    connection.execute("DROP TABLE added")
    (data,) = connection.execute("SELECT data FROM feed WHERE seq = 1035").fetchone()
    created = json.loads(data) | {"id": turn_id, "seq": seq, "index": 2 + number} | ({} if is_updated else costs)
    updated = {"status": "streaming", "changes": costs if is_updated else {"current_tokens": 0}}
    for at, kind, told in ((seq, "created", created), (seq + 1, "updated", updated)):
        connection.execute(
            "INSERT INTO feed (seq, at, kind, turn_pk, data) VALUES (?, ?, ?, ?, ?)",
            (at, created["created_at"], kind, seq, json.dumps(told)),
        )
    return turn_id

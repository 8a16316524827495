"""A database from every schema that was released, with data: it is migrated, read, and written on.

A new one is made with the release that brings its schema, and never changed after.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.model import Scope, TurnStatus
from mandrake_sessions.store.sqlite.migrate import known_migrations

# Schemas that no release has yet.
UNRELEASED = {"schema-4"}
FIXTURES = Path(__file__).parent / "fixtures"


def test_there_is_one_of_every_schema() -> None:
    assert {path.stem for path in FIXTURES.iterdir()} == {
        f"schema-{m.version}" for m in known_migrations()
    } - UNRELEASED


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

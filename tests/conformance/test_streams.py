"""What appends remember of their turns between pieces: never more than is so."""

from __future__ import annotations

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import TooLarge
from mandrake_sessions.limits import MAX_TEXT_BYTES
from mandrake_sessions.model import TurnStatus


def test_more_turns_in_one_burst_than_are_remembered(
    manager: SessionManager, response: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that is forgotten and read again within a burst has the pieces that the burst brought before."""
    monkeypatch.setattr("mandrake_sessions.store.sql.streams.MAX_STREAMS", 3)
    turns = [manager.create_turn(response).id for _ in range(5)]
    outcomes = manager.append_pieces({"turn_id": turn_id, "content": f"{n}"} for n in range(6) for turn_id in turns)
    assert [getattr(outcome, "chunk", outcome) for outcome in outcomes] == [n for n in range(6) for _ in turns]
    assert [manager.get_turn(turn_id).content for turn_id in turns] == ["012345"] * 5


def test_a_piece_that_is_too_large_takes_no_turn_up_again(manager: SessionManager, response: str) -> None:
    turn_id = manager.create_turn(response, content="x", status=TurnStatus.INTERRUPTED).id
    before = manager.get_turn(turn_id)
    with pytest.raises(TooLarge):
        manager.append_turn(turn_id, content="y" * MAX_TEXT_BYTES)
    assert manager.get_turn(turn_id) == before
    assert manager.append_turn(turn_id, content="y" * (MAX_TEXT_BYTES - 1)).chunk_count == 1
    assert manager.get_turn(turn_id, include_text=False).status is TurnStatus.STREAMING

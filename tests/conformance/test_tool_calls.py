"""Turns with many tool calls: a change to one costs the same, and is told exactly."""

from __future__ import annotations

import time

import pytest

from conformance.backends import Backend
from mandrake_sessions import SessionManager
from mandrake_sessions.fields import ToolCallFields
from mandrake_sessions.model import ChangeKind
from mandrake_sessions.store.sql.changes import CALLS_AT_CREATION


def calls(count: int) -> list[ToolCallFields]:
    return [{"id": f"call-{n}", "title": "t" * 100, "arguments": {"n": n, "of": ["x" * 100]}} for n in range(count)]


FEW, MANY = 300, 3000


@pytest.mark.parametrize("created", [True, False])
def test_deleting_among_many_calls_costs_what_it_does_among_few(
    manager: SessionManager, response: str, created: bool
) -> None:
    """If all of the turn's past were read for each, one would cost ten times as much among ten times as many."""

    def seconds_for_each(count: int) -> float:
        turn_id = manager.create_turn(response, tool_calls=calls(count) if created else []).id
        with manager.transaction():
            for call in () if created else calls(count):
                manager.upsert_tool_call(turn_id, call)
        assert len(manager.get_turn(turn_id).tool_calls) == count
        begun = time.process_time()
        with manager.transaction():
            for call in calls(count):
                manager.delete_tool_call(turn_id, call["id"])
        taken = time.process_time() - begun
        assert manager.get_turn(turn_id).tool_calls == []
        return taken / count

    few = min(seconds_for_each(FEW) for _ in range(3))
    assert seconds_for_each(MANY) < 5 * few


def test_a_turn_created_with_many_calls_is_told_in_several_changes(manager: SessionManager, response: str) -> None:
    """The first of them with the turn, each other in a change of its own, all below the seq that creating it gives."""
    turn = manager.create_turn(response, tool_calls=calls(CALLS_AT_CREATION + 30))
    told = [change for change in manager.feed.changes_since(0) if change.turn_id == turn.id]
    assert [change.kind for change in told] == [ChangeKind.TURN_CREATED, *[ChangeKind.TOOL_CALL_UPDATED] * 30]
    assert told[-1].seq == turn.seq == manager.get_turn(turn.id).seq == manager.feed.last_seq()
    assert told[0].turn is not None
    assert [*told[0].turn.tool_calls, *(change.tool_call for change in told[1:])] == turn.tool_calls
    assert manager.get_turn(turn.id) == turn


@pytest.mark.parametrize("call_id", ["plain", "a\x00b", "ä\u2028\"'\\", "%_", "0", "[null,null]", "\U0001f680"])
def test_a_deleted_call_is_gone_from_the_past(
    manager: SessionManager, backend: Backend, response: str, call_id: str
) -> None:
    """Out of the turn's creation and of every change, whatever its id; calls with an id like it stay."""
    others = [call_id + "\x00", call_id[:1] + "~", f"{call_id} "]
    first: list[ToolCallFields] = [{"id": one, "title": "first-" + one} for one in (call_id, *others)]
    turn_id = manager.create_turn(response, tool_calls=first).id
    for n in range(3):
        for one in (call_id, *others):
            manager.upsert_tool_call(turn_id, {"id": one, "title": f"{n}-{one}", "content": [{"secret": one}]})
    manager.delete_tool_call(turn_id, call_id)
    told = [change for change in manager.feed.changes_since(0) if change.turn_id == turn_id]
    assert told[0].turn is not None
    assert [call.id for call in told[0].turn.tool_calls] == others
    updates = [change.tool_call.id for change in told if change.tool_call is not None]
    assert updates == others * 3
    assert told[-1].kind is ChangeKind.TOOL_CALL_DELETED
    assert backend.damage(manager) == []

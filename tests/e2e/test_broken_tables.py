"""What another program has done to the tables is told to each that meets it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from strict import Talk, connected, failure


@pytest.mark.parametrize("pipelined", [1, 5])
@pytest.mark.parametrize("method", ["turn/append", "session/create", "session/list", "turn/subscribe"])
def test_a_store_that_another_program_broke_is_told_of(workspace: Path, method: str, pipelined: int) -> None:
    """Another program takes a table away: no method that needs it can do its work; each request is told so, once."""
    with connected(workspace) as client:
        conversation = Talk(client)
        turn = conversation.turn(detached=True)
        other_program(workspace, "DROP TABLE feed")
        params = {"turn/append": {"turnId": turn, "content": "x"}, "session/get": {"sessionId": conversation.session}}
        for reply in [client.submit(method, params.get(method, {})) for _ in range(pipelined)]:
            error = failure(reply)
            assert (error.code, error.data["reason"]) == (-32013, "corrupt")
        assert client.told("server/healthChanged").status == "degraded"
        assert client.error("no/such/method").code == -32601


@pytest.mark.parametrize("pipelined", [1, 5])
@pytest.mark.parametrize("method", ["turn/append", "session/create"])
def test_a_trigger_of_another_program_is_named_by_each_answer(workspace: Path, method: str, pipelined: int) -> None:
    with connected(workspace) as client:
        turn = Talk(client).turn(detached=True)
        other_program(workspace, "CREATE TRIGGER no BEFORE INSERT ON feed BEGIN SELECT raise(ABORT, 'no'); END")
        params = {"turnId": turn, "content": "x"} if method == "turn/append" else {}
        for reply in [client.submit(method, params) for _ in range(pipelined)]:
            error = failure(reply)
            assert (error.kind, error.data["reason"]) == ("storage", "corrupt")
            assert "trigger no" in str(error)
        client.let_be("server/healthChanged")
        assert client.error("no/such/method").code == -32601
        assert client.turn_get(turn_id=turn).content == ""


def other_program(workspace: Path, statement: str) -> None:
    with closing(sqlite3.connect(workspace / ".ws" / "db.sqlite")) as other:
        other.execute(statement)
